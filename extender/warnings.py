"""Tells a pod's owner of an SLO or annotation that is, or looks like, a mistake: once a pod, off the hot path."""

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
    """Writes Warning Events on pods."""

    async def warn(self, pod: PodSummary, reason: str, message: str) -> None:
        """Write it. Raises ClusterUnavailable where it cannot be written."""


@dataclass(frozen=True, slots=True)
class _Warning:
    pod: PodSummary
    reason: str
    message: str


class PodWarnings:
    """Counts and queues warnings; run() sends them."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger, sink: WarningSink | None) -> None:
        self._metrics = metrics
        self._log = log
        self._sink = sink
        self._told: OrderedDict[str, None] = OrderedDict()
        self._queue: asyncio.Queue[_Warning] = asyncio.Queue(_WAITING)

    def suspect(self, pod: PodSummary, message: str, decision_id: str) -> None:
        """A pod's SLO looks wrong; the same pod is told of once."""
        if self._is_first(pod):
            self._metrics.suspect_units.inc()
            self._tell("suspect units", pod, "SuspectNetworkSLO", message, decision_id)

    def invalid(self, pod: PodSummary, message: str, decision_id: str) -> None:
        """A pod asks for an amount that no node can ever give; the same pod is told of once."""
        if self._is_first(pod):
            self._metrics.invalid_pods.inc()
            self._tell("pod cannot be right", pod, "InvalidNetworkSLO", message, decision_id)

    def unread(self, pod: PodSummary, message: str, decision_id: str) -> None:
        """An annotation for kubesteer cannot be used and is passed over; the same pod is told of once."""
        if self._is_first(pod):
            self._tell("annotation passed over", pod, "InvalidAnnotation", message, decision_id)

    def _is_first(self, pod: PodSummary) -> bool:
        if pod.uid in self._told:
            return False
        self._told[pod.uid] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True

    def _tell(self, event: str, pod: PodSummary, reason: str, message: str, decision_id: str) -> None:
        self._log.warning(event, decision=decision_id, pod=f"{pod.namespace}/{pod.name}", why=message)
        if self._sink is not None and not self._queue.full():
            self._queue.put_nowait(_Warning(pod, reason, message))

    async def run(self) -> None:
        """Send what is queued, one at a time, until cancelled."""
        while True:
            warning = await self._queue.get()
            if self._sink is None:
                continue
            try:
                await self._sink.warn(warning.pod, warning.reason, warning.message)
            except ClusterUnavailable as exc:
                self._log.warning("event not written", pod=warning.pod.name, error=str(exc))
