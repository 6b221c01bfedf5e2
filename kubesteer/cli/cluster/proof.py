"""Stages the proof: one pod, watched until it has a node, asked about at the extenders, and removed again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubesteer.cli.cluster.reading import listed
from kubesteer.cli.cluster.reporter import Reporter
from kubesteer.clients.kubectl.asking import Request
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying import proof
from kubesteer.deploying.checks import takes_pods
from kubesteer.deploying.proof import Proof, authority_of, document_of, sample_sum
from kubesteer.deploying.rendering import NAME, NAMESPACE, extender_access, images_of
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
    """The ops ports of all extenders that are ready. things: objects with the extender's settings."""

    def __init__(self, cluster: Kubectl, things: Iterable[Thing]) -> None:
        self._cluster = cluster
        self._access = extender_access(things)
        self._authority: str | None = None
        self._token: str | None = None

    def sign_in(self) -> None:
        """Learn whom to believe, and get a token where the ports ask who reads them. Raises ClusterUnavailable."""
        if self._access.tls:
            self._authority = authority_of(self._cluster.get("secret", proof.SERVER_SECRET, NAMESPACE))
        if self._access.asks:
            self._token = self._cluster.token(proof.READER_ACCOUNT, NAMESPACE, lasts_s=_TOKEN_S)

    def running(self) -> list[Thing]:
        """The extenders' pods."""
        return pods_of(listed(self._cluster, ["pods"], selector=f"{NAME}={EXTENDER}", namespace=NAMESPACE), EXTENDER)

    def filter_calls(self) -> dict[str, float]:
        """How often each was asked for nodes; one on its way out goes on answering for a while, and counts."""
        found: dict[str, float] = {}
        for each in self.running():
            name = each["metadata"]["name"]
            try:
                found[name] = sample_sum(self.ask(name, "/metrics"), "kubesteer_request_seconds_count", verb="filter")
            except ClusterUnavailable:
                if is_ready(each):
                    raise
        return found

    def ask(self, pod: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Raises ClusterUnavailable for anything but 200, and for readiness 503."""
        if self._access.tls and self._authority is None:
            raise ClusterUnavailable(f"{pod}{path}: no authority to believe: ca.crt of Secret {proof.SERVER_SECRET}")
        request = Request(path, body, self._token, self._authority, proof.SERVER_NAME)
        answer = self._cluster.ask(pod, NAMESPACE, self._access.port, request)
        if answer.status != 200 and not (path == "/readyz" and answer.status == 503):
            raise ClusterUnavailable(f"{pod}{path}: status {answer.status}: {answer.text[:200]}")
        return answer.text


def prove(
    cluster: Kubectl,
    things: Sequence[Thing],
    scheduler: str,
    reporter: Reporter,
    *,
    timeout_s: float,
    published_within_s: float,
) -> Proof:
    """The proof; nothing of it is left behind. Raises ClusterUnavailable.

    things: what is deployed. published_within_s: how long to wait for a node's network capacity.
    """
    ports = OpsPorts(cluster, things)
    slo, nodes = _published(cluster, extender_access(things).slo_names, time.monotonic() + published_within_s)
    made = proof.pod(images_of(things)[EXTENDER], slo, scheduler)
    try:
        ports.sign_in()
        reporter.say(f"placing a pod {f'that asks for 1M of {slo}' if slo else 'without an SLO'} ...")
        for _ in range(_ATTEMPTS):
            cluster.delete([made], timeout_s=timeout_s, at_once=True)
            seen = _attempt(cluster, ports, made, slo or "", nodes, timeout_s)
            if seen.asked or seen.node is None:
                break
            reporter.say("placed without kubesteer; once more: every node learns of a roll-out after a moment ...")
            time.sleep(_PAUSE_S)
        return seen
    finally:
        cluster.delete([made], timeout_s=timeout_s, at_once=True)


def _attempt(
    cluster: Kubectl, ports: OpsPorts, made: Thing, slo: str, nodes: Sequence[Thing], timeout_s: float
) -> Proof:
    """One pod, watched until it has a node, or time is up."""
    before = ports.filter_calls()
    began_s = time.monotonic()
    [created] = cluster.create([made])
    placed = created
    while not (node := placed["spec"].get("nodeName")) and time.monotonic() < began_s + timeout_s:
        time.sleep(_LOOK_EVERY_S)
        placed = cluster.get("pod", proof.POD, NAMESPACE) or placed
    took_s = time.monotonic() - began_s
    asked = sum(max(0.0, calls - before.get(name, 0.0)) for name, calls in ports.filter_calls().items())
    opinions = _opinions(ports, created, node, nodes) if node else ()
    return Proof(node, slo, round(asked), took_s, opinions, "" if node else proof.why_pending(placed))


def _published(cluster: Kubectl, names: Sequence[str], until_s: float) -> tuple[str | None, list[Thing]]:
    """The resource to ask for, once a node has it, and the nodes."""
    while True:
        nodes = listed(cluster, ["nodes"])
        slo = proof.published(nodes, names)
        if slo or time.monotonic() > until_s:
            return slo, nodes
        time.sleep(1)


def _opinions(ports: OpsPorts, made: Thing, node: str, nodes: Sequence[Thing]) -> tuple[Mapping[str, Any], ...]:
    """Of every extender: the one that was asked decided, the other would have taken over."""
    names = sorted((each["metadata"]["name"] for each in nodes if takes_pods(each)), key=lambda name: name != node)
    asked = proof.question(made, names)
    ready = [each["metadata"]["name"] for each in ports.running() if is_ready(each)]
    told = ((each, document_of(ports.ask(each, "/explain", asked), f"{each}/explain")) for each in ready)
    found = (proof.opinion(each, node, answer) for each, answer in told)
    return tuple(each for each in found if each is not None)
