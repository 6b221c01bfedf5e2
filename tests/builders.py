"""Builders of what the tests are about: pods and nodes as the API has them, and what kubesteer makes of them.

`pod` and `node` give plain JSON-like objects, the others go through the real decoding and the real rules. Nothing is
asserted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kubesteer.clients.kubernetes import objects
from kubesteer.model.cluster import NodeSummary, PodSummary, summarise_node, summarise_pod
from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource
from kubesteer.placement.candidates import Candidates, from_table
from kubesteer.placement.table import NodeTable

EGRESS_BPS, INGRESS_BPS, DEPCON2_SLO = "kubesteer.io/egress-bps", "kubesteer.io/ingress-bps", "example.com/SLO"
EGRESS_ANNOTATION, INGRESS_ANNOTATION = "kubernetes.io/egress-bandwidth", "kubernetes.io/ingress-bandwidth"
Json = dict[str, Any]


def quantities(
    cpu: object = None, memory: object = None, egress: object = None, ingress: object = None, **more: object
) -> Json:
    """Resource names to quantities; what is None is left out."""
    named = {"cpu": cpu, "memory": memory, EGRESS_BPS: egress, INGRESS_BPS: ingress, **more}
    return {name: value for name, value in named.items() if value is not None}


def container(
    name: str = "main", *, limits: Mapping[str, object] | None = None, restart: str | None = None, **asks: object
) -> Json:
    """A container that requests what `asks` says (see quantities); restart="Always" makes it a sidecar."""
    resources = _without_empty(requests=quantities(**asks), limits=dict(limits or {}))
    return {"name": name, "image": "x", **_without_empty(resources=resources, restartPolicy=restart)}


def pod(
    name: str = "p",
    *,
    containers: Sequence[Json] | None = None,
    init: Sequence[Json] = (),
    overhead: Mapping[str, object] | None = None,
    pod_level: Mapping[str, object] | None = None,
    uid: str | None = None,
    namespace: str = "default",
    node: str | None = None,
    priority: int | None = None,
    version: str | None = None,
    host_network: bool = False,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owners: Sequence[Json] = (),
    tolerations: Sequence[Json] = (),
    status: Mapping[str, object] | None = None,
    **asks: object,
) -> Json:
    """A pod as the API has it: one container that requests `asks`, or the given containers."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}" if uid is None else uid,
            **_without_empty(
                resourceVersion=version, labels=labels, annotations=annotations, ownerReferences=list(owners)
            ),
        },
        "spec": {
            "containers": [container(**asks)] if containers is None else list(containers),  # type: ignore[arg-type]
            **_without_empty(
                initContainers=list(init),
                overhead=overhead,
                resources={"requests": dict(pod_level)} if pod_level else None,
                nodeName=node,
                priority=priority,
                hostNetwork=host_network,
                tolerations=list(tolerations),
            ),
        },
        "status": dict(status or {"phase": "Running" if node else "Pending"}),
    }


def node(
    name: str = "n",
    *,
    cpu: object = "8",
    memory: object = "32Gi",
    egress: object = "10G",
    ingress: object = None,
    ready: str | None = "True",
    annotations: Mapping[str, str] | None = None,
    **more: object,
) -> Json:
    """A node as the API has it: what it can give, and its Ready condition ("True", "False", "Unknown" or None)."""
    allocatable = quantities(cpu, memory, egress, ingress, pods="110", **more)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, **_without_empty(annotations=annotations)},
        "status": {
            "capacity": allocatable,
            "allocatable": allocatable,
            **_without_empty(conditions=[{"type": "Ready", "status": ready}] if ready else None),
        },
    }


def pod_object(api_object: Json) -> objects.Pod:
    """The pod as the clients decode it."""
    return msgspec.json.decode(msgspec.json.encode(api_object), type=objects.Pod)


def node_object(api_object: Json) -> objects.Node:
    """The node as the clients decode it."""
    return msgspec.json.decode(msgspec.json.encode(api_object), type=objects.Node)


def pod_summary(name: str = "p", *, network: Sequence[NetworkResource] = DEFAULT_NETWORK, **parts: Any) -> PodSummary:
    """The numbers of pod(name, **parts)."""
    return summarise_pod(pod_object(pod(name, **parts)), network)


def node_summary(name: str = "n", *, network: Sequence[NetworkResource] = DEFAULT_NETWORK, **parts: Any) -> NodeSummary:
    """The numbers of node(name, **parts)."""
    return summarise_node(node_object(node(name, **parts)), network)


def table_of(nodes: Iterable[NodeSummary] = (), pods: Iterable[PodSummary] = (), *, directions: int = 2) -> NodeTable:
    """A node table that was told of these."""
    table = NodeTable(directions)
    for one in nodes:
        table.put_node(one)
    for placed in pods:
        table.put_pod(placed)
    return table


def candidates_of(
    nodes: Sequence[NodeSummary], pods: Iterable[PodSummary] = (), *, names: Sequence[str] | None = None
) -> Candidates:
    """These nodes with these pods on them, as the candidates of one request; `names` asks for others."""
    table = table_of(nodes, pods)
    return from_table(table, table.find([one.name for one in nodes] if names is None else names))


def _without_empty(**fields: object) -> Json:
    return {name: value for name, value in fields.items() if value}
