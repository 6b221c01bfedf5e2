"""One verb call, from decoded arguments to an answer in bytes.

Hands pod, nodes and time to the decision flow, and writes what it decided. Nothing is decided here, and no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from extender.wire import answers
from extender.wire.answers import ScoreWriter
from extender.wire.arguments import NamesArguments
from extender.wire.reasons import NO_REASONS, ReasonWriter, write_reasons
from kubesteer.model.cluster import PodSummary, summarise_node, summarise_pod, unusable_pod
from kubesteer.model.errors import InvalidInput, InvalidQuantity
from kubesteer.placement.candidates import Asked, Found, GivenNodes, Moment, NamedNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from extender.wire.arguments import Arguments
    from kubesteer.clients.kubernetes.objects import Pod
    from kubesteer.placement.flow import DecisionFlow, FilterDecision, Question, ScoreDecision


@dataclass(frozen=True, slots=True)
class FilterAnswer:
    """The bytes to send, and the decision behind them.

    offered: where some fell the names as JSON, as a list, and found as theirs were.
    """

    body: bytes
    decision: FilterDecision
    offered: tuple[bytes, list[str], Found | None] | None = None


@dataclass(frozen=True, slots=True)
class PrioritizeAnswer:
    """The bytes to send, and the decision behind them."""

    body: bytes
    decision: ScoreDecision


class Decisions:
    """Answers verbs for one cluster. Keeps the last pod's numbers: prioritize follows filter."""

    def __init__(
        self,
        flow: DecisionFlow,
        *,
        is_synced: Callable[[], bool],
        unix_s: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """unix_s ages rewards and measured traffic; clock, which only moves forward, ages promises."""
        self._flow = flow
        self._is_synced = is_synced
        self._unix_s = unix_s
        self._clock = clock
        self._scores = ScoreWriter()
        self._refusals = ReasonWriter()
        self._last_pod: Pod | None = None

    def filter(self, arguments: Arguments, *, decision_id: str = "", late: bool = False) -> FilterAnswer:
        """Which candidates can carry the pod. late: the deadline has passed, so no time goes into a short list."""
        pod, asked = self._summary(arguments.pod), self._asked(arguments)
        decision = self._flow.filter(pod, asked, self._moment(), decision_id=decision_id, late=late)
        filtered = decision.filtered
        names, passed = arguments.names, filtered.passed
        failed, unresolvable = self._reasons(decision, names)
        offered = None
        if not isinstance(arguments, NamesArguments):
            body = answers.filter_nodes([arguments.raw_nodes[p] for p in passed.tolist()], failed, unresolvable)
        elif len(passed) == len(names):
            body = answers.filter_names(arguments.raw_names, failed, unresolvable)
        else:
            offered = self._offered(arguments, passed)
            body = answers.filter_names(offered[0], failed, unresolvable)
        return FilterAnswer(body, decision, offered)

    def prioritize(self, arguments: Arguments, *, decision_id: str = "", late: bool = False) -> PrioritizeAnswer:
        """A score 0..10 for each candidate. late: the deadline has passed, so every node gets the same."""
        pod, asked = self._summary(arguments.pod), self._asked(arguments)
        decision = self._flow.prioritize(pod, asked, self._moment(), decision_id=decision_id, late=late)
        scores, rows = decision.scores, decision.rows
        if not self._are_known(rows):
            return PrioritizeAnswer(answers.write_scores(arguments.names, scores.tolist()), decision)
        return PrioritizeAnswer(self._scores.write_rows(self._flow.state.table, rows, scores), decision)

    def question(self, pod: Pod, asked: Asked) -> Question:
        """What a decision about these would see now. Changes nothing: no promise is made."""
        return self._flow.question(_summarised(pod, self._flow), asked, self._moment())

    def every_node(self, most: int) -> NamedNodes:
        """All nodes that are known now. Raises InvalidInput where there are more than that."""
        table = self._flow.state.table
        if table.node_count > most:
            raise InvalidInput(f"NodeNames is null and the cluster has {table.node_count} nodes; name at most {most}")
        return NamedNodes([table.names[row] for row in np.flatnonzero(table.known).tolist()])

    def _offered(self, arguments: NamesArguments, passed: NDArray[np.intp]) -> tuple[bytes, list[str], Found | None]:
        """The names that are left. A row may have lost its name with a promise that ended just now."""
        names, positions, found, table = arguments.names, passed, arguments.found, self._flow.state.table
        if found is not None and found.names_version == table.names_version:
            found = Found(found.rows[passed], found.names_version)
            names, positions = table.names, found.rows
        else:
            found = None
        offered = [names[p] for p in positions.tolist()]
        return answers.encode_names(offered), offered, found

    def _are_known(self, rows: NDArray[np.intp]) -> bool:
        """Every candidate is a node, so its row has its name; one of a node that is gone may end with a promise."""
        return bool(self._flow.state.table.known.take(rows).all())

    def _reasons(self, decision: FilterDecision, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Why candidates are refused, by name: those where evicting pods could help, and those where not."""
        if decision.filtered.fitting == len(names):
            return NO_REASONS, NO_REASONS
        verdicts, rows = decision.filtered.verdicts, decision.rows
        resolvable, unresolvable = verdicts.by_kind()
        if not self._are_known(rows):
            return write_reasons(names, verdicts, resolvable), write_reasons(names, verdicts, unresolvable)
        table, write = self._flow.state.table, self._refusals.write
        return write(table, rows, verdicts, resolvable), write(table, rows, verdicts, unresolvable)

    def _moment(self) -> Moment:
        return Moment(self._unix_s(), self._clock(), self._is_synced())

    def _asked(self, arguments: Arguments) -> Asked:
        if isinstance(arguments, NamesArguments):
            return NamedNodes(arguments.names, arguments.found)
        network = self._flow.engine.policy.network
        return GivenNodes([summarise_node(node, network) for node in arguments.nodes])

    def _summary(self, pod: Pod) -> PodSummary:
        """Of a pod that was just asked about: the reader gives the same object for the same bytes."""
        if pod is not self._last_pod:
            self._last_summary = _summarised(pod, self._flow)
            self._last_pod = pod
        return self._last_summary


def _summarised(pod: Pod, flow: DecisionFlow) -> PodSummary:
    """A pod that asks for what can never be is refused by every node, in words; it is no fault of the request."""
    network = flow.engine.policy.network
    try:
        return summarise_pod(pod, network)
    except InvalidQuantity as exc:
        return unusable_pod(pod, network, str(exc))
