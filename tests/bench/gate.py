"""`python -m tests.bench.gate`: ratios that a busy machine does not move, each with a bound; ends with 1 where one is passed.

A bound is about 1.6 times what was measured when it was written, so that half the speed lost is noticed and noise is not.
The do-nothing Go extender is called in turn with kubesteer, so what slows the machine slows both.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from statistics import quantiles

from kubesteer.model.cluster import NodeSummary, PodSummary
from kubesteer.model.requests import PodRequests
from kubesteer.placement.table import NodeTable
from tests.bench import calls
from tests.bench.calls import KUBESTEER, NOOP, Measured
from tools.cluster.build import build, cache_folder

ROUNDS, PODS = 8, 40
CPU_BOUNDS = {"100 names": 3.0, "500 names": 2.0, "5,000 names": 1.15, "500 full nodes": 0.65}
"""CPU of a call to the do-nothing extender's, by shape."""
QUICK_BOUNDS = {"100 names": 3.4, "500 names": 2.1, "5,000 names": 1.4, "500 full nodes": 0.8}
"""The quickest tenth of calls to the do-nothing extender's: what a call takes where nothing comes between."""
EVENT_BOUND = 5.0


@dataclass(frozen=True, slots=True)
class Ratio:
    what: str
    figure: float
    bound: float

    @property
    def is_kept(self) -> bool:
        return self.figure <= self.bound


def of_calls(results: list[Measured]) -> list[Ratio]:
    """kubesteer to the do-nothing extender, by shape."""
    by = {(one.shape, one.server): one for one in results}
    ratios = []
    for shape, bound in CPU_BOUNDS.items():
        own, noop = by[shape, KUBESTEER], by[shape, NOOP]
        ratios.append(Ratio(f"{shape}: CPU of a call to {NOOP}'s", own.cpu_us / noop.cpu_us, bound))
        quick = quick_us(own) / quick_us(noop)
        ratios.append(Ratio(f"{shape}: quickest tenth to {NOOP}'s", quick, QUICK_BOUNDS[shape]))
    return ratios


def quick_us(one: Measured) -> float:
    """The first decile of both verbs together."""
    return quantiles(one.filter_us, n=10)[0] + quantiles(one.prioritize_us, n=10)[0]


def of_events() -> Ratio:
    """An event of a cluster a hundred times larger; a linear cost would be a hundred times as much."""
    small, large = seconds_for_moves(nodes=50), seconds_for_moves(nodes=5000)
    return Ratio("an event of 5,000 nodes to one of 50", large / small, EVENT_BOUND)


def seconds_for_moves(nodes: int) -> float:
    """CPU of the best of 5 rounds of 500 moves each."""
    table = NodeTable(2)
    requests = PodRequests(100, 100, 100, 100, 100, 100, (1, 1), (False, False))
    for i in range(nodes):
        table.put_node(NodeSummary(f"n{i}", 1, 1, (1, 1)))
        for j in range(10):
            table.put_pod(PodSummary(f"{i}-{j}", "default", "p", "web", requests, f"n{i}"))
    requests = PodRequests(200, 200, 200, 200, 200, 200, (2, 2), (False, False))
    rounds_s = []
    for to in ("n0", "n1", "n2", "n3", "n4"):
        moved = [PodSummary(f"{i}-{j}", "default", "p", "web", requests, to) for i in range(50) for j in range(10)]
        began_s = time.process_time()
        for pod in moved:
            table.put_pod(pod)
            table.put_node(NodeSummary("n7", 1, 1, (1, 1)))
        rounds_s.append(time.process_time() - began_s)
    return min(rounds_s)


def main() -> int:
    print("ratios of single calls: about a minute ...", flush=True)
    ratios = [*of_calls(calls.measure(build(cache_folder(os.environ)), rounds=ROUNDS, pods=PODS)), of_events()]
    for one in ratios:
        print(f"{'ok  ' if one.is_kept else 'FAIL'}  {one.what}: {one.figure:.2f}, at most {one.bound:g}")
    return 0 if all(one.is_kept for one in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
