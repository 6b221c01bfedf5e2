"""How outcomes become a belief: the estimate of one (pod type, node) pair, and the rules that move it.

Arithmetic only. No rule reads a clock: a time ahead of `now_s` (some clock was set back) counts as now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import LATEST_TIME_S


class Estimate(NamedTuple):
    """What is believed at `time_s`, unix seconds: mean 0 worst .. 1 best, evidence in runs' worth."""

    mean: float
    evidence: float
    time_s: float


class CountedOutcome(NamedTuple):
    """An outcome that an estimate holds already."""

    value: float
    time_s: float


class NewOutcome(NamedTuple):
    """An outcome to learn: its value, 0 worst .. 1 best, and its time, unix seconds.

    replaces: what it takes the place of. runs: how many runs went like this one.
    """

    value: float
    time_s: float
    replaces: CountedOutcome | None = None
    runs: int = 1


class Learner(Protocol):
    """Moves estimates. With any clock, means stay within 0..1 and evidence is finite and 0 or more."""

    @property
    def name(self) -> str:
        """As records name it."""

    @property
    def half_life_s(self) -> float:
        """Evidence halves in so long; infinite where it does not fade."""

    @property
    def counts_missed(self) -> bool:
        """Whether runs that no agent saw count as the next one that was seen to end badly."""

    def learn(self, estimate: Estimate | None, news: NewOutcome, now_s: float) -> Estimate | None:
        """The estimate with the outcome, in place of the one it replaces; None for a learner that learns nothing."""

    def merge(self, one: Estimate, other: Estimate, now_s: float) -> Estimate:
        """The estimate of both together."""

    def evidence_at(self, estimate: Estimate, now_s: float) -> float:
        """What is left of its evidence."""


@dataclass(frozen=True, slots=True)
class BetaLearner:
    """Counts successes a and failures b, both halved every half-life: mean a / (a + b), evidence a + b.

    An outcome r adds r to a and 1 - r to b, as much of it as has not decayed since its time.
    """

    half_life_s: float = 6 * 3600.0
    name: str = "beta"
    counts_missed: bool = True

    def __post_init__(self) -> None:
        if not self.half_life_s >= 1:
            raise InvalidSettings(f"half_life_s {self.half_life_s!r} is not 1 or more")

    def learn(self, estimate: Estimate | None, news: NewOutcome, now_s: float) -> Estimate:
        """See Learner. The replaced outcome is taken out as far as it has not decayed, and never more than there is."""
        value, time_s, replaces, runs = news
        now_s, time_s = in_range(now_s), min(in_range(time_s), in_range(now_s))
        at_s = time_s if estimate is None else max(time_s, min(estimate.time_s, now_s))
        good, bad = (0.0, 0.0) if estimate is None else self._counts(estimate, at_s)
        if replaces is not None:
            left = self._left(at_s - min(replaces.time_s, at_s))
            good = max(0.0, good - replaces.value * left)
            bad = max(0.0, bad - (1.0 - replaces.value) * left)
        weight = runs * self._left(at_s - time_s)
        good, bad = good + value * weight, bad + (1.0 - value) * weight
        return _estimate(good, bad, at_s, otherwise=value if estimate is None else estimate.mean)

    def merge(self, one: Estimate, other: Estimate, now_s: float) -> Estimate:
        """Their counts added up, at the later of their times."""
        at_s = min(max(one.time_s, other.time_s), in_range(now_s))
        good, bad = self._counts(one, at_s)
        more_good, more_bad = self._counts(other, at_s)
        return _estimate(good + more_good, bad + more_bad, at_s, otherwise=one.mean)

    def evidence_at(self, estimate: Estimate, now_s: float) -> float:
        """Halved every half-life."""
        return estimate.evidence * self._left(now_s - estimate.time_s)

    def _counts(self, estimate: Estimate, at_s: float) -> tuple[float, float]:
        evidence = self.evidence_at(estimate, at_s)
        return estimate.mean * evidence, (1.0 - estimate.mean) * evidence

    def _left(self, age_s: float) -> float:
        return float(2.0 ** -(max(age_s, 0.0) / self.half_life_s))


@dataclass(frozen=True, slots=True)
class EwmaLearner:
    """kubeRL's rule: mean = (1 - weight) mean + weight reward, from a first mean of 1.0. Nothing decays.

    Evidence is the number of rewards, so that a reader sees how often the pair was tried.
    """

    weight: float = 0.1
    first_mean: float = 1.0
    name: str = "ewma"
    counts_missed: bool = False
    half_life_s: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise InvalidSettings(f"weight {self.weight!r} is not above 0 and at most 1")
        if not 0 <= self.first_mean <= 1:
            raise InvalidSettings(f"first_mean {self.first_mean!r} is not from 0 to 1")

    def learn(self, estimate: Estimate | None, news: NewOutcome, now_s: float) -> Estimate:
        """See Learner. An outcome that replaces another moves the mean as if that had been the newest."""
        value, time_s, replaces, runs = news
        before = estimate or Estimate(self.first_mean, 0.0, 0.0)
        at_s = max(min(in_range(time_s), in_range(now_s)), min(before.time_s, in_range(now_s)))
        if replaces is not None:
            return Estimate(_within(before.mean + self.weight * (value - replaces.value)), before.evidence, at_s)
        kept = (1.0 - self.weight) ** runs
        return Estimate(_within(kept * before.mean + (1.0 - kept) * value), before.evidence + runs, at_s)

    def merge(self, one: Estimate, other: Estimate, now_s: float) -> Estimate:
        """Their mean by the number of rewards."""
        at_s = min(max(one.time_s, other.time_s), in_range(now_s))
        good = one.mean * one.evidence + other.mean * other.evidence
        return _estimate(good, one.evidence + other.evidence - good, at_s, otherwise=one.mean)

    def evidence_at(self, estimate: Estimate, now_s: float) -> float:
        """All of it."""
        return estimate.evidence


@dataclass(frozen=True, slots=True)
class NoLearner:
    """Learns nothing."""

    name: str = "none"
    counts_missed: bool = False
    half_life_s: float = math.inf

    def learn(self, estimate: Estimate | None, news: NewOutcome, now_s: float) -> None:
        """Nothing."""

    def merge(self, one: Estimate, other: Estimate, now_s: float) -> Estimate:
        """The one that there was."""
        return one

    def evidence_at(self, estimate: Estimate, now_s: float) -> float:
        """All of it."""
        return estimate.evidence


def _estimate(good: float, bad: float, at_s: float, *, otherwise: float) -> Estimate:
    evidence = good + bad
    return Estimate(_within(good / evidence if evidence > 0 else otherwise), max(evidence, 0.0), at_s)


def _within(mean: float) -> float:
    return min(max(mean, 0.0), 1.0)


def in_range(time_s: float) -> float:
    """A time that a record can hold, whatever a clock was set to."""
    return min(max(time_s, 0.0), float(LATEST_TIME_S))
