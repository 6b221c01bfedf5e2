"""`kubesteer status` over a cluster: reads the objects, asks the pods themselves, judges, shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from kubesteer.cli.cluster.proof import EXTENDER, OpsPorts
from kubesteer.cli.cluster.reading import Listings
from kubesteer.cli.cluster.reporter import FAILED, OK, Reporter
from kubesteer.clients.kubectl.asking import Request
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying.progress import REASON_KINDS, WORKLOAD_KINDS
from kubesteer.deploying.proof import document_of
from kubesteer.deploying.rendering import NAMESPACE
from kubesteer.deploying.standing import Observed, standing
from kubesteer.deploying.workloads import is_ready, pods_of
from kubesteer.model.errors import ClusterUnavailable, KubesteerError

_ETCD_METRICS = 2381
_KINDS = (*WORKLOAD_KINDS, *REASON_KINDS, "secrets", "leases", "configmaps", "cronjobs")


def status(cluster: Kubectl, reporter: Reporter) -> int:
    """The exit code: 0 all is well, 1 not."""
    try:
        context, address = cluster.where()
        found = standing(_observed(cluster), time.time())
    except KubesteerError as exc:
        return reporter.fail(exc, FAILED)
    for row in found.rows:
        count = "" if row.wanted is None else f"{row.ready}/{row.wanted}"
        line = f"{row.part:<13} {count:<6} {row.version:<20} {'; '.join(row.notes)}"
        reporter.say(line.rstrip(), "green" if row.is_well else "red")
    for each in found.findings:
        reporter.say(f"! {each}", "bold red")
    if not found.findings:
        reporter.say("all is well", "green")
    parts = [asdict(row) for row in found.rows]
    reporter.document |= {"context": context, "server": address, "isWell": found.is_well, "parts": parts}
    reporter.document["findings"] = list(found.findings)
    return reporter.end(OK if found.is_well else FAILED)


def _observed(cluster: Kubectl) -> Observed:
    """Raises ClusterUnavailable where the API server does not answer; a pod that does not is a finding."""
    listings = Listings(cluster)
    things, nodes = listings.items(_KINDS, namespace=NAMESPACE), listings.items(["nodes"])
    if listings.faults and not things:
        raise ClusterUnavailable("; ".join(listings.faults))
    unreachable = {"kubectl": "; ".join(listings.faults)} if listings.faults else {}

    def asked(workload: str, ask: Callable[[str], Any]) -> dict[str, Any]:
        """What each of its pods that is ready answers."""
        found = {}
        for name in (each["metadata"]["name"] for each in pods_of(things, workload) if is_ready(each)):
            try:
                found[name] = ask(name)
            except ClusterUnavailable as exc:
                unreachable[name] = str(exc)
        return found

    ports = OpsPorts(cluster, things)
    if pods_of(things, EXTENDER):
        try:
            ports.sign_in()
        except ClusterUnavailable as exc:
            unreachable[EXTENDER] = f"what readiness hangs on is told only to who may ask: {exc}"
    readyz = asked(EXTENDER, lambda name: document_of(ports.ask(name, "/readyz"), "/readyz"))
    members = asked(
        "kubesteer-etcd", lambda name: cluster.ask(name, NAMESPACE, _ETCD_METRICS, Request("/metrics")).text
    )
    return Observed(things=things, nodes=nodes, readyz=readyz, members=members, unreachable=unreachable)
