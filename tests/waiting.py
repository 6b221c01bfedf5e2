"""Waiting for a condition, with a limit that only a fault reaches, however busy the machine is.

Only this module sleeps and reads a clock for the tests; tests/front_door/test_no_test_depends_on_speed.py holds the
others to it. How fast something is belongs in tests/bench.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WITHIN_S = 60.0
"""For anything that comes about at all; pytest's own limit for a test is twice this."""


async def until(condition: Callable[[], object], *, every_s: float = 0.002) -> None:
    """Let the other tasks run until the condition holds; it may be a coroutine function."""
    end_s = time.monotonic() + WITHIN_S
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if time.monotonic() > end_s:
            raise AssertionError(f"not so within {WITHIN_S} s")
        await asyncio.sleep(every_s)


def wait_until(condition: Callable[[], object], *, every_s: float = 0.02) -> None:
    """Until the condition holds, for tests without an event loop."""
    end_s = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"not so within {WITHIN_S} s")
        time.sleep(every_s)


async def pass_time(seconds: float) -> None:
    """At least so long: for what only time brings about. Longer must change nothing."""
    await asyncio.sleep(seconds)


def let_time_pass(seconds: float) -> None:
    """The same without an event loop."""
    time.sleep(seconds)


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """The block takes this long or longer."""
    start_s = time.monotonic()
    yield
    assert time.monotonic() - start_s >= seconds
