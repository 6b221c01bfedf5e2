"""What happens in the simulated cluster whoever places its pods: nodes, pod types, arrivals, lives, failures.

All chance is drawn here beforehand, from a seed, so that every policy meets the same pods with the same luck.
Nothing is placed and nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NodeSummary
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.requests import PodRequests
from kubesteer.placement.table import NodeTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

START_S = 1_700_000_000.0
"""Unix seconds at which every simulation begins: records know no time before 1970."""
HOUR_S = 3600.0
HALF_LIFE_S = 6 * HOUR_S
"""kubesteer's default, and the unit in which times are told."""
NODES = 50
STRAY_FAIL_RATE = 0.005
"""Of runs without a fault: something always fails."""
LENGTH_S = 6 * HALF_LIFE_S
LOADS = {"low": 0.30, "middle": 0.60, "high": 0.85, "rough": 0.60}
"""Part of the cluster's CPU that pods ask for on average; "rough" has every kind of fault, and bursts."""
ROUGH = "rough"

BAD_NODES = 5
FAIL_RATE = 0.6
"""Of the bad type's runs on a bad node."""
REPAIRED_S = (1.0 * HALF_LIFE_S, 3.0 * HALF_LIFE_S)
"""Each bad node becomes good at some time between these; half of the simulation is left after the last."""
WEAK_RATES, STRONG_RATES = (0.1, 0.3), (0.5, 0.9)
OUTAGES, OUTAGE_S, OUTAGE_RATE = 3, 1200.0, 0.8
"""What a type needs is away: its runs fail on every node for a while."""
BURST, BURST_SHARE = 30, 0.3
"""So many pods of one type at once, and the part of all pods that come so."""

CRASH_MEAN_S = 120.0
BACK_OFF_S, LONGEST_BACK_OFF_S, BACK_OFF_RESET_S = 10.0, 300.0, 600.0
"""The kubelet's: 10 s, doubled by each crash up to 5 minutes, forgotten after a run of 10 minutes."""
START_UP_S, START_UP_SIGMA = 6.0, 0.25
LIFE_SIGMA = 0.6
_RUNS = 64
"""Runs of one pod whose luck is drawn; a later one has the luck of an earlier."""
_MI, _GI, _MBPS = 2**20, 2**30, 10**6


@dataclass(frozen=True, slots=True)
class PodType:
    """Pods of one kind: their part of the arrivals, what they ask for, how long they live on average.

    job: runs to its end and exits 0; otherwise somebody deletes the pod when its life is over.
    """

    name: str
    share: float
    cpu_m: int
    memory_b: int
    network_bps: tuple[int, int]
    life_s: float
    job: bool = False

    def requests(self) -> PodRequests:
        return PodRequests(
            cpu_m=self.cpu_m,
            memory_b=self.memory_b,
            nonzero_cpu_m=self.cpu_m,
            nonzero_memory_b=self.memory_b,
            incoming_nonzero_cpu_m=self.cpu_m,
            incoming_nonzero_memory_b=self.memory_b,
            network_bps=self.network_bps,
            by_annotation=(False, False),
        )


TYPES = (
    PodType("checkout", 0.40, 1500, 4 * _GI, (500 * _MBPS, 100 * _MBPS), 1.5 * HOUR_S),
    PodType("search", 0.15, 2000, 8 * _GI, (200 * _MBPS, 200 * _MBPS), 2.0 * HOUR_S),
    PodType("cache", 0.10, 500, 12 * _GI, (300 * _MBPS, 300 * _MBPS), 3.0 * HOUR_S),
    PodType("encode", 0.15, 4000, 4 * _GI, (100 * _MBPS, 400 * _MBPS), 1.0 * HOUR_S, job=True),
    PodType("report", 0.10, 1000, 6 * _GI, (50 * _MBPS, 50 * _MBPS), 0.5 * HOUR_S, job=True),
    PodType("proxy", 0.10, 1000, 1 * _GI, (1500 * _MBPS, 1500 * _MBPS), 2.0 * HOUR_S),
)
BAD_TYPE, OTHER_BAD_TYPES = 0, (1, 3)
"""Indices of the types that faults are about: checkout; search and encode beside it where a node is bad for several."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Runs of a type that start on a node between two times fail at this rate. node: -1 is every node."""

    kind: str
    node: int
    pod_type: int
    rate: float
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One simulated time: what comes when, and its luck. Arrays are by pod in order of arrival; times in seconds.

    fails, crash_s: (pods, runs) a number 0..1 to be held against the fail rate, and how long a run that fails lasts.
    """

    arrival_s: NDArray[np.float64]
    type_of: NDArray[np.intp]
    life_s: NDArray[np.float64]
    start_up_s: NDArray[np.float64]
    fails: NDArray[np.float32]
    crash_s: NDArray[np.float32]
    faults: tuple[Fault, ...]
    length_s: float

    def luck(self, pod: int, run: int) -> tuple[float, float]:
        """The run's number to hold against the fail rate, and how long it lasts if it fails."""
        return float(self.fails[pod, run % _RUNS]), float(self.crash_s[pod, run % _RUNS])

    def fault(self, node: int, pod_type: int, now_s: float) -> Fault | None:
        """Of runs that start now; a node's own before one of all nodes."""
        for one in self.faults:
            if one.pod_type == pod_type and one.node in {node, -1} and one.from_s <= now_s < one.until_s:
                return one
        return None

    def fail_rate(self, node: int, pod_type: int, now_s: float) -> float:
        """Of runs that start now."""
        fault = self.fault(node, pod_type, now_s)
        return STRAY_FAIL_RATE if fault is None else fault.rate

    @property
    def of_nodes(self) -> tuple[Fault, ...]:
        """Faults of single nodes: those that a learner can do something about."""
        return tuple(one for one in self.faults if one.node >= 0)


def draw(load: str, seed: int, *, length_s: float = LENGTH_S) -> Scene:
    """Arrivals at the rate that asks for that part of the CPU on average; lives and start-ups are log-normal.

    Arrivals are Poisson, in rough weather some of them bursts.
    """
    random = np.random.default_rng((seed, round(LOADS[load] * 1000)))
    share = np.array([one.share for one in TYPES])
    cpu_s_a_pod = sum(one.share * one.cpu_m * one.life_s for one in TYPES)
    rate_per_s = LOADS[load] * NODES * node(0).cpu_m / cpu_s_a_pod
    arrival_s = np.cumsum(random.exponential(1 / rate_per_s, int(rate_per_s * length_s * 1.2) + 100))
    arrival_s = arrival_s[arrival_s < length_s]
    pods = len(arrival_s)
    type_of = random.choice(len(TYPES), pods, p=share / share.sum())
    if load == ROUGH:
        for first in random.choice(pods, round(pods * BURST_SHARE / BURST), replace=False).tolist():
            together = slice(first, first + BURST)
            arrival_s[together], type_of[together] = arrival_s[first], type_of[first]
        arrival_s.sort()
    mean_life_s = np.array([one.life_s for one in TYPES])[type_of]
    return Scene(
        arrival_s=arrival_s,
        type_of=type_of,
        life_s=mean_life_s * random.lognormal(-(LIFE_SIGMA**2) / 2, LIFE_SIGMA, pods),
        start_up_s=random.lognormal(np.log(START_UP_S), START_UP_SIGMA, pods),
        fails=random.random((pods, _RUNS), np.float32),
        crash_s=CRASH_MEAN_S * random.standard_exponential((pods, _RUNS), np.float32),
        faults=tuple(_rough(random) if load == ROUGH else _plain(random)),
        length_s=length_s,
    )


def _plain(random: np.random.Generator) -> Iterator[Fault]:
    """Some nodes are bad for one type from the start, each until somebody repairs it."""
    for row in random.choice(NODES, BAD_NODES, replace=False).tolist():
        yield Fault("plain", row, BAD_TYPE, FAIL_RATE, 0.0, float(random.uniform(*REPAIRED_S)))


def _rough(random: np.random.Generator) -> Iterator[Fault]:
    """Strong and weak faults, nodes that are bad for several types, one that comes back, and outages of everything."""
    rows = random.choice(NODES, 9, replace=False).tolist()
    for kind, some, rates in (("strong", rows[:2], STRONG_RATES), ("weak", rows[2:5], WEAK_RATES)):
        for row in some:
            until_s = float(random.uniform(*REPAIRED_S))
            yield Fault(kind, row, BAD_TYPE, float(random.uniform(*rates)), 0.0, until_s)
    for row in rows[5:7]:
        until_s = float(random.uniform(*REPAIRED_S))
        for pod_type in (BAD_TYPE, *OTHER_BAD_TYPES):
            yield Fault("several types", row, pod_type, FAIL_RATE, 0.0, until_s)
    for row in rows[7:]:
        good_s = float(random.uniform(0.5, 1.0)) * HALF_LIFE_S
        yield Fault("comes back", row, BAD_TYPE, FAIL_RATE, 0.0, good_s)
        yield Fault("comes back", row, BAD_TYPE, FAIL_RATE, good_s + 1.5 * HALF_LIFE_S, LENGTH_S)
    for begin_s in random.uniform(0.0, LENGTH_S, OUTAGES).tolist():
        yield Fault("outage", -1, BAD_TYPE, OUTAGE_RATE, begin_s, begin_s + OUTAGE_S)


def node_table() -> NodeTable:
    """All nodes, empty; row n is node n."""
    table = NodeTable(len(DEFAULT_NETWORK))
    for row in range(NODES):
        table.put_node(node(row))
    return table


def node(row: int) -> NodeSummary:
    """16 cores, 64 GiB, 10 Gbit/s each way."""
    return NodeSummary(f"node-{row:02}", 16_000, 64 * _GI, (10_000 * _MBPS, 10_000 * _MBPS))
