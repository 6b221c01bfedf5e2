"""The score of a node: balance and reward, weighted, then stretched to the integers 0..10 that the wire allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.balance import MAX_POINTS, RULES, SKIP_BEST_EFFORT, Load, is_best_effort

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.placement.policy import ScorePolicy

    Floats = NDArray[np.float64]

MAX_SCORE = 10
"""MaxExtenderPriority of the extender protocol."""
_SAME = 1e-9
"""Scores and fractions this close differ by rounding only."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Each term of each candidate's score, 0..1, and their weighted mean; None where a term says nothing."""

    balance: Floats | None
    reward: Floats | None
    total: Floats


def score_terms(load: Load, reward: Floats | None, policy: ScorePolicy) -> Terms:
    """The terms; one without an opinion has no weight either, so the others keep their full range."""
    terms: list[tuple[float, Floats]] = []
    balance = None
    if policy.balance_weight > 0 and not (policy.balance_rule in SKIP_BEST_EFFORT and is_best_effort(load.pod)):
        balance = RULES[policy.balance_rule](load) / MAX_POINTS
        terms.append((policy.balance_weight, balance))
    reward = reward if policy.reward_weight > 0 else None
    if reward is not None:
        terms.append((policy.reward_weight, reward))
    if not terms:
        return Terms(None, None, np.zeros(load.allocatable.shape[1]))
    total = terms[0][0] * terms[0][1]
    for weight, term in terms[1:]:
        total += weight * term
    total /= sum(weight for weight, _ in terms)
    return Terms(balance, reward, total)


def stretch(total: Floats, scored: NDArray[np.bool_], least_spread: float) -> NDArray[np.int64]:
    """Integers 0..10 over the scored candidates: the best gets 10, the others by their distance from it.

    The distance that counts as ten points is the candidates' own spread, or least_spread where that is larger.
    The others get 0.
    """
    scores: NDArray[np.int64]
    if scored.all():
        return _stretched(total, least_spread)
    scores = np.zeros(len(total), np.int64)
    if scored.any():
        scores[scored] = _stretched(total[scored], least_spread)
    return scores


def _stretched(total: Floats, least_spread: float) -> NDArray[np.int64]:
    if not total.size:
        return np.zeros(0, np.int64)
    best = total.max()
    spread = max(float(best - total.min()), least_spread)
    if spread <= 0:
        return np.full(len(total), MAX_SCORE, np.int64)
    points: Floats = best - total
    points /= spread
    points *= MAX_SCORE
    np.subtract(MAX_SCORE, points, out=points)
    return np.rint(points, out=points).astype(np.int64)


def best(
    total: Floats,
    fullness: Floats,
    among: NDArray[np.intp],
    count: int,
    tie_break: NDArray[np.uint64],
    uid_hash: int,
) -> NDArray[np.intp]:
    """The `count` best of the positions `among`, in their given order: by score, then the emptiest, then by lot.

    The lot falls evenly, and the same for one pod. Without the emptiest, the lot alone would spread a burst of equal
    pods, and of 100 nodes some would get three times the mean.
    """
    if len(among) <= count:
        return among
    sure = np.zeros(0, np.intp)
    for worse in (-total, fullness):
        values = worse[among]
        last_kept = np.partition(values, count - len(sure) - 1)[count - len(sure) - 1]
        sure = np.concatenate((sure, among[values < last_kept - _SAME]))
        among = among[np.abs(values - last_kept) <= _SAME]
    drawn = among[np.argsort(_lottery(tie_break[among], uid_hash))[: count - len(sure)]]
    return np.sort(np.concatenate((sure, drawn)))


def _lottery(tie_break: NDArray[np.uint64], uid_hash: int) -> NDArray[np.uint64]:
    """A well-mixed number for each (pod, node): a multiply and shift of both hashes (Fibonacci hashing)."""
    mixed = (tie_break ^ np.uint64(uid_hash)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed * np.uint64(0xBF58476D1CE4E5B9)
