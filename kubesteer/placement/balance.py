"""How balanced a node's resources would be with the pod added, by a selectable rule. Only arithmetic lives here.

Each rule turns arrays into points 0..100 a candidate, in candidate order. The upstream rules give the very integers of
kube-scheduler's NodeResourcesBalancedAllocation; `stddev` is the current one without its truncations; `level` is ours.

    rule            formula (f = requested / allocatable, at most 1)                         source
    upstream-1.21   int((1 - |f_cpu - f_mem|) * 100); 0 where either f >= 1                  up to 1.21.2
    upstream-1.22   int((1 - std(f)) * 100)                                                  1.22 to 1.35
    upstream-1.36   50 + (50 + S(with the pod) - S(without it)) / 2, S as in 1.22            from 1.36 (#135573)
    stddev          the same in floating point
    level           (1 - sum(d * f with the pod) / sum(d)) * 100, d = asked / allocatable    kubesteer's default
    depcon2         int((1 - var(f_cpu, f_mem, f_net)) * 100); f = 1 where there is no capacity   DepCon2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.table import CPU, MEMORY, NETWORK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.requests import PodRequests
    from kubesteer.placement.candidates import Candidates

    Floats = NDArray[np.float64]
    Amounts = NDArray[np.int64]

MAX_POINTS = 100
_LEAST = np.nextafter(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Load:
    """One pod and its candidates: what is requested without the pod, and what the pod would add.

    allocatable: (resources, n). requested: the same of plain requests, with what was just promised counted in.
    nonzero_requested: (2, n), without it. charged: (resources, n), what was just promised.
    """

    pod: PodRequests
    allocatable: Amounts
    requested: Amounts
    nonzero_requested: Amounts
    charged: Amounts | None = None

    @property
    def nonzero(self) -> Amounts:
        """(2, n): CPU and memory requested and promised, with defaults for containers that ask for nothing."""
        return self.nonzero_requested if self.charged is None else self.nonzero_requested + self.charged[:NETWORK]


Rule = Callable[[Load], "Floats"]


def load_of(pod: PodRequests, candidates: Candidates, charged: Amounts | None) -> Load:
    """The load that the rules read; charged is what was just promised, (resources, n)."""
    requested = candidates.requested if charged is None else candidates.requested + charged
    return Load(pod, candidates.allocatable, requested, candidates.nonzero_requested, charged)


def upstream_1_21(load: Load) -> Floats:
    """CPU against memory, by their distance. Non-zero requests."""
    f_cpu, f_memory = _nonzero_fractions(load)
    points = np.trunc((1 - np.abs(f_cpu - f_memory)) * MAX_POINTS)
    return np.where((f_cpu >= 1) | (f_memory >= 1), 0.0, points)


def upstream_1_22(load: Load) -> Floats:
    """Standard deviation with the pod added. Plain requests; resources that do not apply are left out."""
    counted = _counted(load.pod)
    after = _rows(load.requested, counted) + _asked(load.pod, counted)
    return np.trunc(_evenness(after, _rows(load.allocatable, counted)))


def upstream_1_36(load: Load) -> Floats:
    """What the pod does to the balance: better is above 75, worse below. Whole points, as upstream divides them."""
    before, after = _before_and_after(load)
    # Go's integer division goes toward zero; the dividend is never negative here, so floor is the same.
    return MAX_POINTS / 2 + np.floor((MAX_POINTS / 2 + np.trunc(after) - np.trunc(before)) / 2)


def stddev(load: Load) -> Floats:
    """upstream-1.36 without truncation, so that small differences still order the nodes."""
    before, after = _before_and_after(load)
    return MAX_POINTS / 2 + (MAX_POINTS / 2 + after - before) / 2


def level(load: Load) -> Floats:
    """How empty the node would be in what the pod asks for, each resource weighted by the part of it that is asked.

    Placing by this levels each resource over the nodes (it is the marginal cost of the sum of squared loads), whereas
    the deviation within a node, taken as a difference, always likes a loaded node at least as well as an empty one.
    A node without a resource that others have counts as full of it.
    """
    counted = _counted(load.pod)
    allocatable, asked = _rows(load.allocatable, counted), _asked(load.pod, counted)
    everywhere = _positive(allocatable)
    divisor = (allocatable if everywhere else np.maximum(allocatable, 1)).astype(np.float64)
    part = asked / divisor
    full = (_rows(load.requested, counted) + asked) / divisor
    np.minimum(full, 1.0, out=full)
    if not everywhere:
        has = allocatable > 0
        part = np.where(has, part, 0.0)
        part = np.where(has, part, part.max(axis=1, keepdims=True, initial=0.0))
        full = np.where(has, full, 1.0)
    weight = _sum_in_order(part)
    full *= part
    points = _sum_in_order(full)
    # Where nothing is asked of what there is, both are 0.
    points /= np.maximum(weight, _LEAST, out=weight)
    return _points(points)


def depcon2(load: Load) -> Floats:
    """DepCon2's variance over CPU, memory and the first network direction, whatever the pod asks for."""
    f_cpu, f_memory = _nonzero_fractions(load)
    f_network = _fraction_or_full(load.requested[NETWORK] + load.pod.network_bps[0], load.allocatable[NETWORK])
    variance = depcon2_variance(np.minimum(f_cpu, 1), np.minimum(f_memory, 1), np.minimum(f_network, 1))
    return np.trunc((1 - variance) * MAX_POINTS)


def depcon2_variance(f_cpu: Floats, f_memory: Floats, f_network: Floats) -> Floats:
    """Population variance in DepCon2's own order of operations, so that it is equal to the last bit."""
    mean = (f_cpu + f_memory + f_network) / 3.0
    return (
        (f_cpu - mean) * (f_cpu - mean)
        + (f_memory - mean) * (f_memory - mean)
        + (f_network - mean) * (f_network - mean)
    ) / 3.0


RULES: dict[str, Rule] = {
    "level": level,
    "stddev": stddev,
    "upstream-1.21": upstream_1_21,
    "upstream-1.22": upstream_1_22,
    "upstream-1.36": upstream_1_36,
    "depcon2": depcon2,
}

SKIP_BEST_EFFORT = frozenset({"level", "stddev", "upstream-1.22", "upstream-1.36"})
"""Rules that have nothing to say of a pod that asks for nothing; the others count its defaults."""


def is_best_effort(pod: PodRequests) -> bool:
    """A pod that asks for nothing leaves every balance as it is; upstream skips it, so do we (#129138)."""
    return not (pod.cpu_m or pod.memory_b or any(pod.network_bps))


def fullness(load: Load) -> Floats:
    """The fullest of a node's resources with the pod added, 0..1; what equal pods on equal nodes are told apart by.

    Balance is not: each equal pod changes it by the same. CPU and memory are non-zero requests, as upstream's
    LeastAllocated counts them; a network direction counts where the pod asks for it and the node has it.
    """
    counted = _counted(load.pod)
    used = _rows(load.requested, counted) + _asked(load.pod, counted)
    used[CPU], used[MEMORY] = _nonzero_used(load)
    allocatable = _rows(load.allocatable, counted)
    fractions: Floats = used / np.maximum(allocatable, 1)
    np.minimum(fractions, 1.0, out=fractions)
    if not _positive(allocatable):
        fractions[allocatable <= 0] = 0.0
    highest: Floats = fractions.max(axis=0)
    return highest


def _before_and_after(load: Load) -> tuple[Floats, Floats]:
    counted = _counted(load.pod)
    requested, allocatable = _rows(load.requested, counted), _rows(load.allocatable, counted)
    return _evenness(requested, allocatable), _evenness(requested + _asked(load.pod, counted), allocatable)


def _counted(pod: PodRequests) -> list[int]:
    """CPU and memory always; a network direction only where the pod asks for it."""
    return [CPU, MEMORY, *(NETWORK + i for i, bps in enumerate(pod.network_bps) if bps)]


def _rows(amounts: Amounts, counted: list[int]) -> Amounts:
    """A view where all are counted: nothing here writes into it."""
    return amounts if len(counted) == len(amounts) else amounts.take(counted, axis=0)


def _asked(pod: PodRequests, counted: list[int]) -> Amounts:
    amounts = (pod.cpu_m, pod.memory_b, *pod.network_bps)
    return np.array([amounts[resource] for resource in counted], np.int64)[:, None]


def _evenness(requested: Amounts, allocatable: Amounts) -> Floats:
    """(1 - std) * 100 over the resources that a node has; half the distance where there are two, as upstream does."""
    if _positive(allocatable):
        fractions: Floats = requested / allocatable
        np.minimum(fractions, 1.0, out=fractions)
        if len(fractions) == 2:
            return _points(np.abs((fractions[0] - fractions[1]) / 2))
        fractions -= _sum_in_order(fractions) / len(fractions)
        fractions *= fractions
        return _points(np.sqrt(_sum_in_order(fractions) / len(fractions)))
    has = allocatable > 0
    fractions = np.minimum(requested / np.where(has, allocatable, 1), 1.0)
    count = has.sum(axis=0)
    mean = _sum_in_order(np.where(has, fractions, 0.0)) / np.maximum(count, 1)
    squares = np.where(has, (fractions - mean) * (fractions - mean), 0.0)
    std = np.sqrt(_sum_in_order(squares) / np.maximum(count, 1))
    highest, lowest = np.where(has, fractions, -1.0).max(axis=0), np.where(has, fractions, 2.0).min(axis=0)
    std = np.where(count > 2, std, np.where(count == 2, np.abs((highest - lowest) / 2), 0.0))
    return _points(std)


def _points(less: Floats) -> Floats:
    """100 for 0, 0 for 1; in place."""
    np.subtract(1, less, out=less)
    less *= MAX_POINTS
    return less


def _positive(allocatable: Amounts) -> bool:
    """Every candidate has every resource."""
    return bool(allocatable.min(initial=1) > 0)


def _sum_in_order(rows: Floats) -> Floats:
    """Left to right over the resources, so that rounding is upstream's: numpy adds whole rows one after the other."""
    total: Floats = np.add.reduce(rows, axis=0)
    return total


def _nonzero_used(load: Load) -> tuple[Amounts, Amounts]:
    nonzero = load.nonzero
    return nonzero[CPU] + load.pod.incoming_nonzero_cpu_m, nonzero[MEMORY] + load.pod.incoming_nonzero_memory_b


def _nonzero_fractions(load: Load) -> tuple[Floats, Floats]:
    """Of CPU and memory."""
    cpu_m, memory_b = _nonzero_used(load)
    return _fraction_or_full(cpu_m, load.allocatable[CPU]), _fraction_or_full(memory_b, load.allocatable[MEMORY])


def _fraction_or_full(requested: Amounts, allocatable: Amounts) -> Floats:
    """Requested / allocatable; a node without the resource counts as full."""
    fraction: Floats = requested / np.maximum(allocatable, 1)
    if not _positive(allocatable):
        fraction[allocatable <= 0] = 1.0
    return fraction
