"""One verb call, from decoded arguments to an answer in bytes.

Gathers what is known, asks the engine, keeps the charge.
The engine decides; this joins it to the cluster state, the rewards and the wire. No HTTP here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from extender.wire import answers
from extender.wire.answers import ScoreWriter
from kubesteer.model.cluster import PodSummary, summarise_node, summarise_pod
from kubesteer.placement.candidates import Candidates, Circumstances, from_nodes, from_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from extender.rewards import Opinion, RewardView
    from extender.state import ClusterState
    from extender.wire.arguments import Arguments
    from kubesteer.clients.kubernetes.objects import Pod
    from kubesteer.placement.engine import Engine, Explanation, Filtered


@dataclass(frozen=True, slots=True)
class _Scene:
    """What one request is about: the pod, its candidates, and what holds now. rows: in the node table, -1 for none."""

    pod: PodSummary
    candidates: Candidates
    circumstances: Circumstances
    rows: NDArray[np.intp]
    opinion: Opinion | None


@dataclass(frozen=True, slots=True)
class FilterAnswer:
    """The bytes to send, and what metrics and logs want to know. offered: names as JSON and list, where some fell."""

    body: bytes
    pod: PodSummary
    filtered: Filtered
    unsynced: bool
    offered: tuple[bytes, list[str]] | None = None


@dataclass(frozen=True, slots=True)
class ExplainAnswer:
    """Everything about one decision. opinion: what was learned, None where rewards have no say."""

    pod: PodSummary
    explanation: Explanation
    opinion: Opinion | None


@dataclass(frozen=True, slots=True)
class PrioritizeAnswer:
    """The bytes to send, and whom the decision was about."""

    body: bytes
    pod: PodSummary


class Decisions:
    """Answers verbs for one cluster. Keeps what the last request was about: prioritize follows filter."""

    def __init__(
        self,
        engine: Engine,
        state: ClusterState,
        rewards: RewardView,
        *,
        shortlist: int | None,
        is_synced: Callable[[], bool],
        unix_s: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """unix_s ages rewards and measured traffic; clock, which only moves forward, ages charges and offers."""
        self.engine = engine
        self.state = state
        self.rewards = rewards
        self._shortlist = shortlist
        self._is_synced = is_synced
        self._unix_s = unix_s
        self._clock = clock
        self._scores = ScoreWriter()
        self._last_pod: Pod | None = None
        self._last_names: list[str] | None = None
        self._last_version = -1

    def filter(self, arguments: Arguments, *, late: bool = False) -> FilterAnswer:
        """Which candidates can carry the pod. late: the deadline has passed, so no time goes into a short list."""
        shortlist = None if late else self._shortlist_for(self._summary(arguments.pod).uid)
        scene = self._scene(arguments, ranked=shortlist is not None)
        filtered = self.engine.filter(scene.pod, scene.candidates, scene.circumstances, shortlist=shortlist)
        passed = filtered.passed
        if len(passed) == 1 or len(passed) < filtered.fitting:
            # With one node left the scheduler does not ask for scores, so this is the last that is heard of the pod.
            self._charge(scene, passed)
        if len(passed) < filtered.fitting:
            self.state.offers.make(scene.pod.uid, self._clock())
        names = arguments.names
        failed = {names[v.position]: v.reason for v in filtered.refused if v.resolvable}
        unresolvable = {names[v.position]: v.reason for v in filtered.refused if not v.resolvable}
        offered = None
        if arguments.raw_names is None:
            body = answers.filter_nodes([arguments.raw_nodes[p] for p in passed.tolist()], failed, unresolvable)
        elif len(passed) == len(names):
            body = answers.filter_names(arguments.raw_names, failed, unresolvable)
        else:
            offered_names = [names[p] for p in passed.tolist()]
            offered = answers.encode_names(offered_names), offered_names
            body = answers.filter_names(offered[0], failed, unresolvable)
        return FilterAnswer(body, scene.pod, filtered, not scene.circumstances.synced, offered)

    def prioritize(self, arguments: Arguments, *, late: bool = False) -> PrioritizeAnswer:
        """A score 0..10 for each candidate. late: the deadline has passed, so every node gets the same."""
        if late:
            pod = self._summary(arguments.pod)
            return PrioritizeAnswer(answers.write_scores(arguments.names, [0] * len(arguments.names)), pod)
        scene = self._scene(arguments)
        scores = self.engine.prioritize(scene.pod, scene.candidates, scene.circumstances)
        if len(scores):
            self._charge(scene, np.flatnonzero(scores == scores.max()))
        if scene.rows.size and int(scene.rows.min()) < 0:
            return PrioritizeAnswer(answers.write_scores(arguments.names, scores.tolist()), scene.pod)
        return PrioritizeAnswer(self._scores.write_rows(self.state.table, scene.rows, scores), scene.pod)

    def explain(self, arguments: Arguments) -> ExplainAnswer:
        """The decision with each of its terms. Changes nothing: no charge is taken."""
        scene = self._scene(arguments)
        explanation = self.engine.explain(scene.pod, scene.candidates, scene.circumstances, shortlist=self._shortlist)
        return ExplainAnswer(scene.pod, explanation, scene.opinion)

    def _scene(self, arguments: Arguments, *, ranked: bool = True) -> _Scene:
        """ranked: there will be scores, which need all that is known; a mere filter mostly needs less."""
        network, table, now_s = self.engine.policy.network, self.state.table, self._unix_s()
        pod = self._summary(arguments.pod)
        self.state.charges.expire(self._clock())
        rows = self._rows(arguments.names)
        if arguments.raw_names is None:
            candidates = from_nodes(table, [summarise_node(node, network) for node in arguments.nodes])
        else:
            candidates = from_table(table, rows)
        opinion = None
        if ranked or self.engine.policy.filter.quarantine_below > 0:
            opinion = self._opinion(arguments, rows, pod, now_s)
        charged = None
        if ranked or any(pod.requests.by_annotation):
            charged = self.state.charges.on(rows, without=pod.uid)
        circumstances = Circumstances(
            now_s=now_s,
            synced=self._is_synced(),
            charged=charged,
            reward=opinion.reward if opinion else None,
            evidence=opinion.beliefs.evidence if opinion else None,
            mean=opinion.beliefs.mean if opinion else None,
        )
        return _Scene(pod, candidates, circumstances, rows, opinion)

    def _opinion(self, arguments: Arguments, rows: NDArray[np.intp], pod: PodSummary, now_s: float) -> Opinion | None:
        if arguments.raw_names is None:
            return self.rewards.for_names(arguments.names, pod, now_s)
        return self.rewards.on(rows, pod, now_s)

    def _summary(self, pod: Pod) -> PodSummary:
        """Of a pod that was just asked about: the reader gives the same object for the same bytes."""
        if pod is not self._last_pod:
            self._last_summary = summarise_pod(pod, self.engine.policy.network)
            self._last_pod = pod
        return self._last_summary

    def _rows(self, names: list[str]) -> NDArray[np.intp]:
        """Rows of the names; of a list that was just asked about, while no row got another name."""
        version = self.state.table.names_version
        if names is not self._last_names or version != self._last_version:
            self._last_rows = self.state.table.find(names)
            self._last_names, self._last_version = names, version
        return self._last_rows

    def _charge(self, scene: _Scene, positions: NDArray[np.intp]) -> None:
        rows = scene.rows[positions]
        if self.state.table.row_of(scene.pod.uid) is None:
            self.state.charges.take(scene.pod.uid, rows[rows >= 0], scene.pod.requests, self._clock())

    def _shortlist_for(self, uid: str) -> int | None:
        return None if self.state.offers.came_back(uid, self._clock()) else self._shortlist
