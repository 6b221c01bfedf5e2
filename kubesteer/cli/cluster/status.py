"""`kubesteer status` over a cluster: reads the objects, asks the pods themselves, judges, shows."""

from __future__ import annotations

import json
import time

from kubesteer.cli.cluster import show
from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.proof import OpsPorts
from kubesteer.cli.cluster.run import FAILED, OK, Talk
from kubesteer.clients.kubectl.asking import Request
from kubesteer.deploying.progress import LOOK_KINDS, Look
from kubesteer.deploying.rendering import NAMESPACE, extender_settings
from kubesteer.deploying.standing import Seen, standing
from kubesteer.deploying.workloads import is_ready
from kubesteer.model.api_objects import Thing, labels
from kubesteer.model.errors import ClusterUnavailable, KubesteerError

_ETCD_METRICS = 2381


def status(cluster: Cluster, said: Talk) -> int:
    """The exit code: 0 all is well, 1 not."""
    try:
        context, address = cluster.where()
        found = standing(_seen(cluster), time.time())
    except KubesteerError as exc:
        said.say(str(exc), "bold red")
        said.document["error"] = str(exc)
        return said.end(FAILED)
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
    kinds = (*LOOK_KINDS, "secrets", "leases", "configmaps")
    things, faults = cluster.items(kinds, namespace=NAMESPACE)
    if faults and not things:
        raise ClusterUnavailable("; ".join(faults))
    secrets = [each for each in things if each["kind"] == "Secret"]
    names = frozenset(each["metadata"]["name"] for each in secrets)
    unreachable = {"kubectl": "; ".join(faults)} if faults else {}
    readyz, members = {}, {}
    if any(each["kind"] == "Pod" for each in things):
        ports = OpsPorts(cluster, extender_settings(things))
        try:
            ports.sign_in()
        except ClusterUnavailable as exc:
            unreachable["kubesteer-extender"] = f"what readiness hangs on is told only with a token: {exc}"
        for name in _ready_pods(things, "kubesteer-extender"):
            try:
                readyz[name] = json.loads(ports.ask(name, "/readyz"))
            except (ClusterUnavailable, ValueError) as exc:
                unreachable[name] = str(exc)
        for name in _ready_pods(things, "kubesteer-etcd"):
            try:
                members[name] = cluster.ask(name, NAMESPACE, _ETCD_METRICS, Request("/metrics")).text
            except ClusterUnavailable as exc:
                unreachable[name] = str(exc)
    return Seen(
        look=Look([each for each in things if each["kind"] != "Secret"], names, cluster.items(["nodes"])[0]),
        secrets=secrets,
        leases=[each for each in things if each["kind"] == "Lease"],
        readyz=readyz,
        members=members,
        unreachable=unreachable,
    )


def _ready_pods(things: list[Thing], name: str) -> list[str]:
    return sorted(
        each["metadata"]["name"]
        for each in things
        if each["kind"] == "Pod" and labels(each).get("app.kubernetes.io/name") == name and is_ready(each)
    )
