"""The probes joined: the link that carries the node's traffic, and that traffic."""

from __future__ import annotations

from collections.abc import Mapping

from monitor_agent.probes.links import LinkReading, LinkSettings, read_link
from monitor_agent.probes.rates import RateRules
from monitor_agent.probes.traffic import NodeTraffic


class NodeLink:
    """Satisfies Link."""

    def __init__(self, settings: LinkSettings, rates: RateRules) -> None:
        self._settings = settings
        self._traffic = NodeTraffic(rates, root=settings.root)
        self._last = ""

    def read(self, now_s: float) -> tuple[LinkReading, Mapping[str, float]]:
        """As Link."""
        reading = read_link(self._settings, previous=self._last)
        self._last = reading.interface or self._last
        return reading, self._traffic.read(reading.limited_by, now_s)
