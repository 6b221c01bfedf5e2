"""The decision flow told again in the plainest way: by node name, without rows, columns or shortcuts.

Slow and obvious. `Recount` keeps what was told and promised; `Bed` puts the same to the real flow and to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from kubesteer.model.cluster import NO_CAPACITY, NodeSummary, PodSummary
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.overrides import Mode, Override
from kubesteer.model.requests import PodRequests
from kubesteer.placement.candidates import Moment, NamedNodes
from kubesteer.placement.cluster_state import ClusterState
from kubesteer.placement.engine import Engine
from kubesteer.placement.flow import DecisionFlow
from kubesteer.placement.observations import ObservedPlacement
from kubesteer.placement.policy import Policy, ScorePolicy

TTL_S = 10.0
NAMESPACES = {"watched": Override(mode=Mode.OBSERVE)}
DIRECTIONS = len(DEFAULT_NETWORK)


NOTHING = PodRequests(network_bps=(0,) * DIRECTIONS, by_annotation=(False,) * DIRECTIONS)


class NoOpinion:
    """Satisfies Opinions: nothing was learned."""

    def on(self, rows: Any, pod: PodSummary, now_s: float) -> None:
        return None

    def for_names(self, names: Any, pod: PodSummary, now_s: float) -> None:
        return None


@dataclass
class Promise:
    """names: where the pod may go; one name is exact, several share. node: that one name, or None."""

    names: list[str]
    pod: PodSummary
    taken_s: float
    is_exact: bool

    def on(self, name: str, direction: int) -> int:
        """Bit/s that it takes on a node."""
        asked_bps = self.pod.requests.network_bps[direction]
        return ceil(asked_bps / len(self.names)) if name in self.names else 0


class Recount:
    """What there is, by name and uid."""

    def __init__(self, shortlist: int | None) -> None:
        self.shortlist = shortlist
        self.nodes: dict[str, NodeSummary] = {}
        self.placed: dict[str, PodSummary] = {}
        self.nominated: dict[str, PodSummary] = {}
        self.promises: dict[str, Promise] = {}
        self.offered: set[str] = set()
        self.observed: dict[str, dict[str, set[str]]] = {}

    def names(self) -> set[str]:
        """Nodes there are, and names that pods are counted on."""
        exact = {p.names[0] for p in self.promises.values() if p.is_exact}
        return {*self.nodes, *(pod.node for pod in self.placed.values()), *exact}

    def observe(self, pod: PodSummary, verb: str, favoured: list[str]) -> None:
        """Only nodes with a row can be compared with."""
        known = {name for name in favoured if name in self.names()}
        self.observed.setdefault(pod.uid, {})[verb] = known

    def compared_with(self, pod: PodSummary) -> list[tuple[str, bool]]:
        """What is told when the watch shows this pod: by verb, whether its node is one of those favoured."""
        if not (pod.node or pod.terminal):
            return []
        favoured = self.observed.pop(pod.uid, {})
        return [(verb, pod.node in names) for verb, names in favoured.items()] if pod.node else []

    def drop(self, gone: set[str]) -> None:
        """Shares on these names go to the nodes left."""
        for uid, promise in list(self.promises.items()):
            if not promise.is_exact and gone & set(promise.names):
                promise.names = [name for name in promise.names if name not in gone]
                if not promise.names:
                    del self.promises[uid]

    def put_node(self, node: NodeSummary) -> None:
        self.nodes[node.name] = node

    def delete_node(self, name: str) -> None:
        if self.nodes.pop(name, None):
            self.drop({name})

    def put_pod(self, pod: PodSummary) -> None:
        self.placed.pop(pod.uid, None)
        if pod.node and not pod.terminal:
            self.placed[pod.uid] = pod
        if pod.node or pod.terminal:
            self.forget(pod.uid)
            self.offered.discard(pod.uid)
            return
        promise = self.promises.get(pod.uid)
        is_news = promise and pod.unscheduled and pod.unscheduled != promise.pod.unscheduled
        if is_news and (pod.version >= promise.pod.version or not pod.version):
            del self.promises[pod.uid]
        self.nominated.pop(pod.uid, None)
        if pod.nominated_node:
            self.nominated[pod.uid] = pod

    def delete_pod(self, uid: str) -> None:
        self.observed.pop(uid, None)
        self.placed.pop(uid, None)
        self.forget(uid)
        self.offered.discard(uid)

    def forget(self, uid: str) -> None:
        self.promises.pop(uid, None)
        self.nominated.pop(uid, None)

    def pods_listed(self, uids: set[str], at_s: float) -> None:
        for uid in [uid for uid, p in self.promises.items() if p.taken_s < at_s and uid not in uids]:
            del self.promises[uid]
        self.nominated = {uid: pod for uid, pod in self.nominated.items() if uid in uids}

    def pods_heard(self, at_s: float) -> None:
        self.promises = {uid: p for uid, p in self.promises.items() if at_s - p.taken_s < TTL_S}

    def promised(self, name: str, direction: int, pod: PodSummary, *, unseen: bool) -> int:
        """Bit/s promised to others on a node; unseen: only what kube-scheduler does not count."""

        def counts(one: PodSummary) -> bool:
            return one.uid != pod.uid and (one.requests.by_annotation[direction] or not unseen)

        total = sum(p.on(name, direction) for p in self.promises.values() if counts(p.pod))
        for one in self.nominated.values():
            is_first = one.priority >= pod.priority and one.uid not in self.promises
            if counts(one) and is_first and one.nominated_node == name:
                total += one.requests.network_bps[direction]
        return total

    def fits(self, pod: PodSummary, name: str) -> bool:
        node = self.nodes.get(name)
        if node is None or node.fault or pod.fault or not (node.ready or pod.tolerates_not_ready):
            return False
        for direction, asked_bps in enumerate(pod.requests.network_bps):
            if not asked_bps:
                continue
            by_annotation, capacity_bps = pod.requests.by_annotation[direction], node.network_bps[direction]
            if capacity_bps == NO_CAPACITY:
                if by_annotation:
                    continue
                return False
            on_it = [p for p in self.placed.values() if p.node == name]
            taken_bps = sum(p.requests.network_bps[direction] for p in on_it)
            taken_bps += self.promised(name, direction, pod, unseen=not by_annotation)
            if taken_bps + asked_bps > capacity_bps:
                return False
        return True

    def take(self, pod: PodSummary, names: list[str], at_s: float) -> None:
        """The pod was sent to one of these."""
        self.promises.pop(pod.uid, None)
        known = list(dict.fromkeys(name for name in names if name in self.names()))
        if known and pod.uid not in self.placed:
            self.promises[pod.uid] = Promise(known, pod, at_s, is_exact=len(known) == 1)


class Bed:
    """The real flow and the recount, told and asked the same."""

    def __init__(self, shortlist: int | None, mode: Mode = Mode.ENFORCE) -> None:
        self.shortlist = shortlist
        self.mode = mode
        self.compared: list[ObservedPlacement] = []
        self.now_s = 100.0
        self.recount = Recount(shortlist)
        self._build()

    def _build(self) -> None:
        self.state = ClusterState(DIRECTIONS, charge_ttl_s=TTL_S, on_observed=self.compared.append)
        policy = Policy(score=ScorePolicy(least_spread=0), mode=self.mode, namespaces=NAMESPACES)
        self.flow = DecisionFlow(Engine(policy), self.state, NoOpinion(), shortlist=self.shortlist)

    def tell(self, event: str, *value: Any) -> None:
        """One event of the watch."""
        before = self.recount.names()
        self.compared.clear()
        getattr(self.state, event)(*value)
        getattr(self.recount, event)(*value)
        want = self.recount.compared_with(value[0]) if event == "put_pod" else []
        assert sorted((one.verb, one.agrees) for one in self.compared) == sorted(want)
        self.recount.drop(before - self.recount.names())

    def restart(self) -> None:
        """The process starts anew: the watch tells of everything, and nothing that was promised is known."""
        self._build()
        known = self.recount
        self.recount = Recount(self.shortlist)
        for node in known.nodes.values():
            self.tell("put_node", node)
        for pod in (*known.placed.values(), *known.nominated.values()):
            self.tell("put_pod", pod)

    def filter(self, pod: PodSummary, names: list[str], *, late: bool) -> None:
        fitting = [name for name in names if self.recount.fits(pod, name)]
        before = self.recount.names()
        decision = self.flow.filter(pod, NamedNodes(names), self._moment(), late=late)
        filtered = decision.filtered
        passed = [names[p] for p in filtered.passed.tolist()]
        judged = filtered if decision.observed is None else decision.observed
        refused = {names[v.position] for v in judged.refused}
        assert refused == set(names) - set(fitting)
        assert judged.fitting == len(fitting)
        short = inf if late or self.shortlist is None or pod.uid in self.recount.offered else self.shortlist
        assert (decision.observed is not None) is self._observes(pod)
        if decision.observed is not None:
            assert (passed, filtered.refused) == (names, [])
            self.recount.observe(pod, "filter", fitting)
            fitting = names
        elif len(fitting) <= short:
            assert passed == fitting
        else:
            assert len(passed) == short
            assert set(passed) <= set(fitting)
        if len(passed) < len(fitting):
            self.recount.offered.add(pod.uid)
        if not passed:
            self.recount.promises.pop(pod.uid, None)
        elif len(passed) == 1 or self.shortlist is not None or any(pod.requests.by_annotation):
            self.recount.take(pod, passed, self.now_s)
        self.recount.drop(before - self.recount.names())

    def prioritize(self, pod: PodSummary, names: list[str], *, late: bool) -> None:
        before = self.recount.names()
        decision = self.flow.prioritize(pod, NamedNodes(names), self._moment(), late=late)
        scores = decision.scores.tolist()
        best = [name for name, score in zip(names, scores, strict=True) if score == max(scores)]
        if late or self._observes(pod):
            assert set(scores) <= {0}
        assert (decision.observed is not None) is (self._observes(pod) and not late)
        if decision.observed is not None:
            would = dict(zip(names, decision.observed.tolist(), strict=True))
            fitting = [name for name in names if self.recount.fits(pod, name)]
            top = max((would[name] for name in fitting), default=0)
            self.recount.observe(pod, "prioritize", [name for name in fitting if would[name] == top])
        is_sent = pod.fault is None or self._observes(pod)
        self.recount.take(pod, best if is_sent else [], self.now_s)
        self.recount.drop(before - self.recount.names())

    def _observes(self, pod: PodSummary) -> bool:
        """The pod's own word, else its namespace's, else the mode of all."""
        own = pod.override.mode if pod.override else None
        return (own or (Mode.OBSERVE if pod.namespace == "watched" else self.mode)) is Mode.OBSERVE

    def check(self) -> None:
        """What the table and the promises say on each node is what the recount says."""
        table, stranger = self.state.table, PodSummary("stranger", "default", "stranger", "x", NOTHING, priority=-99)
        assert set(table.rows) == self.recount.names()
        assert len(self.state.promises) == len(self.recount.promises)
        unused = sorted(set(range(table.capacity)) - set(table.rows.values()))
        assert not table.assumed[:, unused].any(), "a row without a name"
        names = sorted(table.rows)
        rows = table.find(names)
        on = self.state.promises.on(rows, stranger)
        for position, name in enumerate(names):
            for direction in range(DIRECTIONS):
                want = [self.recount.promised(name, direction, stranger, unseen=unseen) for unseen in (False, True)]
                got = [0, 0] if on is None else [int(on[2 + d + direction, position]) for d in (0, DIRECTIONS)]
                assert got == want, name

    def _moment(self) -> Moment:
        return Moment(self.now_s, self.now_s)
