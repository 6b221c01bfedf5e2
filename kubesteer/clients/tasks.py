"""What the end of a task means that must never end: a service looks at its tasks through this. No I/O."""

from __future__ import annotations

import asyncio

from kubesteer.model.errors import TaskEnded


def end_of(task: asyncio.Task[object]) -> BaseException:
    """Why a task that is done ended: its own fault, or TaskEnded where it has none to tell."""
    if task.cancelled():
        return TaskEnded(task.get_name(), "it was cancelled from within")
    return task.exception() or TaskEnded(task.get_name(), "it returned")
