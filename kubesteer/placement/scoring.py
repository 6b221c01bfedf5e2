"""The score of a node: balance and reward, weighted, then stretched to the integers 0..10 that the wire allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.balance import MAX_POINTS, RULES, is_best_effort, load_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.candidates import Candidates, Circumstances
    from kubesteer.placement.policy import ScorePolicy

    Floats = NDArray[np.float64]

MAX_SCORE = 10
"""MaxExtenderPriority of the extender protocol."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Each term of each candidate's score, 0..1, and their weighted mean; None where a term says nothing."""

    balance: Floats | None
    reward: Floats | None
    total: Floats


def score_terms(pod: PodSummary, candidates: Candidates, circumstances: Circumstances, policy: ScorePolicy) -> Terms:
    """The terms; those without an opinion are the same for every node and change nothing."""
    total: Floats = np.zeros(len(candidates))
    balance = None
    if policy.balance_weight > 0 and not is_best_effort(pod.requests):
        load = load_of(pod.requests, candidates, circumstances.charged)
        balance = RULES[policy.balance_rule](load) / MAX_POINTS
        total += policy.balance_weight * balance
    reward = circumstances.reward if policy.reward_weight > 0 else None
    if reward is not None:
        total += policy.reward_weight * reward
    weight = policy.balance_weight + policy.reward_weight
    return Terms(balance, reward, total / weight if weight > 0 else total)


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
    scores: NDArray[np.int64] = np.rint(MAX_SCORE - (best - total) * (MAX_SCORE / spread)).astype(np.int64)
    return scores


def best(
    total: Floats, among: NDArray[np.intp], count: int, tie_break: NDArray[np.uint64], uid_hash: int
) -> NDArray[np.intp]:
    """The `count` best of the positions `among`, in their given order; ties fall evenly, and the same for one pod."""
    if len(among) <= count:
        return among
    points = total[among]
    tied: NDArray[np.intp]
    if count == 1:
        tied = among[points == points.max()]
        winner = int(_lottery(tie_break[tied], uid_hash).argmax())
        return tied[winner : winner + 1]
    worst_kept = np.partition(points, len(points) - count)[len(points) - count]
    above, tied = among[points > worst_kept], among[points == worst_kept]
    drawn = tied[np.argsort(_lottery(tie_break[tied], uid_hash))[: count - len(above)]]
    return np.sort(np.concatenate((above, drawn)))


def _lottery(tie_break: NDArray[np.uint64], uid_hash: int) -> NDArray[np.uint64]:
    """A well-mixed number for each (pod, node): a multiply and shift of both hashes (Fibonacci hashing)."""
    mixed = (tie_break ^ np.uint64(uid_hash)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed * np.uint64(0xBF58476D1CE4E5B9)
