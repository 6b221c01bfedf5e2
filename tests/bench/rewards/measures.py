"""What a trace says about the learning: one row of figures a simulation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.rewards.scene import BAD_NODES, BAD_TYPE, HALF_LIFE_S, HOUR_S, NODES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.bench.rewards.scene import Scene
    from tests.bench.rewards.world import Trace

TURNS_UNTIL_AVOIDED = 3
"""A node is avoided from when it got none of the type's next 3 x 50 pods; by chance alone 1 node in 20 is."""
PODS_IN_USE, TURNS_IN_USE = 3, 6
"""A repaired node is in use from when it got 3 of the type's next 6 x 50 pods, half of its even share."""
PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one simulation.

    until_avoided: pods of the bad type that a bad node got before it was avoided, a node.
    share_afterwards: percent of the type's pods that went to bad nodes from then on; an even spread gives 10 %.
    tried_again, in_use_again: half-lives from the repair until the repaired node got its first pod, and until it was
    in use; at most what was left of the simulation.
    never_in_use: 1 if it was not in use again by the end, else 0.
    failed_runs: of all pods. failed_on_bad: those of the bad type on nodes that are bad for it, before a repair.
    spread: percentage points, the standard deviation of fullness over the nodes, mean of CPU, memory and egress.
    largest_share: percent of the type's running pods on one node, at its highest.
    pods_a_turn: of the bad type, a node and half-life.
    """

    until_avoided: float
    share_afterwards: float
    tried_again: float
    in_use_again: float
    never_in_use: float
    failed_runs: float
    failed_on_bad: float
    spread: float
    largest_share: float
    pods_a_turn: float


@dataclass(frozen=True, slots=True)
class Course:
    """By hour of one simulation: failed runs; pods of the bad type placed in all, on nodes that are bad, on the
    repaired one (before its repair too).
    """

    failed: NDArray[np.int64]
    placed: NDArray[np.int64]
    on_bad: NDArray[np.int64]
    on_repaired: NDArray[np.int64]


def course(scene: Scene, trace: Trace) -> Course:
    """The course of one simulation."""
    placed_s, placed_on = np.array(trace.placed_s), np.array(trace.placed_on, np.intp)
    hours = np.arange(0.0, scene.length_s + 1, HOUR_S)

    def by_hour(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.histogram(times_s, hours)[0]

    return Course(
        failed=by_hour(np.array(trace.failed_s)),
        placed=by_hour(placed_s),
        on_bad=by_hour(placed_s[_is_bad(scene, trace.placed_s, trace.placed_on)]),
        on_repaired=by_hour(placed_s[placed_on == scene.bad[0]]),
    )


def figures(scene: Scene, trace: Trace) -> Figures:
    """The figures of one simulation."""
    placed_s, placed_on = np.array(trace.placed_s), np.array(trace.placed_on, np.intp)
    is_type = np.array(trace.failed_type, np.intp) == BAD_TYPE
    until = afterwards = possible = 0
    for node in scene.bad:
        bad_until_s = scene.repair_s if node == scene.bad[0] else scene.length_s
        here = placed_on[placed_s < bad_until_s] == node
        avoided = avoided_from(here)
        until += int(here[:avoided].sum())
        afterwards += int(here[avoided:].sum())
        possible += len(here) - avoided
    since = placed_s >= scene.repair_s
    repaired_here, repaired_s = placed_on[since] == scene.bad[0], placed_s[since] - scene.repair_s
    left_s = scene.length_s - scene.repair_s
    tried_s = float(repaired_s[repaired_here][0]) if repaired_here.any() else left_s
    use = in_use_from(repaired_here)
    return Figures(
        until_avoided=until / len(scene.bad),
        share_afterwards=PERCENT * BAD_NODES * afterwards / possible if possible else 0.0,
        tried_again=tried_s / HALF_LIFE_S,
        in_use_again=(left_s if use is None else float(repaired_s[use])) / HALF_LIFE_S,
        never_in_use=float(use is None),
        failed_runs=float(len(trace.failed_s)),
        failed_on_bad=float(np.count_nonzero(_is_bad(scene, trace.failed_s, trace.failed_on) & is_type)),
        spread=PERCENT * float(np.mean(trace.spread)),
        largest_share=PERCENT * trace.largest_share,
        pods_a_turn=len(placed_s) / NODES / (scene.length_s / HALF_LIFE_S),
    )


def _is_bad(scene: Scene, times_s: Sequence[float], nodes: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each of these nodes was bad at its time."""
    times, on = np.array(times_s), np.array(nodes, np.intp)
    is_bad: NDArray[np.bool_] = np.isin(on, scene.bad) & ~((on == scene.bad[0]) & (times >= scene.repair_s))
    return is_bad


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
