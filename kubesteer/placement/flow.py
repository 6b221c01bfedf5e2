"""The decision flow: the one door to a decision. The extender, the simulator and a replay call it and nothing else.

It gathers what is known (node table, promises, opinions), lets the engine decide, and keeps what the decision promises.
Time and opinions come in, a Decision comes out. No I/O, no clock, no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.overrides import Mode
from kubesteer.placement.candidates import (
    Asked,
    Candidates,
    Circumstances,
    Moment,
    NamedNodes,
    Opinion,
    Opinions,
    from_nodes,
    from_table,
)
from kubesteer.placement.engine import Filtered
from kubesteer.placement.filtering import all_fit, none_refused, suspect_units
from kubesteer.placement.promises import unseen_bps
from kubesteer.placement.table import NETWORK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.cluster_state import ClusterState
    from kubesteer.placement.engine import Engine


@dataclass(frozen=True, slots=True)
class Decision:
    """What one request was about, and what its answer promises.

    id: what logs and answers name it by. asked: of which nodes, in order. rows: theirs in the node table, -1 for none.
    promised: positions of the candidates that the pod is promised to now; empty where it stays as it was.
    """

    id: str
    pod: PodSummary
    asked: Asked
    rows: NDArray[np.intp]
    moment: Moment
    promised: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class FilterDecision(Decision):
    """Which of the candidates the pod may go to. observed: the answer in whose place all pass, where it is observed."""

    filtered: Filtered
    observed: Filtered | None = None


@dataclass(frozen=True, slots=True)
class ScoreDecision(Decision):
    """How good the candidates are. scores: int64 (n,), 0..10.

    observed: the scores that would have been answered, where all get 0 in their place.
    """

    scores: NDArray[np.int64]
    observed: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """All that a decision would see, gathered and detached: Engine.explain takes it wherever and whenever it runs."""

    pod: PodSummary
    names: Sequence[str]
    candidates: Candidates
    circumstances: Circumstances
    shortlist: int | None
    opinion: Opinion | None


_NOWHERE = np.zeros(0, np.intp)


def _everything(count: int, suspect: str | None) -> Filtered:
    """Every one of so many candidates passes."""
    return Filtered(np.arange(count), none_refused(count), count, suspect)


class DecisionFlow:
    """Decides for one cluster. Keeps the rows of the last names: prioritize follows filter with the same list."""

    def __init__(self, engine: Engine, state: ClusterState, opinions: Opinions, *, shortlist: int | None) -> None:
        """shortlist: filter offers at most so many nodes; None offers all that fit."""
        self.engine = engine
        self.state = state
        self._opinions = opinions
        self._shortlist = shortlist
        self._last_names: Sequence[str] | None = None
        self._last_version = -1
        self._last_rows = _NOWHERE

    def filter(
        self, pod: PodSummary, asked: Asked, moment: Moment, *, decision_id: str = "", late: bool = False
    ) -> FilterDecision:
        """Which candidates can carry the pod. late: there is no time left for a short list."""
        observes = self._observes(pod)
        shortlist = None if late or observes else self._shortlist_for(pod)
        rows = self._rows(asked)
        is_ranked = shortlist is not None and len(rows) > shortlist
        charged = self._charged(pod, rows, always=is_ranked)
        if not is_ranked and isinstance(asked, NamedNodes) and moment.synced and self._all_fit(pod, rows, charged):
            suspect = suspect_units(pod, self.state.table.capacity_ranges(), self.engine.policy)
            filtered = _everything(len(rows), suspect)
        else:
            candidates = self._candidates(asked, rows)
            opinion = None
            if is_ranked or self.engine.policy.filter.quarantine_below > 0:
                opinion = self._opinion(pod, asked, rows, moment)
            circumstances = self._circumstances(charged, opinion, moment)
            filtered = self.engine.filter(pod, candidates, circumstances, shortlist=shortlist)
        observed = None
        if observes:
            self.state.observations.keep(pod.uid, "filter", rows[filtered.passed])
            observed, filtered = filtered, _everything(len(rows), filtered.suspect)
        promised = self._offer(pod, rows, filtered, moment)
        return FilterDecision(decision_id, pod, asked, rows, moment, promised, filtered, observed)

    def prioritize(
        self, pod: PodSummary, asked: Asked, moment: Moment, *, decision_id: str = "", late: bool = False
    ) -> ScoreDecision:
        """A score 0..10 for each candidate. late: there is no time left, so every node gets the same, 0."""
        rows = self._rows(asked)
        observed = None
        if late:
            scores = np.zeros(len(rows), np.int64)
        elif self._observes(pod):
            scores, observed = np.zeros(len(rows), np.int64), self._observe_scores(pod, asked, rows, moment)
        else:
            charged = self._charged(pod, rows, always=True)
            circumstances = self._circumstances(charged, self._opinion(pod, asked, rows, moment), moment)
            scores = self.engine.prioritize(pod, self._candidates(asked, rows, judged=False), circumstances)
        is_sent = pod.fault is None or self._observes(pod)
        promised = np.flatnonzero(scores == scores.max(initial=0)) if is_sent else _NOWHERE
        self._promise(pod, rows, promised, moment)
        return ScoreDecision(decision_id, pod, asked, rows, moment, promised, scores, observed)

    def question(self, pod: PodSummary, asked: Asked, moment: Moment) -> Question:
        """What filter and prioritize would see now. Changes nothing."""
        rows = self._rows(asked)
        opinion = self._opinion(pod, asked, rows, moment)
        circumstances = self._circumstances(self._charged(pod, rows, always=True), opinion, moment)
        shortlist = self._shortlist_for(pod)
        return Question(pod, asked.names, self._candidates(asked, rows), circumstances, shortlist, opinion)

    def _observe_scores(
        self, pod: PodSummary, asked: Asked, rows: NDArray[np.intp], moment: Moment
    ) -> NDArray[np.int64]:
        """The scores of those that filter would have let pass; the scheduler asks of all, as all did."""
        seen = self.question(pod, asked, moment)
        explained = self.engine.explain(pod, seen.candidates, seen.circumstances)
        passed, scores = explained.filtered.passed, explained.scores
        best = passed[scores[passed] == scores[passed].max(initial=0)]
        self.state.observations.keep(pod.uid, "prioritize", rows[best])
        return scores

    def _offer(self, pod: PodSummary, rows: NDArray[np.intp], filtered: Filtered, moment: Moment) -> NDArray[np.intp]:
        """Keeps what filter's answer promises: positions, none where prioritize will say."""
        passed = filtered.passed
        if not len(passed):
            self.state.promises.end(pod.uid)
            return _NOWHERE
        if len(passed) < filtered.fitting:
            self.state.offers.make(pod.uid)
        if len(passed) > 1 and self._shortlist is None and not any(pod.requests.by_annotation):
            return _NOWHERE
        # Of one node the scheduler asks no scores, and where short lists are made it may have no prioritize verb at
        # all. kube-scheduler does not count annotations, so other pods must not pass in between.
        self._promise(pod, rows, passed, moment)
        return passed

    def _observes(self, pod: PodSummary) -> bool:
        return self.engine.policy.of(pod).mode is Mode.OBSERVE

    def _promise(self, pod: PodSummary, rows: NDArray[np.intp], positions: NDArray[np.intp], moment: Moment) -> None:
        self.state.promises.take(pod, rows[positions], moment.clock_s)

    def _shortlist_for(self, pod: PodSummary) -> int | None:
        return None if self.state.offers.was_made(pod.uid) else self._shortlist

    def _rows(self, asked: Asked) -> NDArray[np.intp]:
        """Rows of the names; of a list that was just asked about, while no row got another name."""
        names, version = asked.names, self.state.table.names_version
        if isinstance(asked, NamedNodes) and asked.found is not None and asked.found.names_version == version:
            return asked.found.rows
        if names is not self._last_names or version != self._last_version:
            self._last_rows = self.state.table.find(names)
            self._last_names, self._last_version = names, version
        return self._last_rows

    def _charged(self, pod: PodSummary, rows: NDArray[np.intp], *, always: bool) -> NDArray[np.int64] | None:
        """What is promised to others; if not always, only where verdicts depend on it."""
        requests, promises = pod.requests, self.state.promises
        if always or any(requests.by_annotation) or (promises.any_unseen and any(requests.network_bps)):
            return promises.on(rows, pod)
        return None

    def _all_fit(self, pod: PodSummary, rows: NDArray[np.intp], charged: NDArray[np.int64] | None) -> bool:
        table = self.state.table
        unseen = None if charged is None else unseen_bps(charged, table.directions)
        return all_fit(pod, table, rows, charged, unseen, self.engine.policy)

    def _candidates(self, asked: Asked, rows: NDArray[np.intp], *, judged: bool = True) -> Candidates:
        if isinstance(asked, NamedNodes):
            return from_table(self.state.table, rows, judged=judged)
        return from_nodes(self.state.table, asked.nodes)

    def _opinion(self, pod: PodSummary, asked: Asked, rows: NDArray[np.intp], moment: Moment) -> Opinion | None:
        if isinstance(asked, NamedNodes):
            return self._opinions.on(rows, pod, moment.unix_s)
        return self._opinions.for_names(asked.names, pod, moment.unix_s)

    def _circumstances(
        self, charged: NDArray[np.int64] | None, opinion: Opinion | None, moment: Moment
    ) -> Circumstances:
        directions = self.state.table.directions
        return Circumstances(
            now_s=moment.unix_s,
            synced=moment.synced,
            charged=None if charged is None else charged[: NETWORK + directions],
            unseen_bps=None if charged is None else unseen_bps(charged, directions),
            reward=opinion.reward if opinion else None,
            evidence=opinion.evidence if opinion else None,
            mean=opinion.mean if opinion else None,
        )
