"""From counters of bytes to bit/s.

Pure: counters and times come in. A window is the time between two readings. Its rate is 8 x bytes / seconds; the
smoothed rate is an exponentially weighted mean over windows of any length:

    rate += (1 - exp(-window / time_constant)) x (window's rate - rate)

so that after a step the rate has gone 63 % of the way within one time constant and 95 % within three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kubesteer.model.errors import InvalidSettings

_BITS = 8
FASTEST_BPS = 1.6e12
"""The fastest Ethernet there is; no interface of a node moves more."""


@dataclass(frozen=True, slots=True)
class RateRules:
    """How counters are read.

    time_constant_s: of the smoothing; 0 takes each window as it is.
    longest_window_s: after a longer silence (a suspended machine, a kubelet away) the rate starts anew: an average
        over it would hide what happened, and counters stand still while the machine sleeps.
    ceiling_bps: a window above it is not believed.
    counter_bits: sizes at which a counter may wrap around. The kernel's own counters have 64 bits; some drivers pass
        on 32 bits of the hardware's.
    """

    time_constant_s: float = 15.0
    longest_window_s: float = 120.0
    ceiling_bps: float = FASTEST_BPS
    counter_bits: tuple[int, ...] = (32, 64)

    def __post_init__(self) -> None:
        for name, least in (("time_constant_s", 0.0), ("longest_window_s", 1.0), ("ceiling_bps", 1.0)):
            if not getattr(self, name) >= least:
                raise InvalidSettings(f"{name} {getattr(self, name)} is too small; write {least:g} or more")


class Rate:
    """Bit/s of one direction, from readings of one or more counters that are added up."""

    def __init__(self, rules: RateRules) -> None:
        self._rules = rules
        self._counters: Mapping[object, int] = {}
        self._time_s: float | None = None
        self._bps: float | None = None
        self._known_s = 0.0

    @property
    def bps(self) -> float | None:
        """The smoothed rate; None before the first window and after a silence."""
        return self._bps

    @property
    def time_s(self) -> float | None:
        """The time of the last reading."""
        return self._time_s

    def read(self, counters: Mapping[object, int], time_s: float) -> float | None:
        """Takes bytes counted so far, by whose they are, and gives the rate of the window, None where there is none.

        A counter that is new, that a recreated interface started anew, or whose window cannot be believed says
        nothing about its window. A reading of the same time as the last is none; one of an earlier time starts anew.
        """
        before, last_s = self._counters, self._time_s
        if last_s is not None and time_s == last_s:
            return None
        self._counters, self._time_s = dict(counters), time_s
        if last_s is None:
            return None
        window_s = time_s - last_s
        if not 0 < window_s <= self._rules.longest_window_s:
            self._bps = None
            return None
        most_bytes = self._rules.ceiling_bps * window_s / _BITS
        moved = [
            count
            for key, now in counters.items()
            if key in before and (count := self._moved(before[key], now, most_bytes)) is not None
        ]
        if not moved:
            if time_s - self._known_s > self._rules.longest_window_s:
                self._bps = None
            return None
        self._known_s = time_s
        window_bps = _BITS * sum(moved) / window_s
        self._smooth(window_bps, window_s)
        return window_bps

    def _moved(self, before: int, now: int, most_bytes: float) -> int | None:
        """Bytes between two readings: as counted, else around the smallest size at which that can be believed.

        A counter of 32 bits that wraps and one that starts anew look alike; half its range is what tells them apart.
        """
        if now >= before:
            return now - before if now - before <= most_bytes else None
        for bits in self._rules.counter_bits:
            size = 1 << bits
            around = now + size - before
            if before < size and around <= min(most_bytes, size // 2):
                return around
        return None

    def _smooth(self, window_bps: float, window_s: float) -> None:
        constant_s = self._rules.time_constant_s
        if self._bps is None or constant_s == 0:
            self._bps = window_bps
        else:
            self._bps += -math.expm1(-window_s / constant_s) * (window_bps - self._bps)
