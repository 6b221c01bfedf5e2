"""Builders of the objects that a deployment is judged by, and a small kubesteer in a cluster in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kubesteer.clients.kubectl.asking import Answer, Request
from kubesteer.model.api_objects import Ref, Thing, ref

from .memory import MemoryCluster

NAMESPACE = "kubesteer"
OWN = {"app.kubernetes.io/part-of": "kubesteer"}
READY = [{"type": "Ready", "status": "True"}]
EGRESS = "kubesteer.io/egress-bps"
BEGINS, ENDS = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
APPLIED = [{"manager": "kubesteer", "operation": "Apply"}]


def thing(kind: str, name: str, *, api: str = "v1", namespace: str | None = NAMESPACE, **fields: Any) -> Thing:
    labels = {**OWN, "app.kubernetes.io/name": fields.pop("app", name)}
    meta: dict[str, Any] = {"name": name, "labels": labels, **fields.pop("meta", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": meta, **fields}


def foreign(made: Thing) -> Thing:
    """The same without kubesteer's labels."""
    return {**made, "metadata": {k: v for k, v in made["metadata"].items() if k != "labels"}}


def namespace(name: str = NAMESPACE) -> Thing:
    return thing("Namespace", name, namespace=None, app="kubesteer")


def workload(
    kind: str,
    name: str,
    *,
    replicas: int = 1,
    volumes: list[Any] | None = None,
    image: str = "localhost/kubesteer:0.1.0",
) -> Thing:
    """As it is rendered."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": name}},
            "spec": {"containers": [{"name": "main", "image": image}], "volumes": volumes or []},
        },
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    return thing(kind, name, api="apps/v1", spec=spec)


def rolled_out(made: Thing, ready: int | None = None, *, nodes: int = 3) -> Thing:
    """With the status of one whose pods are all there, or only `ready` of them ready."""
    wanted = made["spec"].get("replicas", nodes)
    ready = wanted if ready is None else ready
    if made["kind"] == "DaemonSet":
        status = {"desiredNumberScheduled": nodes, "numberReady": ready, "updatedNumberScheduled": nodes}
    else:
        status = {"replicas": wanted, "readyReplicas": ready, "updatedReplicas": wanted}
    status["observedGeneration"] = made["metadata"].get("generation", 0)
    return {**made, "status": status}


def pod(name: str, app: str, *, ready: bool = True, node: str | None = "node-0", **status: Any) -> Thing:
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "localhost/kubesteer:0.1.0"}]}
    if node:
        spec["nodeName"] = node
    told = {"conditions": [{"type": "Ready", "status": str(ready)}], **status}
    return thing("Pod", name, app=app, spec=spec, status=told)


def node(name: str = "node-0", *, ready: bool = True, egress: str | None = None, **spec: Any) -> Thing:
    amounts = {"cpu": "8", **({EGRESS: egress} if egress else {})}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": spec,
        "status": {"capacity": amounts, "allocatable": dict(amounts), "conditions": conditions},
    }


def secret(name: str, **data: str) -> Thing:
    return thing("Secret", name, data=data)


def default_class() -> Thing:
    meta = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return foreign(thing("StorageClass", "fast", api="storage.k8s.io/v1", namespace=None)) | {
        "metadata": {"name": "fast", **meta}
    }


def certificate_pem(begins: datetime = BEGINS, ends: datetime = ENDS) -> str:
    """Signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubesteer-extender")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(begins).not_valid_after(ends).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def settings_map(name: str, text: str, file: str = "settings.yaml") -> Thing:
    return thing("ConfigMap", name, data={file: text})


def warning(about: str, reason: str, message: str, *, kind: str = "Pod", at: str = "2026-11-22T10:00:00Z") -> Thing:
    made = foreign(
        thing("Event", f"{about}.{reason}", type="Warning", reason=reason, message=message, lastTimestamp=at)
    )
    return {**made, "involvedObject": {"kind": kind, "name": about, "namespace": NAMESPACE}}


def small_kubesteer(*, image: str = "localhost/kubesteer:0.1.0", settings: str = "{}") -> list[Thing]:
    """What a rendering has at the least: a namespace, settings, an extender, agents, a scheduler of its own."""
    mount = [{"name": "settings", "configMap": {"name": "kubesteer-extender"}}]
    return [
        namespace(),
        settings_map("kubesteer-extender", settings),
        workload("Deployment", "kubesteer-extender", replicas=2, volumes=mount, image=image),
        workload("DaemonSet", "kubesteer-agent", image=image),
        workload("Deployment", "kubesteer-scheduler"),
    ]


class Working:
    """Controllers, a scheduler and extenders that all do what they should, but for what a test says."""

    def __init__(self, *, ready: bool = True, places: bool = True, asks: bool = True) -> None:
        self.ready, self.places, self.asks = ready, places, asks
        self.filter_calls = 0
        self.asked: list[Request] = []

    def react(self, cluster: MemoryCluster) -> None:
        for each in list(cluster.there.values()):
            if each["kind"] in {"Deployment", "DaemonSet", "StatefulSet"}:
                there = [r for r in cluster.there if r.kind == "Pod" and r.name.startswith(each["metadata"]["name"])]
                done = rolled_out(each, None if self.ready else 0)
                if each.get("status") != done["status"]:
                    cluster.put(done)
                if not there and each["metadata"]["name"] == "kubesteer-extender":
                    for suffix in "ab":
                        made = pod(f"kubesteer-extender-{suffix}", "kubesteer-extender", ready=self.ready)
                        owner = {"kind": each["kind"], "name": each["metadata"]["name"]}
                        made["metadata"]["ownerReferences"] = [owner]
                        cluster.put(made)
        proof = cluster.there.get(Ref("Pod", "kubesteer", "kubesteer-proof"))
        if proof and self.places and "nodeName" not in proof["spec"]:
            self.filter_calls += self.asks
            cluster.put({**proof, "spec": {**proof["spec"], "nodeName": "node-0"}})

    def answer(self, pod_name: str, port: int, request: Request) -> Answer:
        self.asked.append(request)
        if request.path == "/metrics":
            calls = self.filter_calls if pod_name.endswith("a") else 0
            return Answer(200, f'kubesteer_request_seconds_count{{verb="filter"}} {calls}.0\n')
        if request.path == "/readyz":
            return Answer(200, json.dumps({"ready": True, "waitingFor": [], "cluster": {"table_nodes": 3}}))
        assert request.body is not None
        rows = [
            {"node": name, "fits": True, "reason": None, "balance": 0.9, "reward": None, "score": 10, "total": 0.9}
            for name in request.body["NodeNames"]
        ]
        return Answer(200, json.dumps({"nodes": rows}))


def cluster_of(working: Working, rendering: list[Thing], *more: Thing, **how: Any) -> MemoryCluster:
    """Three nodes with a capacity, a default StorageClass, and `more`."""
    nodes = [node(f"node-{n}", egress="10G") for n in range(3)]
    return MemoryCluster(
        [*nodes, default_class(), *more],
        rendering=rendering,
        reactions=[working.react],
        answers=working.answer,
        **how,
    )


def refs(cluster: MemoryCluster) -> set[Ref]:
    return {ref(each) for each in cluster.there.values()}
