"""What each pod sends and receives, and whether it got the rate that it was promised.

Pure: the kubelet's counters come in. A pod whose network is not measured is told by its absence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from kubesteer.clients.kubelet.summary import PodCounters
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import EGRESS, INGRESS
from monitor_agent.probes.rates import Rate, RateRules


@dataclass(frozen=True, slots=True)
class OfferedRules:
    """When a pod's traffic counts as offered.

    share: of what it asked for, the least that every window must show. windows: how many in a row.
    """

    share: float = 0.25
    windows: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InvalidSettings(f"share {self.share} is not a share; write more than 0 and at most 1")
        if self.windows < 1:
            raise InvalidSettings(f"windows {self.windows} is too few; write 1 or more")


@dataclass(frozen=True, slots=True)
class PodRate:
    """One pod's traffic. bps: smoothed, by direction. windows: the latest windows' rates by direction, newest last."""

    bps: Mapping[str, float]
    windows: Mapping[str, Sequence[float]]


def achieved(asked_bps: Mapping[str, int], windows: Mapping[str, Sequence[float]], rules: OfferedRules) -> float | None:
    """Rate / SLO, at most 1, of the direction that fell short the most; None where no traffic counts as offered.

    What a pod wanted to send is not to be seen from outside. Traffic counts as offered in a direction while each of the
    last windows shows at least `share` of the SLO: below that, a pod is taken to have had nothing to send.
    """
    shares = [
        min(1.0, fmean(latest) / asked)
        for direction, asked in asked_bps.items()
        if asked > 0
        and len(latest := list(windows.get(direction, ()))[-rules.windows :]) == rules.windows
        and min(latest) >= rules.share * asked
    ]
    return min(shares, default=None)


@dataclass(slots=True)
class _Pod:
    rates: dict[str, Rate]
    windows: dict[str, deque[float]] = field(default_factory=dict)


class PodTraffic:
    """The rates of a node's pods, by uid. Call `read` with every answer of the kubelet."""

    def __init__(self, rules: RateRules, *, windows: int = 4) -> None:
        """windows: how many of the latest are kept, as many as OfferedRules.windows."""
        self._rules = rules
        self._keep = windows
        self._pods: dict[str, _Pod] = {}

    def read(self, counters: Iterable[PodCounters]) -> None:
        """Takes the counters; pods that are not among them are kept for `forget` to drop."""
        for one in counters:
            pod = self._pods.get(one.uid) or self._new(one.uid)
            for direction, count in ((EGRESS.direction, one.sent_b), (INGRESS.direction, one.received_b)):
                self._count(pod, direction, count, one.time_s)

    def forget(self, known: Iterable[str]) -> None:
        """Drops every pod whose uid is not among these."""
        kept = frozenset(known)
        self._pods = {uid: pod for uid, pod in self._pods.items() if uid in kept}

    def of(self, uid: str) -> PodRate | None:
        """What is known of a pod; None before its first whole window."""
        pod = self._pods.get(uid)
        if pod is None or not any(pod.windows.values()):
            return None
        return PodRate(
            bps={direction: rate.bps for direction, rate in pod.rates.items() if rate.bps is not None},
            windows={direction: tuple(latest) for direction, latest in pod.windows.items()},
        )

    def _new(self, uid: str) -> _Pod:
        directions = (EGRESS.direction, INGRESS.direction)
        pod = _Pod(
            rates={direction: Rate(self._rules) for direction in directions},
            windows={direction: deque(maxlen=self._keep) for direction in directions},
        )
        return self._pods.setdefault(uid, pod)

    def _count(self, pod: _Pod, direction: str, count: int, time_s: float) -> None:
        """Windows have to be consecutive: one that says nothing starts their row anew."""
        rate = pod.rates[direction]
        before_s = rate.time_s
        window_bps = rate.read({direction: count}, time_s)
        if window_bps is not None:
            pod.windows[direction].append(window_bps)
        elif time_s != before_s:
            pod.windows[direction].clear()
