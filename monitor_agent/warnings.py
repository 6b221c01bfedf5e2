"""Bad input of pods told once: in the log, as a metric, and as a Warning Event on the pod."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.runs import PodRuns
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics

_MOST_WAITING = 100
_MOST_OF_A_POD = 8
"""Problems of one pod that are told; somebody may think of a new one every second."""
_NUMBER = re.compile(r"\d[\d.]*")


class WarningEvents(Protocol):
    """Writes Warning Events on pods."""

    async def warn(self, pod: PodRuns, reason: str, message: str) -> None:
        """Puts an Event on the pod. Raises ClusterUnavailable."""


class Warnings:
    """Tells each problem of a pod once. A problem with another number in it is the same one."""

    def __init__(self, events: WarningEvents, *, log: Log, metrics: Metrics) -> None:
        self._events = events
        self._log = log
        self._metrics = metrics
        self._told: dict[str, set[str]] = {}
        self._waiting: asyncio.Queue[tuple[PodRuns, str]] = asyncio.Queue(_MOST_WAITING)

    def bad_measure(self, pod: PodRuns, problem: str) -> None:
        """The pod's own measure cannot be used."""
        told, kind = self._told.setdefault(pod.uid, set()), _NUMBER.sub("#", problem)
        if kind in told or len(told) == _MOST_OF_A_POD:
            return
        told.add(kind)
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
