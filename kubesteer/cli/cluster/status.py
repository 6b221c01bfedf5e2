"""`kubesteer status` over a cluster: reads the objects, asks the pods themselves, judges, shows."""

from __future__ import annotations

import time

from kubesteer.cli.cluster import show
from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.proof import EXTENDER, OpsPorts
from kubesteer.cli.cluster.reading import Looks
from kubesteer.cli.cluster.run import FAILED, OK, Talk
from kubesteer.clients.kubectl.asking import Request
from kubesteer.deploying.ops_port import document_of, ops_port
from kubesteer.deploying.progress import LOOK_KINDS, Look
from kubesteer.deploying.rendering import NAMESPACE, extender_settings
from kubesteer.deploying.standing import Seen, standing
from kubesteer.deploying.workloads import is_ready, pods_of
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable, KubesteerError

_ETCD_METRICS = 2381


def status(cluster: Cluster, said: Talk) -> int:
    """The exit code: 0 all is well, 1 not."""
    try:
        context, address = cluster.where()
        found = standing(_seen(cluster), time.time())
    except KubesteerError as exc:
        return said.fail(exc, FAILED)
    said.console.print(show.standing(found))
    said.document |= {
        "context": context,
        "server": address,
        "isWell": found.is_well,
        "parts": show.documents(found.rows),
        "findings": list(found.findings),
    }
    return said.end(OK if found.is_well else FAILED)


def _seen(cluster: Cluster) -> Seen:
    """Raises ClusterUnavailable where the API server does not answer; a pod that does not is a finding."""
    kinds = (*LOOK_KINDS, "secrets", "leases", "configmaps", "cronjobs")
    looks = Looks(cluster)
    things, nodes = looks.items(kinds, namespace=NAMESPACE), looks.items(["nodes"])
    if looks.faults and not things:
        raise ClusterUnavailable("; ".join(looks.faults))
    secrets = [each for each in things if each["kind"] == "Secret"]
    names = frozenset(each["metadata"]["name"] for each in secrets)
    unreachable = {"kubectl": "; ".join(looks.faults)} if looks.faults else {}
    readyz, members = {}, {}
    if any(each["kind"] == "Pod" for each in things):
        ports = OpsPorts(cluster, ops_port(extender_settings(things)))
        try:
            ports.sign_in()
        except ClusterUnavailable as exc:
            unreachable[EXTENDER] = f"what readiness hangs on is told only to who may ask: {exc}"
        for name in _ready(things, EXTENDER):
            try:
                readyz[name] = document_of(ports.ask(name, "/readyz"), "/readyz")
            except ClusterUnavailable as exc:
                unreachable[name] = str(exc)
        for name in _ready(things, "kubesteer-etcd"):
            try:
                members[name] = cluster.ask(name, NAMESPACE, _ETCD_METRICS, Request("/metrics")).text
            except ClusterUnavailable as exc:
                unreachable[name] = str(exc)
    return Seen(
        look=Look([each for each in things if each["kind"] != "Secret"], names, nodes),
        secrets=secrets,
        leases=[each for each in things if each["kind"] == "Lease"],
        readyz=readyz,
        members=members,
        unreachable=unreachable,
    )


def _ready(things: list[Thing], workload: str) -> list[str]:
    return [each["metadata"]["name"] for each in pods_of(things, workload) if is_ready(each)]
