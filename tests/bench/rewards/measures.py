"""What a trace says about the learning: one row of figures a simulation. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.rewards.scene import BAD_TYPE, HALF_LIFE_S, HOUR_S, NODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.bench.rewards.scene import Fault, Scene
    from tests.bench.rewards.world import Trace

TURNS_UNTIL_AVOIDED = 3
"""A node is avoided from when it got none of the type's next 3 x 50 pods; by chance alone 1 node in 20 is."""
PODS_IN_USE, TURNS_IN_USE = 3, 6
"""A repaired node is in use from when it got 3 of the type's next 6 x 50 pods, half of its even share."""
PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Return:
    """A repaired pair. after_s: from its repair until its node was in use by the type again; where is_censored, until
    the end of the simulation or the next fault, and it was not.
    """

    after_s: float
    is_censored: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one simulation.

    until_avoided: pods of a type that a node bad for it got before it was avoided, a pair.
    returns: of each repaired pair. failed_runs: of all pods. failed_on_bad: those on a node while it was bad for the
    type. failed_by_kind: those by kind of fault, "stray" without one.
    spread: percentage points, the standard deviation of fullness over the nodes, mean of CPU, memory and egress.
    largest_share: percent of the bad type's running pods on one node, at its highest.
    pods_a_turn: of the bad type, a node and half-life.
    """

    until_avoided: float
    returns: tuple[Return, ...]
    failed_runs: float
    failed_on_bad: float
    failed_by_kind: Mapping[str, int]
    spread: float
    largest_share: float
    pods_a_turn: float


@dataclass(frozen=True, slots=True)
class Course:
    """By hour of one simulation: failed runs; pods of the bad type placed in all, on nodes that are bad for it."""

    failed: NDArray[np.int64]
    placed: NDArray[np.int64]
    on_bad: NDArray[np.int64]


def course(scene: Scene, trace: Trace) -> Course:
    """The course of one simulation."""
    hours = np.arange(0.0, scene.length_s + 1, HOUR_S)

    def by_hour(times_s: Sequence[float]) -> NDArray[np.int64]:
        return np.histogram(times_s, hours)[0]

    placed = [
        (at_s, node)
        for at_s, node, kind in zip(trace.placed_s, trace.placed_on, trace.placed_type, strict=True)
        if kind == BAD_TYPE
    ]
    return Course(
        failed=by_hour(trace.failed_s),
        placed=by_hour([at_s for at_s, _ in placed]),
        on_bad=by_hour([at_s for at_s, node in placed if _is_bad(scene, node, BAD_TYPE, at_s)]),
    )


def figures(scene: Scene, trace: Trace) -> Figures:
    """The figures of one simulation."""
    placed_s, placed_on = np.array(trace.placed_s), np.array(trace.placed_on, np.intp)
    placed_type = np.array(trace.placed_type, np.intp)
    until, returns = [], []
    for fault in scene.of_nodes:
        of_type = placed_type == fault.pod_type
        during = of_type & (placed_s >= fault.from_s) & (placed_s < fault.until_s)
        here = placed_on[during] == fault.node
        until.append(int(here[: avoided_from(here)].sum()))
        end_s = min(
            (o.from_s for o in scene.of_nodes if _is_same(o, fault) and o.from_s > fault.from_s), default=scene.length_s
        )
        if fault.until_s < end_s:
            since = of_type & (placed_s >= fault.until_s) & (placed_s < end_s)
            use = in_use_from(placed_on[since] == fault.node)
            used_s = end_s if use is None else float(placed_s[since][use])
            returns.append(Return(used_s - fault.until_s, use is None))
    kinds = Counter(
        "stray" if (fault := scene.fault(node, kind, at_s)) is None else fault.kind
        for at_s, node, kind in zip(trace.failed_s, trace.failed_on, trace.failed_type, strict=True)
    )
    return Figures(
        until_avoided=float(np.mean(until)),
        returns=tuple(returns),
        failed_runs=float(len(trace.failed_s)),
        failed_on_bad=float(sum(kinds[kind] for kind in {one.kind for one in scene.of_nodes})),
        failed_by_kind=dict(kinds),
        spread=PERCENT * float(np.mean(trace.spread)),
        largest_share=PERCENT * trace.largest_share,
        pods_a_turn=float(np.count_nonzero(placed_type == BAD_TYPE)) / NODES / (scene.length_s / HALF_LIFE_S),
    )


def median_return_s(returns: Sequence[Return]) -> float:
    """By Kaplan and Meier: what was not seen to the end counts for as long as it was seen; infinite where more than
    half were not back while anybody looked.
    """
    left, survive = len(returns), 1.0
    for one in sorted(returns, key=lambda one: (one.after_s, one.is_censored)):
        if not one.is_censored:
            survive *= 1 - 1 / left
        left -= 1
        if survive <= 0.5:
            return one.after_s
    return math.inf


def part_never_back(returns: Sequence[Return]) -> float:
    """The part of the repaired pairs that were not in use again by the end."""
    return sum(one.is_censored for one in returns) / len(returns) if returns else 0.0


def _is_same(one: Fault, other: Fault) -> bool:
    return (one.node, one.pod_type) == (other.node, other.pod_type)


def _is_bad(scene: Scene, node: int, pod_type: int, at_s: float) -> bool:
    fault = scene.fault(node, pod_type, at_s)
    return fault is not None and fault.node >= 0


def avoided_from(here: NDArray[np.bool_]) -> int:
    """The place in the row of the type's pods from which on the node got none for long enough; the end if never.

    here: for each pod of the type in order, whether this node got it.
    """
    turns = np.concatenate(([-1], np.flatnonzero(here), [len(here)]))
    long_enough = np.flatnonzero(np.diff(turns) > TURNS_UNTIL_AVOIDED * NODES)
    return int(turns[long_enough[0]]) + 1 if len(long_enough) else len(here)


def in_use_from(here: NDArray[np.bool_]) -> int | None:
    """The place of the first pod from which on the node got its part of the next pods; None if it never did."""
    turns = np.flatnonzero(here)
    series = turns[PODS_IN_USE - 1 :] - turns[: len(turns) - PODS_IN_USE + 1]
    soon_enough = np.flatnonzero(series < TURNS_IN_USE * NODES)
    return int(turns[soon_enough[0]]) if len(soon_enough) else None


def interval(values: NDArray[np.float64], *, seed: int = 0, resamples: int = 4000) -> tuple[float, float]:
    """95 % confidence interval of the mean, by the bootstrap's percentiles."""
    picked = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[picked].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
