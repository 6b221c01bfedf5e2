"""Bad input of pods told once: in the log, as a metric, and as a Warning Event on the pod."""

from __future__ import annotations

import asyncio
from typing import Protocol

from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.runs import PodRuns
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics

_MOST_WAITING = 100


class WarningEvents(Protocol):
    """Who writes Warning Events on pods."""

    async def warn(self, pod: PodRuns, reason: str, message: str) -> None:
        """Puts an Event on the pod. Raises ClusterUnavailable."""


class Warnings:
    """Tells each problem of a pod once, until the pod is gone or has another problem."""

    def __init__(self, events: WarningEvents, *, log: Log, metrics: Metrics) -> None:
        self._events = events
        self._log = log
        self._metrics = metrics
        self._told: dict[str, str] = {}
        self._waiting: asyncio.Queue[tuple[PodRuns, str]] = asyncio.Queue(_MOST_WAITING)

    def bad_measure(self, pod: PodRuns, problem: str) -> None:
        """The pod's own measure cannot be used."""
        if self._told.get(pod.uid) == problem:
            return
        self._told[pod.uid] = problem
        self._metrics.bad_measures.inc()
        self._log.warning("measure not used", pod=f"{pod.namespace}/{pod.name}", problem=problem)
        if not self._waiting.full():
            self._waiting.put_nowait((pod, problem))

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._told.pop(uid, None)

    async def run(self) -> None:
        """Writes the Events, until cancelled. One that is refused is not tried again: the log has it."""
        while True:
            pod, problem = await self._waiting.get()
            try:
                await self._events.warn(pod, "BadRewardMeasure", problem)
            except ClusterUnavailable as exc:
                self._log.warning("event not written", pod=f"{pod.namespace}/{pod.name}", why=str(exc))
