"""The traffic of single pods, from the kubelet, and whether they got the rate that they asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubesteer.clients.kubelet.summary import PodCounters
from kubesteer.model.errors import MetricsUnavailable
from kubesteer.model.network import NetworkResource
from kubesteer.model.runs import PodRuns
from monitor_agent.logs import Log
from monitor_agent.pod_values import PodValues
from monitor_agent.pods import PodBook
from monitor_agent.probes.pods import OfferedRules, PodTraffic, achieved
from monitor_agent.probes.rates import RateRules


class Kubelet(Protocol):
    """Where counters are read."""

    async def counters(self) -> list[PodCounters]:
        """Those of the node's pods. Raises MetricsUnavailable."""


class TrafficOfPods:
    """Fills `values` with the part of the asked rate that each pod gets, where it offers so much traffic.

    While the kubelet does not answer nothing is known of anyone.
    """

    def __init__(
        self,
        book: PodBook,
        kubelet: Kubelet,
        network: Sequence[NetworkResource],
        values: PodValues,
        *,
        smooth_s: float,
        log: Log,
    ) -> None:
        self._book = book
        self._kubelet = kubelet
        self._directions = [resource.direction for resource in network]
        self._values = values
        self._log = log
        self._offered = OfferedRules()
        self._traffic = PodTraffic(RateRules(time_constant_s=smooth_s), windows=self._offered.windows)
        self.fault: str | None = None

    async def step(self) -> None:
        """One question to the kubelet."""
        try:
            counters = await self._kubelet.counters()
        except MetricsUnavailable as exc:
            if self.fault is None:
                self._log.warning("no traffic of pods", why=str(exc))
            self.fault = str(exc)
            self._values.replace(())
            return
        self.fault = None
        on_host = self._book.on_host_network()
        self._traffic.read(one for one in counters if one.uid not in on_host)
        self._traffic.forget(self._book.runs)
        shares = ((pod, self._share(pod)) for pod in self._book.runs.values())
        self._values.replace((pod, share) for pod, share in shares if share is not None)

    def _share(self, pod: PodRuns) -> float | None:
        rate = self._traffic.of(pod.uid) if any(pod.asked_bps) else None
        if rate is None:
            return None
        return achieved(dict(zip(self._directions, pod.asked_bps, strict=True)), rate.windows, self._offered)
