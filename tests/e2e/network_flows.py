"""Flows between kubesteer's rooms and everything around them, judged by a policy engine's own evaluation code.

The rooms are the pods that a rendering has, one for each workload; the engine is the program `netpol` of the test bed.
Nothing is enforced: the kubelet's probes, which every engine lets in before it looks at policies, are not among the flows.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Object = dict[str, Any]
NAME = "app.kubernetes.io/name"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a flow begins or ends: a pod, or an address outside of the pods' network, which has no namespace."""

    name: str
    address: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    """That others may try to reach there, such as TCP/53."""

    def pod(self) -> Object:
        return {
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": dict(self.labels)},
            "spec": {"nodeName": "node"},
            "status": {"phase": "Running", "podIPs": [{"ip": self.address}]},
        }


AROUND = (
    Place("dns", "10.2.0.1", "kube-system", (("k8s-app", "kube-dns"),), ("UDP/53", "TCP/53", "TCP/9153")),
    Place("node-local-dns", "169.254.20.10", ports=("UDP/53", "TCP/53", "TCP/9253")),
    Place("openshift-dns", "10.2.0.2", "openshift-dns", ports=("UDP/5353", "TCP/5353")),
    Place("api-server", "192.0.2.1", ports=("TCP/443", "TCP/6443", "TCP/8443", "TCP/16443")),
    Place("node", "192.0.2.20", ports=("TCP/22", "TCP/10250")),
    Place("metadata", "169.254.169.254", ports=("TCP/80", "UDP/53")),
    Place("their-etcd", "192.0.2.30", ports=("TCP/2379", "TCP/2380")),
    Place("prometheus", "10.2.0.3", "monitoring", (("app.kubernetes.io/name", "prometheus"),), ("TCP/9090",)),
    Place("stranger", "10.2.0.4", "default", ports=("TCP/80", "TCP/443")),
    # A label can be given to any pod; what is let in is a label in kubesteer's own namespace.
    Place("impostor", "10.2.0.5", "default", ((NAME, "kubesteer-scheduler"),)),
    Place("etcd-impostor", "10.2.0.6", "default", ((NAME, "kubesteer-etcd"),), ("TCP/2379", "TCP/2380")),
    Place("extender-impostor", "10.2.0.8", "default", ((NAME, "kubesteer-extender"),), ("TCP/8888",)),
    Place("guest", "10.2.0.7", "kubesteer", ((NAME, "guest"),), ("TCP/80",)),
)
"""An agent's flows are its node's: it is on the node's network."""


def rooms(things: Iterable[Mapping[str, Any]]) -> list[Place]:
    """A pod of each workload whose pods have addresses of their own, named without kubesteer-."""
    found = []
    for thing in things:
        spec = thing.get("spec") or {}
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template is None or template["spec"].get("hostNetwork"):
            continue
        ports = [port for each in template["spec"]["containers"] for port in each.get("ports", ())]
        found.append(
            Place(
                thing["metadata"]["name"].removeprefix("kubesteer-"),
                f"10.1.0.{len(found) + 1}",
                thing["metadata"]["namespace"],
                tuple(template["metadata"]["labels"].items()),
                tuple(f"TCP/{port['containerPort']}" for port in ports),
            )
        )
    return found


def flows(places: Sequence[Place]) -> list[tuple[Place, Place, str]]:
    """Everybody to every port of everybody else, but what begins and ends outside of the namespace; a room to its own
    kind too, as etcd's members are."""
    return [
        (source, target, port)
        for source in places
        for target in places
        for port in target.ports
        if "kubesteer" in {source.namespace, target.namespace}
    ]


def told(flow: tuple[Place, Place, str]) -> str:
    source, target, port = flow
    return f"{source.name} -> {target.name} {port}"


def let_through(
    netpol: Path,
    policies: Sequence[Mapping[str, Any]],
    places: Sequence[Place],
    asked: Sequence[tuple[Place, Place, str]],
) -> set[str]:
    """The flows of `asked` that the policies let through, in words."""
    namespaces = sorted({place.namespace for place in places if place.namespace})
    document = {
        "namespaces": [
            {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}} for name in namespaces
        ],
        "pods": [place.pod() for place in places if place.namespace],
        "policies": policies,
        "flows": [
            {
                "from": source.address,
                # A member's flows to itself are those to another member, which has the same labels.
                "to": target.address,
                "protocol": port.partition("/")[0],
                "port": int(port.partition("/")[2]),
            }
            for source, target, port in asked
        ],
    }
    judged = subprocess.run([netpol], input=json.dumps(document), capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    verdicts = json.loads(judged.stdout)
    return {told(flow) for flow, passes in zip(asked, verdicts, strict=True) if passes}
