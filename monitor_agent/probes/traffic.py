"""How much the node sends and receives, from the kernel's counters of the interfaces that limit it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kubesteer.model.network import EGRESS, INGRESS
from monitor_agent.probes.rates import Rate, RateRules

_COUNTERS = {EGRESS.direction: "tx_bytes", INGRESS.direction: "rx_bytes"}


class NodeTraffic:
    """The node's smoothed rates. Call `read` every few seconds; the time is a monotonic clock's."""

    def __init__(self, rules: RateRules, *, root: Path = Path("/")) -> None:
        self._net = root / "sys/class/net"
        self._rates = {direction: Rate(rules) for direction in _COUNTERS}

    def read(self, interfaces: Sequence[str], now_s: float) -> dict[str, float]:
        """Bit/s by direction over these interfaces (LinkReading.limited_by), less those not known yet."""
        for direction, file in _COUNTERS.items():
            counters = (self._counter(name, file) for name in interfaces)
            self._rates[direction].read(dict(counter for counter in counters if counter), now_s)
        return {direction: rate.bps for direction, rate in self._rates.items() if rate.bps is not None}

    def _counter(self, name: str, file: str) -> tuple[object, int] | None:
        """The counter with the interface it belongs to; one that is made anew under its old name has another index."""
        path = self._net / name
        try:
            return (name, (path / "ifindex").read_text()), int((path / "statistics" / file).read_text())
        except (OSError, ValueError):
            return None
