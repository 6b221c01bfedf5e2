"""Prometheus metrics of the agent, on a registry of its own. Labels are few and fixed: never a pod or a pod type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.process_collector import ProcessCollector

from kubesteer.clients.build_info import tell_build
from kubesteer.clients.kept_counter import KeptCounter
from kubesteer.model.network import EGRESS, INGRESS

_PREFIX = "kubesteer_agent"
_DIRECTIONS = (EGRESS.direction, INGRESS.direction)


class Metrics:
    """One object a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        tell_build(self.registry)
        self.outcomes = self._counter("outcomes", "Outcomes that changed a belief.")
        self.failures = self._counter("failures", "Outcomes below 0.5, of those that changed a belief.")
        self.bad_measures = self._counter("bad_measures", "Measures of applications that cannot be used.")
        self.writes = self._counter("writes", "Writes to the store that were confirmed.")
        self.failed_writes = self._counter("failed_writes", "Writes to the store that were not confirmed.")
        self.event_lists = self._counter("event_lists", "Lists of one pod's Events.")
        self.published = self._counter("published", "Capacities published on the node.")
        self.publish_failed = self._counter("publish_failed", "Changes of the node that the API server did not take.")
        self._rate = self._by_direction("traffic_bps", "Traffic measured, bit/s.")
        self._limit = self._by_direction("link_bps", "What the link carries, less the reserve, bit/s.")
        self._degraded = Gauge(
            f"{_PREFIX}_network_degraded", "1 while less is carried than promised.", registry=self.registry
        )

    def see_network(self, rate_bps: Mapping[str, float], limit_bps: Mapping[str, int], *, degraded: bool) -> None:
        """The newest reading; a direction that is not known is not a number."""
        for direction in _DIRECTIONS:
            self._rate[direction].set(rate_bps.get(direction, float("nan")))
            self._limit[direction].set(limit_bps.get(direction, float("nan")))
        self._degraded.set(degraded)

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"{_PREFIX}_{name}", meaning, registry=self.registry).set_function(value)

    def lines_dropped(self, value: Callable[[], float]) -> None:
        """Tell how many lines of the log were lost."""
        KeptCounter(self.registry, f"{_PREFIX}_log_lines_dropped", "Lines of the log that found no room.", value)

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", meaning, registry=self.registry)

    def _by_direction(self, name: str, meaning: str) -> dict[str, Gauge]:
        gauge = Gauge(f"{_PREFIX}_{name}", meaning, ["direction"], registry=self.registry)
        return {direction: gauge.labels(direction) for direction in _DIRECTIONS}
