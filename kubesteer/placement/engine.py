"""The rules of one decision: filter, prioritize, explain, over candidates as arrays.

Arrays and values in, values out; no I/O, no clock, no state. flow.py gathers what goes in and keeps what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.balance import fullness, load_of
from kubesteer.placement.filtering import judge, suspect_units
from kubesteer.placement.scoring import Terms, best, score_terms, stretch
from kubesteer.placement.table import stable_hash
from kubesteer.placement.verdicts import Verdict, Verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.candidates import Candidates, Circumstances
    from kubesteer.placement.policy import Policy


@dataclass(frozen=True, slots=True)
class Filtered:
    """passed: positions of the candidates to offer, in request order. verdicts: why each other does not fit.

    fitting: how many fit, of which a short list may offer fewer. suspect: an SLO that looks like a unit mistake.
    """

    passed: NDArray[np.intp]
    verdicts: Verdicts
    fitting: int
    suspect: str | None = None

    @property
    def refused(self) -> list[Verdict]:
        """A verdict in words for each candidate that does not fit."""
        return self.verdicts.refused()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one decision: verdicts, the terms, and the score 0..10 of each candidate."""

    filtered: Filtered
    terms: Terms
    scores: NDArray[np.int64]


class Engine:
    """Decides by one policy. Holds nothing else, so one engine serves any number of clusters."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def filter(
        self,
        pod: PodSummary,
        candidates: Candidates,
        circumstances: Circumstances,
        *,
        shortlist: int | None = None,
    ) -> Filtered:
        """The candidates that can carry the pod; with a short list, the best of them by the full score.

        Of equals the emptiest are best. No short list is made while the node table is incomplete: what is not known
        cannot be ranked.
        """
        verdicts = judge(pod, candidates, circumstances, self.policy)
        passed = np.flatnonzero(verdicts.cause == 0)
        fitting = len(passed)
        if shortlist is not None and circumstances.synced and fitting > shortlist:
            load = load_of(pod.requests, candidates, circumstances.charged)
            total = score_terms(load, circumstances.reward, self.policy.of(pod).score).total
            passed = best(total, fullness(load), passed, shortlist, candidates.tie_break, stable_hash(pod.uid))
        return Filtered(passed, verdicts, fitting, suspect_units(pod, candidates.capacity_range_bps, self.policy))

    def prioritize(self, pod: PodSummary, candidates: Candidates, circumstances: Circumstances) -> NDArray[np.int64]:
        """A score 0..10 for every candidate, in request order."""
        score = self.policy.of(pod).score
        load = load_of(pod.requests, candidates, circumstances.charged)
        total = score_terms(load, circumstances.reward, score).total
        return stretch(total, candidates.known, score.least_spread)

    def explain(
        self,
        pod: PodSummary,
        candidates: Candidates,
        circumstances: Circumstances,
        *,
        shortlist: int | None = None,
    ) -> Explanation:
        """The same decision with each of its terms; scored are those that filter offers, as the scheduler would ask."""
        score = self.policy.of(pod).score
        filtered = self.filter(pod, candidates, circumstances, shortlist=shortlist)
        offered = np.zeros(len(candidates), np.bool_)
        offered[filtered.passed] = True
        load = load_of(pod.requests, candidates, circumstances.charged)
        terms = score_terms(load, circumstances.reward, score)
        scores = stretch(terms.total, offered & candidates.known, score.least_spread)
        return Explanation(filtered, terms, scores)
