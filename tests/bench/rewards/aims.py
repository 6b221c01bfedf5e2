"""The aims of the learning, and whether they are met. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.rewards.contenders import BETA, KUBERL, NOTHING, ORACLE, PROBATION, THOMPSON
from tests.bench.rewards.measures import interval, median_return_s, part_never_back
from tests.bench.rewards.scene import HALF_LIFE_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.bench.rewards.measures import Figures
    from tests.bench.rewards.runs import Run

OF_KUBERL, HALF_LIVES, NEVER_BACK, WIDER = 1.0, 1.25, 5.0, 0.2
OURS = (PROBATION, BETA, THOMPSON)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over the seeds and its 95 % confidence interval; infinite where more than half were never seen."""

    mean: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        if self.low == self.mean == self.high:
            return _shown(self.mean, digits)
        return f"{_shown(self.mean, digits)} ({_shown(self.low, digits)} to {_shown(self.high, digits)})"


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
    """Runs that failed on bad nodes, one contender's to another's: of the sums, its interval from seeds drawn together."""
    ours, theirs = (_by_seed(runs, load, one, lambda figures: figures.failed_on_bad) for one in (contender, to))
    return _drawn(len(ours), lambda picked: float(ours[picked].sum() / theirs[picked].sum()))


def more(runs: Sequence[Run], load: str, contender: str, to: str, of: Callable[[Figures], float]) -> Estimate:
    """By how much one contender's figure is above another's; both met the same pods with the same luck."""
    difference = _by_seed(runs, load, contender, of) - _by_seed(runs, load, to, of)
    return Estimate(float(difference.mean()), *interval(difference))


def regret(runs: Sequence[Run], load: str, contender: str) -> Estimate:
    """Failed runs that one who knows every fault beforehand would not have had."""
    return more(runs, load, contender, ORACLE, lambda one: one.failed_runs)


def back(runs: Sequence[Run], load: str, contender: str) -> Estimate:
    """Half-lives until a repaired node was in use again, the median of all; seeds are drawn whole."""
    returns = [run.figures.returns for run in runs if (run.load, run.contender) == (load, contender)]
    return _drawn(
        len(returns),
        lambda picked: median_return_s([one for seed in picked for one in returns[seed]]) / HALF_LIFE_S,
    )


def never_back(runs: Sequence[Run], load: str, contender: str) -> Estimate:
    """Percent of the repaired nodes that were not in use again by the end."""
    returns = [run.figures.returns for run in runs if (run.load, run.contender) == (load, contender)]
    return _drawn(len(returns), lambda picked: 100 * part_never_back([one for seed in picked for one in returns[seed]]))


def _by_seed(runs: Sequence[Run], load: str, contender: str, of: Callable[[Figures], float]) -> NDArray[np.float64]:
    found = {run.seed: of(run.figures) for run in runs if (run.load, run.contender) == (load, contender)}
    return np.array([found[seed] for seed in sorted(found)])


def _drawn(seeds: int, of: Callable[[Sequence[int]], float]) -> Estimate:
    """Over all seeds, and the bootstrap's percentiles over seeds drawn with replacement."""
    picked = np.random.default_rng(0).integers(seeds, size=(1000, seeds)).tolist()
    low, high = np.percentile([of(some) for some in picked], (2.5, 97.5), method="nearest")
    return Estimate(of(range(seeds)), float(low), float(high))


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "never"


def of_runs(runs: Sequence[Run]) -> list[Aim]:
    """Every aim at every load, for each of our choice rules."""
    aims = []
    for load in dict.fromkeys(run.load for run in runs):
        for ours in OURS:
            spread = more(runs, load, ours, NOTHING, lambda one: one.spread)
            aims += [
                Aim(
                    load, ours, "failed runs on bad nodes to kubeRL's", ratio(runs, load, ours, KUBERL), OF_KUBERL, "x"
                ),
                Aim(load, ours, "repaired node in use again, median", back(runs, load, ours), HALF_LIVES, "half-lives"),
                Aim(load, ours, "repaired nodes not in use by the end", never_back(runs, load, ours), NEVER_BACK, "%"),
                Aim(load, ours, "spread of fullness above no learning's", spread, WIDER, "points"),
            ]
    return aims
