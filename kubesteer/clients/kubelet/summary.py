"""What each pod of a node has sent and received so far, from the kubelet's /stats/summary.

Only counters come from here; what rate they make is their reader's affair. The kubelet needs `get` on `nodes/stats`.
It refreshes a pod's counters every 10 to 15 s and writes their time in whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kubesteer.clients.metrics_server import MetricsServer
from kubesteer.model.errors import MetricsUnavailable

_PATH = "/stats/summary"


@dataclass(frozen=True, slots=True)
class PodCounters:
    """Bytes of one pod since its network was set up, at `time_s` (unix seconds), by its default interface.

    A pod on the host's network has the node's counters, or none: leave it out.
    """

    namespace: str
    name: str
    uid: str
    sent_b: int
    received_b: int
    time_s: float


class _Network(msgspec.Struct, rename="camel"):
    time: datetime | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None


class _PodReference(msgspec.Struct):
    name: str
    namespace: str
    uid: str


class _Pod(msgspec.Struct, rename="camel"):
    pod_ref: _PodReference
    network: _Network | None = None


class _Summary(msgspec.Struct):
    pods: Sequence[_Pod] = ()


async def pod_counters(kubelet: MetricsServer) -> list[PodCounters]:
    """The counters of the node's pods. Pods that the kubelet has not measured yet are left out.

    Raises MetricsUnavailable when the kubelet does not answer, refuses, or says what cannot be read.
    """
    answer = await kubelet.ask(_PATH)
    if not answer.ok:
        said = answer.body[:200].decode(errors="replace").strip()
        raise MetricsUnavailable(f"{kubelet.url}{_PATH}: the kubelet answered {answer.status}: {said}")
    try:
        summary = msgspec.json.decode(answer.body, type=_Summary)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise MetricsUnavailable(f"{kubelet.url}{_PATH}: not a summary: {exc}") from exc
    return [counters for pod in summary.pods if (counters := _counters(pod)) is not None]


def _counters(pod: _Pod) -> PodCounters | None:
    network = pod.network
    if network is None or network.rx_bytes is None or network.tx_bytes is None:
        return None
    if network.time is None or network.time.tzinfo is None:
        return None
    return PodCounters(
        namespace=pod.pod_ref.namespace,
        name=pod.pod_ref.name,
        uid=pod.pod_ref.uid,
        sent_b=network.tx_bytes,
        received_b=network.rx_bytes,
        time_s=network.time.timestamp(),
    )
