"""What the agent asks of the API server, in the shape that its loops want. Only translation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from kubesteer.clients.kubelet.summary import PodCounters, pod_counters
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.events import NodeReference, PodReference, create_event, pod_events
from kubesteer.clients.metrics_server import MetricsServer
from kubesteer.model.runs import EventSeen, PodRuns
from monitor_agent.capacity import NodeEvent

_COMPONENT = "kubesteer-agent"
_TELL_OF_STARTS = ("kubelet", "attachdetach-controller")
"""Beside the pod's scheduler, which tells of its binding. Other nodes' agents may write about these pods."""


class ClusterEvents:
    """Satisfies EventsOfPods, WarningEvents and NodeEvents."""

    def __init__(self, api: ApiServer, node: str, unix_clock: Callable[[], float]) -> None:
        self._api = api
        self._node = node
        self._unix_clock = unix_clock

    async def of(self, pod: PodRuns) -> list[EventSeen]:
        """As EventsOfPods."""
        return await pod_events(
            self._api, pod.namespace, pod.uid, by=(*_TELL_OF_STARTS, pod.scheduler), but_not=_COMPONENT
        )

    async def warn(self, pod: PodRuns, reason: str, message: str) -> None:
        """As WarningEvents."""
        about = PodReference(pod.namespace, pod.name, pod.uid)
        await create_event(self._api, about, reason=reason, message=message, now=self._now(), component=_COMPONENT)

    async def write(self, event: NodeEvent, uid: str) -> None:
        """As NodeEvents."""
        await create_event(
            self._api,
            NodeReference(self._node, uid),
            reason=event.reason,
            message=event.message,
            now=self._now(),
            kind=event.kind,
            component=_COMPONENT,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._unix_clock(), UTC)


class KubeletCounters:
    """Satisfies Kubelet."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server

    async def counters(self) -> list[PodCounters]:
        """As Kubelet."""
        return await pod_counters(self._server)
