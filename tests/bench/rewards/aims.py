"""The aims of the learning, and whether they are met. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.rewards.contenders import BETA, KUBERL, NOTHING, THOMPSON
from tests.bench.rewards.measures import interval

if TYPE_CHECKING:
    from tests.bench.rewards.measures import Figures
    from tests.bench.rewards.runs import Run

OF_KUBERL, OF_NOTHING, HALF_LIVES, ON_ONE_NODE = 0.5, 0.2, 2.0, 99.9
OURS = (BETA, THOMPSON)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over the seeds and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        return f"{self.mean:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Aim:
    """One figure and the most it may be."""

    load: str
    contender: str
    what: str
    figure: Estimate
    bound: float
    unit: str

    @property
    def met(self) -> bool:
        return self.figure.mean <= self.bound


def estimate(runs: Sequence[Run], load: str, contender: str, of: Callable[[Figures], float]) -> Estimate:
    """Of one contender at one load."""
    values = np.array([of(run.figures) for run in runs if (run.load, run.contender) == (load, contender)])
    return Estimate(float(values.mean()), *interval(values))


def ratio(runs: Sequence[Run], load: str, contender: str, to: str) -> Estimate:
    """Failed runs of one contender to another's: the ratio of the means, its interval from seeds drawn together."""
    failed = {(run.contender, run.seed): run.figures.failed_runs for run in runs if run.load == load}
    seeds = sorted({seed for _, seed in failed})
    ours = np.array([failed[contender, seed] for seed in seeds])
    theirs = np.array([failed[to, seed] for seed in seeds])
    picked = np.random.default_rng(0).integers(len(seeds), size=(4000, len(seeds)))
    low, high = np.percentile(ours[picked].sum(axis=1) / theirs[picked].sum(axis=1), (2.5, 97.5))
    return Estimate(float(ours.sum() / theirs.sum()), float(low), float(high))


def of_runs(runs: Sequence[Run]) -> list[Aim]:
    """Every aim at every load, for each of our policies."""
    aims = []
    for load in dict.fromkeys(run.load for run in runs):
        for ours in OURS:
            used = estimate(runs, load, ours, lambda one: one.in_use_again)
            share = max(run.figures.largest_share for run in runs if (run.load, run.contender) == (load, ours))
            aims += [
                Aim(load, ours, "failed runs to no learning's", ratio(runs, load, ours, NOTHING), OF_NOTHING, "x"),
                Aim(load, ours, "failed runs to kubeRL's rule's", ratio(runs, load, ours, KUBERL), OF_KUBERL, "x"),
                Aim(load, ours, "repaired node in use again, half-lives", used, HALF_LIVES, ""),
                Aim(load, ours, "largest share on one node, any seed", Estimate(share, share, share), ON_ONE_NODE, "%"),
            ]
    return aims
