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
    from numpy.typing import NDArray

HOUR_S = 3600.0
HALF_LIFE_S = 6 * HOUR_S
"""kubesteer's default, and the unit in which times are told."""
NODES = 50
BAD_NODES = 5
FAIL_RATE = 0.6
"""Of the bad type's runs on a bad node."""
STRAY_FAIL_RATE = 0.005
"""Of all other runs: something always fails."""
LENGTH_S = 6 * HALF_LIFE_S
REPAIR_S = LENGTH_S / 2
"""When the first of the bad nodes becomes good."""
LOADS = {"low": 0.30, "middle": 0.60, "high": 0.85}
"""Part of the cluster's CPU that pods ask for on average."""

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
BAD_TYPE = 0
"""Index of the type for which some nodes are bad."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One simulated time: what comes when, and its luck. Arrays are by pod in order of arrival; times in seconds.

    fails, crash_s: (pods, runs) a number 0..1 to be held against the node's fail rate, and how long a run that fails
    lasts. bad: rows of the bad nodes; the first is repaired at repair_s.
    """

    arrival_s: NDArray[np.float64]
    type_of: NDArray[np.intp]
    life_s: NDArray[np.float64]
    start_up_s: NDArray[np.float64]
    fails: NDArray[np.float32]
    crash_s: NDArray[np.float32]
    bad: tuple[int, ...]
    length_s: float
    repair_s: float

    def luck(self, pod: int, run: int) -> tuple[float, float]:
        """The run's number to hold against the fail rate, and how long it lasts if it fails."""
        return float(self.fails[pod, run % _RUNS]), float(self.crash_s[pod, run % _RUNS])

    def fail_rate(self, node: int, pod_type: int, now_s: float) -> float:
        """Of runs that start now."""
        is_bad = pod_type == BAD_TYPE and node in self.bad and not (node == self.bad[0] and now_s >= self.repair_s)
        return FAIL_RATE if is_bad else STRAY_FAIL_RATE


def draw(load: float, seed: int, *, length_s: float = LENGTH_S, repair_s: float = REPAIR_S) -> Scene:
    """Poisson arrivals at the rate that asks for `load` of the CPU on average; lives and start-ups are log-normal."""
    random = np.random.default_rng((seed, round(load * 1000)))
    share = np.array([one.share for one in TYPES])
    cpu_s_a_pod = sum(one.share * one.cpu_m * one.life_s for one in TYPES)
    rate_per_s = load * NODES * node(0).cpu_m / cpu_s_a_pod
    arrival_s = np.cumsum(random.exponential(1 / rate_per_s, int(rate_per_s * length_s * 1.2) + 100))
    arrival_s = arrival_s[arrival_s < length_s]
    pods = len(arrival_s)
    type_of = random.choice(len(TYPES), pods, p=share / share.sum())
    mean_life_s = np.array([one.life_s for one in TYPES])[type_of]
    return Scene(
        arrival_s=arrival_s,
        type_of=type_of,
        life_s=mean_life_s * random.lognormal(-(LIFE_SIGMA**2) / 2, LIFE_SIGMA, pods),
        start_up_s=random.lognormal(np.log(START_UP_S), START_UP_SIGMA, pods),
        fails=random.random((pods, _RUNS), np.float32),
        crash_s=CRASH_MEAN_S * random.standard_exponential((pods, _RUNS), np.float32),
        bad=tuple(random.choice(NODES, BAD_NODES, replace=False).tolist()),
        length_s=length_s,
        repair_s=repair_s,
    )


def node_table() -> NodeTable:
    """All nodes, empty; row n is node n."""
    table = NodeTable(len(DEFAULT_NETWORK))
    for row in range(NODES):
        table.put_node(node(row))
    return table


def node(row: int) -> NodeSummary:
    """16 cores, 64 GiB, 10 Gbit/s each way."""
    return NodeSummary(f"node-{row:02}", 16_000, 64 * _GI, (10_000 * _MBPS, 10_000 * _MBPS))
