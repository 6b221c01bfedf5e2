"""Tells a pod's owner of an SLO that looks like a unit mistake: once a pod, and off the hot path."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kubesteer.model.errors import ClusterUnavailable

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from extender.metrics import Metrics
    from kubesteer.model.cluster import PodSummary

_REMEMBERED = 10_000
_WAITING = 1_000


class WarningSink(Protocol):
    """Whoever can put a Warning Event on a pod."""

    async def warn(self, pod: PodSummary, message: str) -> None:
        """Raises ClusterUnavailable where it cannot."""


@dataclass(frozen=True, slots=True)
class _Suspicion:
    pod: PodSummary
    message: str


class UnitsWarnings:
    """Counts and queues suspicions; run() sends them."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger, sink: WarningSink | None) -> None:
        self._metrics = metrics
        self._log = log
        self._sink = sink
        self._told: OrderedDict[str, None] = OrderedDict()
        self._queue: asyncio.Queue[_Suspicion] = asyncio.Queue(_WAITING)

    def suspect(self, pod: PodSummary, message: str, decision_id: str) -> None:
        """A pod's SLO looks wrong; the same pod is told of once."""
        if pod.uid in self._told:
            return
        self._told[pod.uid] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        self._metrics.suspect_units.inc()
        self._log.warning("suspect units", decision=decision_id, pod=f"{pod.namespace}/{pod.name}", why=message)
        if self._sink is not None and not self._queue.full():
            self._queue.put_nowait(_Suspicion(pod, message))

    async def run(self) -> None:
        """Send what is queued, one at a time, until cancelled."""
        while self._sink is not None:
            suspicion = await self._queue.get()
            try:
                await self._sink.warn(suspicion.pod, suspicion.message)
            except ClusterUnavailable as exc:
                self._log.warning("event not written", pod=suspicion.pod.name, error=str(exc))
