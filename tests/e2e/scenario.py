"""What the scenarios share: a control plane, kubesteer beside it, and the API server's own record.

Placement is read from the API server alone; nothing here asks kubesteer what it thinks it did.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.manifests.written import MANIFESTS, NAMESPACE
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import Extender
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tools.cluster.client import Client
    from tools.cluster.controlplane import Part

EGRESS = "kubesteer.io/egress-bps"
EGRESS_ANNOTATION = "kubernetes.io/egress-bandwidth"
RIGHTS = ("Namespace", "ServiceAccount", "Role", "ClusterRole", "ValidatingAdmissionPolicy")
"""How the kinds begin that say who may do what."""
M, G = 10**6, 10**9
_SUFFIX = {"": 1, "k": 10**3, "M": M, "G": G}


@pytest.fixture(scope="module")
def older() -> bool:
    """Whether the control plane is of the older minor; a module of scenarios overrides it."""
    return False


@pytest.fixture(scope="module")
def running_bed(request: pytest.FixtureRequest, older: bool) -> Iterator[ControlPlane]:
    """etcd and an API server for the scenarios of one module."""
    binaries = request.getfixturevalue("older_binaries" if older else "binaries")
    with ControlPlane(binaries, older=older, load_test=True) as running:
        yield running


@pytest.fixture
def bed(running_bed: ControlPlane) -> Iterator[ControlPlane]:
    """The control plane, emptied of schedulers, pods and nodes after the scenario."""
    yield running_bed
    empty(running_bed)


def empty(bed: ControlPlane) -> None:
    """Stop the schedulers; delete pods, nodes and events."""
    for name in [name for name in bed.parts if "scheduler" in name]:
        bed.stop_scheduler(name)
    for path in ("/api/v1/namespaces/default/pods", "/api/v1/nodes", "/api/v1/namespaces/default/events"):
        bed.client.request("DELETE", path, {"gracePeriodSeconds": 0})


@pytest.fixture
def start_scheduler(bed: ControlPlane, older: bool) -> Callable[..., Part]:
    """Starts the kube-scheduler of the control plane's minor with the given configuration."""
    return partial(bed.start_scheduler, older=older)


def kubesteer(bed: ControlPlane, *, kubeconfig: Path | None = None, **settings: Any) -> Extender:
    """The real extender, told of the cluster by the bed's API server; settings by group."""
    cluster = {"source": "kubernetes", "kubeconfig": str(kubeconfig or bed.kubeconfig)}
    return Extender({"cluster": cluster, **settings})


def grant(bed: ControlPlane, folder: str = "base") -> None:
    """The namespace, accounts and rights of a kustomization, and the policies that narrow them; nothing runs by it."""
    rendered = bed.kubectl("kustomize", str(MANIFESTS / folder))
    things = [each for each in yaml.safe_load_all(rendered) if each["kind"].startswith(RIGHTS)]
    bed.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(things))


def token(client: Client, account: str, *, node: str | None = None) -> str:
    """Of an account of kubesteer's; bound to a node, which the API server then knows it by."""
    spec: dict[str, Any] = {"expirationSeconds": 10_800}
    if node is not None:
        uid = client.get("Node", node)["metadata"]["uid"]
        spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
    found: str = client.request("POST", path, asked)["status"]["token"]
    return found


def pods(client: Client) -> list[dict[str, Any]]:
    return client.list_all("Pod", namespace="default")


def bound(of: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Pod name to node name, of the pods that have one."""
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in of if pod["spec"].get("nodeName")}


def node_of(client: Client, name: str, *, within_s: float = 20) -> str:
    """The node that the pod is bound to, once it is."""
    found: str = eventually(
        lambda: client.get("Pod", name)["spec"].get("nodeName"), within_s=within_s, what=f"pod {name} bound"
    )
    return found


def why_pending(client: Client, name: str, *, within_s: float = 20) -> str:
    """The message of the pod's PodScheduled condition, once it is False."""
    return eventually(lambda: refusal(client.get("Pod", name)), within_s=within_s, what=f"pod {name} refused")


def refusal(pod: dict[str, Any]) -> str:
    """Why the scheduler says that this pod is not scheduled; empty where it says nothing."""
    for condition in pod["status"].get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    return ""


def settled(client: Client, scheduler: Part, *, within_s: float) -> list[dict[str, Any]]:
    """All pods, once each is bound or refused and the scheduler has none left to try now."""

    def all_decided() -> list[dict[str, Any]] | None:
        if waiting(scheduler):
            return None
        found = pods(client)
        return found if all(pod["spec"].get("nodeName") or refusal(pod) for pod in found) else None

    return eventually(all_decided, within_s=within_s, every_s=0.5, what="every pod bound or refused") or []


def waiting(scheduler: Part) -> int:
    """Pods that the scheduler is about to try: in its active and its back-off queue."""
    queues = r'^scheduler_pending_pods\{queue="(?:active|backoff)"\} (\S+)$'
    counts = re.findall(queues, scheduler.metrics(), re.MULTILINE)
    return int(sum(map(float, counts)))


def egress_bps(pod: dict[str, Any]) -> int:
    """The egress SLO of a scenario's pod, however it asks for it."""
    [container] = pod["spec"]["containers"]
    asked = container["resources"].get("limits", {}).get(EGRESS)
    return quantity(asked or pod["metadata"].get("annotations", {}).get(EGRESS_ANNOTATION, "0"))


def quantity(text: str) -> int:
    """Whole numbers with the decimal suffixes that the scenarios, and the API server for them, write."""
    found = re.fullmatch(r"(\d+)([kMG]?)", text)
    if found is None:
        raise ValueError(f"{text!r}: not a quantity that the scenarios use")
    return int(found[1]) * _SUFFIX[found[2]]


def promised_bps(of: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Egress promised on each node to the pods bound there."""
    promised: dict[str, int] = defaultdict(int)
    for pod in of:
        if node := pod["spec"].get("nodeName"):
            promised[node] += egress_bps(pod)
    return promised


def left_bps(client: Client, of: Iterable[dict[str, Any]]) -> dict[str, int]:
    """What is left of each node's egress capacity; below 0 where more was promised than there is."""
    promised = promised_bps(of)
    return {
        node["metadata"]["name"]: quantity(node["status"]["allocatable"][EGRESS]) - promised[node["metadata"]["name"]]
        for node in client.list_all("Node")
    }
