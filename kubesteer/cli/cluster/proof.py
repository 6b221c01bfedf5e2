"""Stages the proof: one pod, watched until it has a node, asked about at the extenders, and removed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.reading import listed
from kubesteer.clients.kubectl.asking import Request
from kubesteer.deploying.checks import Facts, takes_pods
from kubesteer.deploying.ops_port import (
    READER_ACCOUNT,
    SERVER_NAME,
    SERVER_SECRET,
    OpsPort,
    authority_of,
    document_of,
    filter_calls,
)
from kubesteer.deploying.proof import (
    POD,
    PROOF_NAMESPACE,
    Opinion,
    Proof,
    bound_to,
    opinion,
    pod,
    published,
    question,
    stage,
    why_pending,
)
from kubesteer.deploying.rendering import NAME, NAMESPACE, images_of
from kubesteer.deploying.workloads import is_ready, pods_of
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable

EXTENDER = "kubesteer-extender"
_TOKEN_S = 600
_LOOK_EVERY_S = 0.5
_ATTEMPTS = 3
_PAUSE_S = 2.0
PUBLISHED_WITHIN_S = 15.0
"""A new agent publishes within seconds, where it knows the link's speed at all."""


class OpsPorts:
    """The ops ports of all extenders that are ready."""

    def __init__(self, cluster: Cluster, access: OpsPort) -> None:
        self._cluster = cluster
        self._access = access
        self._authority: str | None = None
        self._token: str | None = None

    def sign_in(self) -> None:
        """Learn whom to believe, and get a token where the ports ask who reads them. Raises ClusterUnavailable."""
        if self._access.tls:
            self._authority = authority_of(self._cluster.get("secret", SERVER_SECRET, NAMESPACE))
        if self._access.asks:
            self._token = self._cluster.token(READER_ACCOUNT, NAMESPACE, lasts_s=_TOKEN_S)

    def pods(self) -> list[str]:
        """Those that are ready now."""
        return [each["metadata"]["name"] for each in self._running() if is_ready(each)]

    def filter_calls(self) -> dict[str, float]:
        """How often each was asked for nodes; one on its way out goes on answering for a while, and counts."""
        found: dict[str, float] = {}
        for each in self._running():
            name = each["metadata"]["name"]
            try:
                found[name] = filter_calls(self.ask(name, "/metrics"))
            except ClusterUnavailable:
                if is_ready(each):
                    raise
        return found

    def _running(self) -> list[Thing]:
        return pods_of(listed(self._cluster, ["pods"], selector=f"{NAME}={EXTENDER}", namespace=NAMESPACE), EXTENDER)

    def ask(self, pod_name: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Raises ClusterUnavailable for anything but 200, and for readiness 503."""
        if self._access.tls and self._authority is None:
            raise ClusterUnavailable(f"{pod_name}{path}: no authority to believe: ca.crt of Secret {SERVER_SECRET}")
        request = Request(
            path,
            body=body,
            token=self._token,
            authority_pem=self._authority,
            server_name=SERVER_NAME,
        )
        answer = self._cluster.ask(pod_name, NAMESPACE, self._access.port, request)
        if answer.status != 200 and not (path == "/readyz" and answer.status == 503):
            raise ClusterUnavailable(f"{pod_name}{path}: status {answer.status}: {answer.text[:200]}")
        return answer.text


def prove(
    cluster: Cluster,
    found: Facts,
    scheduler: str,
    *,
    timeout_s: float,
    say: Callable[[str], None],
    published_within_s: float = PUBLISHED_WITHIN_S,
) -> Proof:
    """The proof; nothing of it is left behind. Raises ClusterUnavailable.

    published_within_s: how long to wait for a node's network capacity.
    """
    slo, nodes = _published(cluster, found.slo_names, time.monotonic() + published_within_s)
    ports = OpsPorts(cluster, found.ops)
    made = pod(images_of(found.things)[EXTENDER], slo, scheduler)
    try:
        cluster.apply(stage())
        ports.sign_in()
        say(f"placing a pod {f'that asks for 1M of {slo}' if slo else 'without an SLO'} ...")
        for _ in range(_ATTEMPTS):
            cluster.delete([made], timeout_s=timeout_s, at_once=True)
            seen = _attempt(cluster, ports, made, slo or "", nodes, timeout_s)
            if seen.asked or seen.node is None:
                break
            say("placed without kubesteer; once more, as a roll-out takes a moment to be known on every node ...")
            time.sleep(_PAUSE_S)
        return seen
    finally:
        cluster.delete([made], timeout_s=timeout_s, at_once=True)
        cluster.delete(list(reversed(stage())), timeout_s=timeout_s)


def _attempt(
    cluster: Cluster, ports: OpsPorts, made: Thing, slo: str, nodes: Sequence[Thing], timeout_s: float
) -> Proof:
    """One pod, watched until it has a node."""
    before = ports.filter_calls()
    began_s = time.monotonic()
    [created] = cluster.create([made])
    placed = _placed(cluster, created, began_s + timeout_s)
    took_s = time.monotonic() - began_s
    node = bound_to(placed)
    asked = sum(max(0.0, calls - before.get(name, 0.0)) for name, calls in ports.filter_calls().items())
    opinions = _opinions(ports, created, node, nodes) if node else ()
    return Proof(node, slo, round(asked), took_s, opinions, "" if node else why_pending(placed))


def _published(cluster: Cluster, names: Sequence[str], until_s: float) -> tuple[str | None, list[Thing]]:
    """The resource to ask for, once a node has it, and the nodes."""
    while True:
        nodes = listed(cluster, ["nodes"])
        slo = published(nodes, names)
        if slo or time.monotonic() > until_s:
            return slo, nodes
        time.sleep(1)


def _placed(cluster: Cluster, made: Thing, until_s: float) -> Thing:
    """The pod once it has a node, or as it is when time is up."""
    found = made
    while bound_to(found) is None and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)
        found = cluster.get("pod", POD, PROOF_NAMESPACE) or found
    return found


def _opinions(ports: OpsPorts, made: Thing, node: str, nodes: Sequence[Thing]) -> tuple[Opinion, ...]:
    """Of every extender: the one that was asked decided, the other would have taken over."""
    names = sorted((each["metadata"]["name"] for each in nodes if takes_pods(each)), key=lambda name: name != node)
    asked = question(made, names)
    told = ((each, document_of(ports.ask(each, "/explain", asked), f"{each}/explain")) for each in ports.pods())
    found = (opinion(each, node, answer) for each, answer in told)
    return tuple(each for each in found if each is not None)
