"""A Prometheus counter whose value is kept elsewhere; the library has such for gauges only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class KeptCounter(Collector):
    """Registers itself; reads its value when it is asked for."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str, value: Callable[[], float]) -> None:
        self._name = name
        self._meaning = meaning
        self._value = value
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """The counter as it stands."""
        yield CounterMetricFamily(self._name, self._meaning, value=self._value())
