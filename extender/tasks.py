"""The background tasks of the extender: each one that ends by itself has a consequence. Their work is not known here.

Each is begun again after a wait that grows, or is fatal: then the process stops in order and is started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubesteer.model.errors import TaskEnded

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from kubesteer.clients.kubernetes.backoff import Backoff

Run = Callable[[], Coroutine[Any, Any, None]]
_LONGEST_WHY = 500
_WELL_AFTER_S = 60.0
"""A task that ran for so long begins with the shortest wait when it ends."""


@dataclass(slots=True)
class TaskStatus:
    """How one task stands, for /readyz."""

    running: bool = True
    restarts: int = 0
    last_error: str | None = None


class Tasks:
    """Starts tasks, each under a name, and ends them."""

    def __init__(
        self,
        log: FilteringBoundLogger,
        *,
        backoff: Callable[[], Backoff],
        on_restart: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """`backoff` makes the waits of one task; on_restart is told the name of each task that is begun again."""
        self._log = log
        self._backoff = backoff
        self._on_restart = on_restart
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self.standing: dict[str, TaskStatus] = {}
        self.fatal: TaskEnded | None = None
        """The end that the process has to follow."""

    def keep(self, name: str, run: Run) -> None:
        """One that is begun again when it ends: it builds anew what it works on."""
        self._start(name, self._again(name, run))

    def once(self, name: str, run: Run) -> None:
        """One whose return is its end; it is begun again after a fault alone."""
        self._start(name, self._again(name, run, may_return=True))

    def need(self, name: str, run: Run, stop: asyncio.Event) -> None:
        """One whose end sets `stop`: what it half did may stay wrong."""
        self._start(name, self._fatal(name, run, stop))

    async def end(self) -> None:
        """Cancel all, and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, name: str, running: Coroutine[Any, Any, None]) -> None:
        self.standing[name] = TaskStatus()
        self._tasks.append(asyncio.create_task(running, name=name))

    async def _again(self, name: str, run: Run, *, may_return: bool = False) -> None:
        standing, backoff = self.standing[name], self._backoff()
        while True:
            began_s = self._clock()
            why = await self._end_of(run)
            standing.running = False
            if why is None and may_return:
                return
            self._tell(name, why)
            if self._clock() - began_s >= _WELL_AFTER_S:
                backoff.reset()
            await backoff.pause()
            standing.running = True
            standing.restarts += 1
            self._on_restart(name)

    async def _fatal(self, name: str, run: Run, stop: asyncio.Event) -> None:
        why = await self._end_of(run)
        self.standing[name].running = False
        self._tell(name, why)
        self.fatal = TaskEnded(name, self.standing[name].last_error or "")
        stop.set()

    async def _end_of(self, run: Run) -> BaseException | None:
        """What ended it; None where it returned. Not this task's own cancelling, but any other within."""
        try:
            await run()
        except asyncio.CancelledError as exc:
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
            return exc
        except Exception as exc:  # noqa: BLE001 - whatever it is, the task must not be missing unnoticed
            return exc
        return None

    def _tell(self, name: str, why: BaseException | None) -> None:
        self.standing[name].last_error = "it returned" if why is None else f"{type(why).__name__}: {why}"[:_LONGEST_WHY]
        self._log.error("background task failed", task=name, why=self.standing[name].last_error, exc_info=why)
