"""What was hoped for, as values: each aim is a ratio or a figure, its bound, and which way is better. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench import calls, pods_per_second
from tests.bench.calls import KUBESTEER, NOOP, Measured
from tests.bench.pods_per_second import ALL_TERMS, NONE, SHORTLIST, Run, summary
from tests.bench.syncing import EVENTS_PER_S, Synced

P50, REFUSED, TAIL, ALL, SHORT = "p50", "refused", "p99", "all terms", "shortlist"
SYNC, MEMORY, PAUSE = "sync", "memory", "pause"
"""Groups of aims."""
P50_AIMS = {"500 names": 1.0, "5,000 names": 0.6}
REFUSED_AIM, REFUSED_AIM_MS = 1.3, 3.0
TAIL_AIM = 3.0
ALL_TERMS_AIM = 0.95
SHORTLIST_AIM = 0.90
_REFUSED_NAMES = tuple(shape.name for shape in calls.REFUSED)
SYNC_AIM, RSS_AIM_MB, STALL_AIM_MS = 1.5, 300.0, 20.0


@dataclass(frozen=True, slots=True)
class Aim:
    """One line of the first table. `group` is what notes.py explains; `at_most`: smaller is better, else larger is."""

    group: str
    what: str
    figure: float
    bound: float
    unit: str = "x"
    at_most: bool = True

    @property
    def met(self) -> bool:
        """As rounded in the table."""
        figure = round(self.figure, 2)
        return figure <= self.bound if self.at_most else figure >= self.bound

    @property
    def missed_by(self) -> float:
        """Part of the bound, 0 where met."""
        return 0.0 if self.met else abs(self.figure - self.bound) / self.bound


def of_calls(results: list[Measured]) -> list[Aim]:
    """Latency against the do-nothing Go extender, and the tail against the own median."""
    by = {(one.shape, one.server): one for one in results}
    aims = []
    for shape, bound in P50_AIMS.items():
        own, noop = by[shape, KUBESTEER], by[shape, NOOP]
        both = sum(own.p50_us(verb) for verb in calls.VERBS) / sum(noop.p50_us(verb) for verb in calls.VERBS)
        aims.append(Aim(P50, f"filter and prioritize, {shape}: p50 to {NOOP}'s", both, bound))
        for verb in calls.VERBS:
            ratio = own.p50_us(verb) / noop.p50_us(verb)
            aims.append(Aim(P50, f"{verb}, {shape}: p50 to {NOOP}'s", ratio, bound))
    fits, refused, many = (by[shape, KUBESTEER].p50_us("filter") for shape in ("500 names", *_REFUSED_NAMES))
    aims += [
        Aim(REFUSED, "filter, 500 names, all refused: p50 to that of 500 that fit", refused / fits, REFUSED_AIM),
        Aim(REFUSED, "filter, 5,000 names, all refused: p50", many / 1e3, REFUSED_AIM_MS, "ms"),
    ]
    for shape in (one.name for one in calls.SHAPES):
        own = by[shape, KUBESTEER]
        for verb in calls.VERBS:
            ratio = own.p99_us(verb) / own.p50_us(verb)
            aims.append(Aim(TAIL, f"{verb}, {shape}: p99 to own p50", ratio, TAIL_AIM))
    return aims


def of_scheduler(runs: list[Run]) -> list[Aim]:
    """Pods/s of the real scheduler, medians, at each size that was run."""
    aims = []
    for nodes in sorted({run.nodes for run in runs}):
        rate = {variant: summary(runs, nodes, variant).pods_per_s for variant in pods_per_second.VARIANTS}
        size = f"pods/s, {nodes:,} nodes"
        terms, short = rate[ALL_TERMS] / rate[NOOP], rate[SHORTLIST] / rate[NONE]
        aims += [
            Aim(ALL, f"{size}: all terms to {NOOP}", terms, ALL_TERMS_AIM, at_most=False),
            Aim(SHORT, f"{size}: shortlist 1 to no extender", short, SHORTLIST_AIM, at_most=False),
        ]
    return aims


def of_sync(synced: Synced) -> list[Aim]:
    """Time, memory, pauses."""
    size, ratio = f"{synced.nodes:,} nodes and {synced.pods:,} pods", synced.sync_s / synced.read_s
    pause = f"longest pause of the event loop at {EVENTS_PER_S} pod events/s"
    return [
        Aim(SYNC, f"sync of {size} to reading the same bytes", ratio, SYNC_AIM),
        Aim(MEMORY, "memory of the service once in sync", synced.service_rss_mb, RSS_AIM_MB, "MB"),
        Aim(PAUSE, pause, synced.stall_ms, STALL_AIM_MS, "ms"),
    ]
