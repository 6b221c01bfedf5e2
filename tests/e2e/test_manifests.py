"""manifests/ on the real API server: every rendering is taken, and an agent's token gets no further than its own node.

What the objects start is tried by its own command line too: the second scheduler under its account's token, and the
check script of the overlay in-place.
"""

from __future__ import annotations

import os
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from extender import settings_file as extender_settings
from kubesteer.clients.kubernetes.access import Access
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.own_node import OwnNode
from monitor_agent import settings_file as agent_settings
from monitor_agent.capacity import CONDITION, TAINT_KEY
from tests.manifests.certificates import issue_secrets
from tests.manifests.test_rights import NOW
from tests.manifests.written import MANIFESTS, faults_of, pod_spec
from tools.cluster import objects
from tools.cluster.client import ApiError, Client
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import Extender
from tools.cluster.waiting import eventually

from .operators import empty_bed, is_older

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["empty_bed"]

KUSTOMIZATIONS = ["base", *sorted(f"overlays/{folder.name}" for folder in (MANIFESTS / "overlays").iterdir())]
COMPONENTS = sorted(folder.name for folder in (MANIFESTS / "components").iterdir())
POLICIES = ("kubesteer-agent-own-node", "kubesteer-agent-events")
ACCOUNT = "kubesteer-agent"
OWN, OTHER = "node-own", "node-other"
NODES, EVENTS = "/api/v1/nodes", "/api/v1/namespaces/default/events"
JSON, MERGE, STRATEGIC = (f"application/{kind}json" for kind in ("", "merge-patch+", "strategic-merge-patch+"))
ANY_TAINT = [{"operator": "Exists"}]
KUBEADM = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
    "spec": {
        "containers": [
            {
                "name": "kube-scheduler",
                "image": "registry.k8s.io/kube-scheduler:v1.37.2",
                "command": ["kube-scheduler", "--kubeconfig=/etc/kubernetes/scheduler.conf", "--leader-elect=true"],
                "volumeMounts": [{"name": "kubeconfig", "mountPath": "/etc/kubernetes/scheduler.conf"}],
            }
        ],
        "volumes": [{"name": "kubeconfig", "hostPath": {"path": "/etc/kubernetes/scheduler.conf"}}],
    },
}
"""The scheduler's static pod, as short as kubeadm's patch can do with."""
RBAC, OWN_NODE_ONLY = "is forbidden", "only the node that its pod is on"


@pytest.fixture(scope="module")
def bed(empty_bed: ControlPlane) -> ControlPlane:
    """The base, applied for real with everything that it can be joined with, and two nodes."""
    for name in (OWN, OTHER):
        empty_bed.client.create(objects.node(name))
    empty_bed.kubectl("apply", "--server-side", "-k", str(everything(empty_bed)))
    spec = objects.RESTRICTED | {"nodeName": OWN, "serviceAccountName": ACCOUNT}
    agent = objects.pod("agent", namespace="kubesteer", spec=spec)
    empty_bed.client.create(agent)
    for namespace in ("default", "kube-system"):
        empty_bed.client.create(objects.pod("victim", namespace=namespace, spec={"nodeName": OTHER}))
    eventually(lambda: refuses(empty_bed), within_s=20, what="the policy is in force")
    return empty_bed


def everything(bed: ControlPlane) -> Path:
    """A kustomization of the base and every component, as somebody would write it."""
    folder = bed.layout.directory / "everything"
    folder.mkdir()
    to = os.path.relpath(MANIFESTS, folder)
    components = [f"{to}/components/{name}" for name in COMPONENTS]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [f"{to}/base"], "components": components}))
    return folder


def token(bed: ControlPlane, *more: str) -> str:
    return bed.kubectl("create", "token", ACCOUNT, "--namespace=kubesteer", *more).strip()


def bound_token(bed: ControlPlane) -> str:
    uid = bed.client.get("Pod", "agent", namespace="kubesteer")["metadata"]["uid"]
    return token(bed, "--bound-object-kind=Pod", "--bound-object-name=agent", f"--bound-object-uid={uid}")


@pytest.fixture
def agent(bed: ControlPlane) -> Iterator[Client]:
    """The API server as an agent's pod on OWN reaches it."""
    client = Client(bed.url, bound_token(bed), bed.layout.ca_file)
    yield client
    client.close()


def refuses(bed: ControlPlane) -> bool:
    """The API server takes up a policy some moments after it was made."""
    client = Client(bed.url, bound_token(bed), bed.layout.ca_file)
    try:
        client.request("PATCH", f"{NODES}/{OTHER}/status", {"metadata": {"labels": {"probe": "x"}}}, content_type=MERGE)
    except ApiError as exc:
        return OWN_NODE_ONLY in str(exc)
    finally:
        client.close()
    return False


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_the_api_server_takes_what_kustomize_renders(bed: ControlPlane, folder: str) -> None:
    rendered = bed.kubectl("kustomize", str(MANIFESTS / folder))
    told = bed.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin=rendered)
    assert told.count("serverside-applied (server dry run)") == len(list(yaml.safe_load_all(rendered)))


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_what_kustomize_renders_keeps_the_rules_for_all_objects(
    bed: ControlPlane, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each ConfigMap of settings is one that its service takes, with the variables of its pods over it."""
    things = list(yaml.safe_load_all(bed.kubectl("kustomize", str(MANIFESTS / folder))))
    assert [fault for thing in things for fault in faults_of(thing)] == []
    maps = {thing["metadata"]["name"]: thing["data"] for thing in things if thing["kind"] == "ConfigMap"}
    files = {}
    for name in ("kubesteer-extender", "kubesteer-agent"):
        files[name] = tmp_path / name
        files[name].write_text(maps[name]["settings.yaml"])
    external = maps.get("kubesteer-external-etcd", {}).get("endpoints")
    if external:
        monkeypatch.setenv("KUBESTEER_REWARDS__ENDPOINTS", external)
    reader = extender_settings.load(files["kubesteer-extender"]).rewards
    variables = {"KUBESTEER_AGENT_STORE__ENDPOINTS": external} if external else {}
    writer = agent_settings.load(files["kubesteer-agent"], variables).store
    assert (reader.source, list(reader.endpoints)) == (writer.kind, writer.endpoints)


POD_SECURITY, [MAIN] = objects.RESTRICTED["securityContext"], objects.RESTRICTED["containers"]
SECURITY = MAIN["securityContext"]


def main_with(**security: Any) -> dict[str, Any]:
    return {"containers": [MAIN | {"securityContext": {**SECURITY, **security}}]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"hostNetwork": True}, "only the agents use their node's network", id="host network"),
        pytest.param({"hostPID": True}, "no processes", id="host processes"),
        pytest.param({"hostIPC": True}, "no memory", id="host memory"),
        pytest.param(
            {"containers": [MAIN | {"ports": [{"containerPort": 80, "hostPort": 80}]}]}, "no ports", id="host port"
        ),
        pytest.param({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "mount nothing", id="host path"),
        pytest.param({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}, "mount nothing", id="nfs"),
        pytest.param(main_with(allowPrivilegeEscalation=None), "no privilege", id="may gain privileges"),
        pytest.param(main_with(capabilities=None), "no capability", id="the usual capabilities"),
        pytest.param(main_with(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}), "no capability", id="a capability"),
        pytest.param({"initContainers": [MAIN | {"name": "first", "securityContext": {}}]}, "no privilege", id="init"),
        pytest.param(main_with(runAsNonRoot=False), "as root", id="may be root"),
        pytest.param({"securityContext": POD_SECURITY | {"runAsUser": 0}}, "as root", id="is root"),
        pytest.param({"securityContext": {"runAsNonRoot": True}}, "seccomp", id="no seccomp profile"),
        pytest.param(main_with(seccompProfile={"type": "Unconfined"}), "seccomp", id="no profile of its own"),
    ],
)
def test_no_pod_beside_the_keys_has_more_than_a_restricted_one(
    bed: ControlPlane, change: dict[str, Any], why: str
) -> None:
    """Though the namespace's level has to be privileged, for the agents' sake."""

    def refusal(spec: dict[str, Any]) -> str:
        thing = objects.pod("p", namespace="kubesteer", spec=objects.RESTRICTED | spec)
        try:
            bed.client.request("POST", "/api/v1/namespaces/kubesteer/pods", thing, params={"dryRun": "All"})
        except ApiError as exc:
            return str(exc)
        return ""

    eventually(lambda: "kubesteer-pods" in refusal({"hostPID": True}), within_s=20, what="the policy is in force")
    assert refusal({}) == ""
    assert refusal({"hostNetwork": True, "serviceAccountName": ACCOUNT}) == ""
    assert "kubesteer-pods" in (told := refusal(change)), told
    assert why in told


def test_nothing_is_debugged_as_root_beside_the_keys(bed: ControlPlane) -> None:
    path = "/api/v1/namespaces/kubesteer/pods/agent/ephemeralcontainers"
    debugger = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox:1"}]}}
    with pytest.raises(ApiError, match="kubesteer-pods"):
        bed.client.request("PATCH", path, debugger, content_type=STRATEGIC)


def test_only_the_agent_needs_more_than_a_restricted_namespace_allows(bed: ControlPlane) -> None:
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    bed.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": level}})
    if not is_older(bed):
        account = "default ServiceAccount"
        eventually(lambda: bed.client.list_all("ServiceAccount", namespace="restricted"), within_s=20, what=account)
    refused = {}
    for thing in yaml.safe_load_all(bed.kubectl("kustomize", str(bed.layout.directory / "everything"))):
        if spec := pod_spec(thing):
            claims = [{"name": each["metadata"]["name"]} for each in thing["spec"].get("volumeClaimTemplates", ())]
            spec |= {"serviceAccountName": "default", "volumes": [*spec["volumes"], *claims]}
            pod = objects.pod("p", namespace="restricted", spec=spec)
            try:
                bed.client.request("POST", "/api/v1/namespaces/restricted/pods", pod, params={"dryRun": "All"})
            except ApiError as exc:
                refused[thing["metadata"]["name"]] = str(exc)
    [(name, why)] = refused.items()
    assert (name, "violates PodSecurity" in why) == ("kubesteer-agent", True)


def test_applying_twice_changes_nothing(bed: ControlPlane) -> None:
    folder = bed.layout.directory / "everything"
    before = versions(bed)
    bed.kubectl("apply", "--server-side", "-k", str(folder))
    assert versions(bed) == before


def versions(bed: ControlPlane) -> dict[tuple[str, str], Any]:
    """By kind and name, the generation, or the version of what has none."""
    kinds = "configmaps,services,networkpolicies,deployments,daemonsets,statefulsets,cronjobs,clusterroles"
    chosen = "--selector=app.kubernetes.io/part-of=kubesteer"
    told = yaml.safe_load(bed.kubectl("get", kinds, "--all-namespaces", chosen, "--output=yaml"))
    return {
        (each["kind"], each["metadata"]["name"]): each["metadata"].get("generation")
        or each["metadata"]["resourceVersion"]
        for each in told["items"]
    }


def test_deleting_by_the_label_finds_every_object(bed: ControlPlane) -> None:
    """What was applied carries the label that an undeployment goes by."""
    rendered = list(yaml.safe_load_all(bed.kubectl("kustomize", str(bed.layout.directory / "everything"))))
    assert {thing["metadata"]["labels"]["app.kubernetes.io/part-of"] for thing in rendered} == {"kubesteer"}


def test_the_expressions_of_the_policies_have_no_type_faults(bed: ControlPlane) -> None:
    """The controller manager checks them."""
    if is_older(bed):
        pytest.skip("no controller manager here")
    policies = {
        each["metadata"]["name"]
        for each in bed.client.list_all("ValidatingAdmissionPolicy", api_version="admissionregistration.k8s.io/v1")
    }
    assert len(policies) >= 5
    for name in policies:

        def checked(name: str = name) -> Any:
            policy = bed.client.get("ValidatingAdmissionPolicy", name, api_version="admissionregistration.k8s.io/v1")
            return policy.get("status")

        assert eventually(checked, within_s=20, what=f"{name} checked")["typeChecking"] == {}


async def test_an_agents_own_client_may_change_what_agents_own(bed: ControlPlane) -> None:
    """Capacity, condition and taint, by the very calls that the agent makes."""
    secret = bound_token(bed)

    async def load() -> Access:
        async def authorization() -> str:
            return f"Bearer {secret}"

        return Access(bed.url, authorization, tls=ssl.create_default_context(cafile=str(bed.layout.ca_file)))

    async with ApiServer(load) as api:
        own = OwnNode(api, OWN)
        await own.publish({"kubesteer.io/egress-bps": 9_500_000_000})
        await own.set_condition(CONDITION, status=True, reason="LinkDown", message="m", now=NOW)
        await own.set_taint(TAINT_KEY, present=True)
        node = bed.client.get("Node", OWN)
        assert node["status"]["allocatable"]["kubesteer.io/egress-bps"] == "9500M"
        assert CONDITION in {each["type"] for each in node["status"]["conditions"]}
        assert TAINT_KEY in {each["key"] for each in node["spec"]["taints"]}
        await own.set_taint(TAINT_KEY, present=False)
    assert TAINT_KEY not in {each["key"] for each in bed.client.get("Node", OWN)["spec"].get("taints", ())}


def test_an_agent_may_write_events_about_pods_and_its_own_node(agent: Client) -> None:
    for about in ({"kind": "Node", "name": OWN}, {"kind": "Pod", "name": "any", "namespace": "default"}):
        agent.request("POST", EVENTS, event(about))


def event(about: dict[str, str], source: str = "kubesteer-agent") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "default", "generateName": "attack."},
        "involvedObject": {"apiVersion": "v1", **about},
        "type": "Warning",
        "reason": "Attack",
        "message": "m",
        "source": {"component": source},
        "reportingComponent": source,
    }


def status(**fields: Any) -> dict[str, Any]:
    return {"status": fields}


def taint(key: str, effect: str = "NoSchedule") -> dict[str, Any]:
    return {"spec": {"taints": [{"key": key, "effect": effect}]}}


AMOUNT = {"kubesteer.io/egress-bps": "1"}
READY = {"type": "Ready", "status": "False", "reason": "Attack"}
ADDRESS = {"type": "InternalIP", "address": "192.0.2.1"}
OWN_NODE, OWN_STATUS, OTHER_STATUS = f"{NODES}/{OWN}", f"{NODES}/{OWN}/status", f"{NODES}/{OTHER}/status"
CHANGES = [
    ("another node's capacity", OTHER_STATUS, MERGE, status(capacity=AMOUNT), OWN_NODE_ONLY),
    ("another node's condition", OTHER_STATUS, STRATEGIC, status(conditions=[READY]), OWN_NODE_ONLY),
    ("another node's taint", f"{NODES}/{OTHER}", MERGE, taint(TAINT_KEY), OWN_NODE_ONLY),
    ("cpu it does not have", OWN_STATUS, MERGE, status(capacity={"cpu": "1k"}), "only kubesteer.io/*"),
    ("cpu for pods", OWN_STATUS, MERGE, status(allocatable={"cpu": "1k"}), "only kubesteer.io/*"),
    ("no cpu at all", OWN_STATUS, MERGE, status(allocatable={"cpu": None}), "only kubesteer.io/*"),
    ("no capacity at all", OWN_STATUS, MERGE, status(capacity=None), "only capacity, allocatable"),
    ("another resource", OWN_STATUS, MERGE, status(capacity={"example.com/gpu": "8"}), "only kubesteer.io/*"),
    ("another's domain", OWN_STATUS, MERGE, status(capacity={"kubesteer.io.evil/x": "8"}), "only kubesteer.io/*"),
    ("the Ready condition", OWN_STATUS, STRATEGIC, status(conditions=[READY]), "kubesteer.io/NetworkDegraded"),
    ("no conditions", OWN_STATUS, MERGE, status(conditions=None), "only capacity, allocatable"),
    ("its address", OWN_STATUS, MERGE, status(addresses=[ADDRESS]), "only capacity, allocatable"),
    (
        "its kubelet's port",
        OWN_STATUS,
        MERGE,
        status(daemonEndpoints={"kubeletEndpoint": {"Port": 1}}),
        "only capacity",
    ),
    ("volumes", OWN_STATUS, MERGE, status(volumesInUse=["v"]), "only capacity"),
    ("a label", OWN_NODE, MERGE, {"metadata": {"labels": {"a": "b"}}}, "no label"),
    ("a label beside the status", OWN_STATUS, MERGE, {"metadata": {"labels": {"a": "b"}}}, "no label"),
    ("no labels", OWN_STATUS, MERGE, {"metadata": {"labels": None}}, "no label"),
    ("an annotation", OWN_STATUS, MERGE, {"metadata": {"annotations": {"a": "b"}}}, "no label"),
    ("a finalizer", OWN_STATUS, MERGE, {"metadata": {"finalizers": ["example.com/x"]}}, "no label"),
    ("a foreign taint", OWN_NODE, MERGE, taint("example.com/x", "NoExecute"), "changes only kubesteer.io/network"),
    ("its taint, driving pods out", OWN_NODE, MERGE, taint(TAINT_KEY, "NoExecute"), "its effect is NoSchedule"),
    ("unschedulable", OWN_NODE, MERGE, {"spec": {"unschedulable": True}}, "of its node's spec"),
    ("pod addresses", OWN_NODE, MERGE, {"spec": {"podCIDR": "10.9.0.0/24"}}, "of its node's spec"),
    ("a provider's name", OWN_NODE, MERGE, {"spec": {"providerID": "x://y"}}, "of its node's spec"),
]


@pytest.mark.parametrize(
    ("path", "content_type", "body", "reason"), [pytest.param(*rest, id=what) for what, *rest in CHANGES]
)
def test_an_agent_may_not_change(
    agent: Client, path: str, content_type: str, body: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ApiError) as refused:
        agent.request("PATCH", path, body, content_type=content_type)
    assert refused.value.status == 422
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("DELETE", OWN_NODE, None, id="its node, deleted"),
        pytest.param("PUT", OWN_NODE, objects.node(OWN), id="its node, replaced"),
        pytest.param("PUT", OWN_STATUS, objects.node(OWN), id="its status, replaced"),
        pytest.param("POST", NODES, objects.node("new"), id="a new node"),
        pytest.param("GET", f"{OWN_NODE}/proxy/stats/summary", None, id="its kubelet through the API server"),
        pytest.param("GET", "/api/v1/secrets", None, id="all secrets"),
        pytest.param("GET", "/api/v1/namespaces/kubesteer/secrets/kubesteer-etcd-maintenance", None, id="one secret"),
        pytest.param("GET", "/api/v1/namespaces/kubesteer/configmaps", None, id="configuration"),
        pytest.param("DELETE", "/api/v1/namespaces/kubesteer/pods/agent", None, id="its own pod, deleted"),
        pytest.param("POST", "/api/v1/namespaces/default/pods", objects.pod("new"), id="a new pod"),
        pytest.param("POST", "/api/v1/namespaces/kubesteer/pods/agent/exec?command=sh", None, id="a shell"),
        pytest.param("POST", "/api/v1/namespaces/kubesteer/pods/agent/eviction", {}, id="an eviction"),
        pytest.param("POST", "/api/v1/namespaces/kubesteer/serviceaccounts/default/token", {}, id="another's token"),
        pytest.param("DELETE", EVENTS, None, id="events, deleted"),
        pytest.param("GET", "/apis/coordination.k8s.io/v1/leases", None, id="leases"),
        pytest.param(
            "DELETE",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/kubesteer-agent-own-node",
            None,
            id="the policy itself",
        ),
    ],
)
def test_an_agent_has_no_right_to(agent: Client, method: str, path: str, body: dict[str, Any] | None) -> None:
    refuses_by_rights(agent, method, path, body)


def refuses_by_rights(agent: Client, method: str, path: str, body: dict[str, Any] | None) -> None:
    with pytest.raises(ApiError) as refused:
        agent.request(method, path, body, content_type=MERGE if method == "PATCH" else JSON)
    assert refused.value.status == 403
    assert RBAC in str(refused.value)


BINDING = {
    "apiVersion": "v1",
    "kind": "Binding",
    "metadata": {"name": "victim"},
    "target": {"kind": "Node", "name": OWN},
}
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "victim"}}
ON_PODS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "patched": ("PATCH", "", {"metadata": {"labels": {"a": "b"}}}),
    "replaced": ("PUT", "", objects.pod("victim")),
    "deleted": ("DELETE", "", None),
    "deleted with all of its namespace": ("DELETE", "..", None),
    "told to have failed": ("PATCH", "/status", status(phase="Failed")),
    "resized": ("PATCH", "/resize", {"spec": {}}),
    "bound to the own node": ("POST", "/binding", BINDING),
    "evicted": ("POST", "/eviction", EVICTION),
    "given a container": ("PATCH", "/ephemeralcontainers", {"spec": {"ephemeralContainers": []}}),
    "a shell in it": ("POST", "/exec?command=sh", None),
    "attached to": ("POST", "/attach", None),
    "its ports": ("POST", "/portforward", None),
    "its pages": ("GET", "/proxy/", None),
    "its log": ("GET", "/log", None),
}


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
@pytest.mark.parametrize("attack", ON_PODS)
def test_an_agent_only_reads_another_nodes_pod(agent: Client, bed: ControlPlane, namespace: str, attack: str) -> None:
    """That it reads all pods is the exception: rights know no field of a pod, such as its node."""
    method, end, body = ON_PODS[attack]
    pods = f"/api/v1/namespaces/{namespace}/pods"
    refuses_by_rights(agent, method, pods if end == ".." else f"{pods}/victim{end}", body)
    assert bed.client.get("Pod", "victim", namespace=namespace)["spec"]["nodeName"] == OTHER


@pytest.mark.parametrize(
    ("method", "end"), [("GET", ""), ("GET", "/x"), ("POST", ""), ("PATCH", "/x"), ("DELETE", "/x"), ("DELETE", "")]
)
@pytest.mark.parametrize("namespace", ["default", "kube-system", "kubesteer"])
def test_an_agent_has_no_right_to_anybodys_secrets(agent: Client, method: str, namespace: str, end: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    refuses_by_rights(agent, method, f"/api/v1/namespaces/{namespace}/secrets{end}", secret)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(event({"kind": "Node", "name": OTHER}), id="about another node"),
        pytest.param(event({"kind": "Secret", "name": "x", "namespace": "default"}), id="about what is no pod"),
        pytest.param(event({"kind": "Node", "name": OWN}, source="kubelet"), id="in the kubelet's name"),
    ],
)
def test_an_agent_may_write_no_event(agent: Client, attack: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="kubesteer-agent-events"):
        agent.request("POST", EVENTS, attack)


def test_an_agent_asks_for_the_events_about_a_pod_that_no_agent_wrote(bed: ControlPlane, agent: Client) -> None:
    """By the field selector of pod_events. Older clients name themselves in `source`, newer ones beside it."""
    about = {"kind": "Pod", "name": "stuck", "namespace": "default", "uid": "uid-stuck"}
    agent.request("POST", EVENTS, event(about))
    bed.client.request("POST", EVENTS, event(about, source="kubelet"))
    newer = event(about, source="") | {"reportingComponent": "my-scheduler", "reportingInstance": "i", "action": "a"}
    bed.client.request("POST", EVENTS, newer | {"eventTime": "2026-11-22T12:00:00.000000Z"})
    found = agent.request("GET", f"{EVENTS}?fieldSelector=involvedObject.uid%3Duid-stuck,source!%3Dkubesteer-agent")
    assert sorted(each["reportingComponent"] for each in found["items"]) == ["kubelet", "my-scheduler"]


def test_a_token_that_is_bound_to_no_pod_changes_no_node(bed: ControlPlane) -> None:
    client = Client(bed.url, token(bed), bed.layout.ca_file)
    with pytest.raises(ApiError, match="its token names none"):
        client.request("PATCH", OWN_STATUS, status(capacity=AMOUNT), content_type=MERGE)
    client.close()


def test_others_change_nodes_as_before(bed: ControlPlane) -> None:
    """The policy is about agents alone."""
    bed.client.patch("Node", OTHER, {"metadata": {"labels": {"by": "admin"}}})
    assert bed.client.get("Node", OTHER)["metadata"]["labels"]["by"] == "admin"


@pytest.fixture
def secured(bed: ControlPlane, tmp_path: Path) -> Iterator[tuple[Extender, Path]]:
    """An extender with the rights and the TLS of the base, and the folder with every Secret."""
    issue_secrets(tmp_path)
    server = tmp_path / "kubesteer-extender-server"
    account = bed.kubectl("create", "token", "kubesteer-extender", "--namespace=kubesteer").strip()
    settings = {
        "cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig_for(account, "extender"))},
        "tls": {
            "cert_file": str(server / "tls.crt"),
            "key_file": str(server / "tls.key"),
            "client_ca_file": str(server / "ca.crt"),
        },
    }
    with Extender(settings) as extender:
        yield extender, tmp_path


def in_place_config(extender: Extender, secrets: Path, kubeconfig: Path) -> str:
    """The file of the overlay in-place after the steps of its README, with paths of this test."""
    text = (MANIFESTS / "overlays/in-place/scheduler-config.yaml").read_text()
    text = text.replace("CLUSTER-IP:8888", f"127.0.0.1:{extender.port}")
    text = text.replace("/etc/kubernetes/kubesteer", str(secrets / "kubesteer-scheduler-client"))
    return text.replace("/etc/kubernetes/scheduler.conf", str(kubeconfig))


def test_the_second_scheduler_works_with_the_rights_of_its_account(
    bed: ControlPlane, secured: tuple[Extender, Path]
) -> None:
    """It holds its lease, asks the extender over mutual TLS by the Service's name, and binds pods that name it."""
    extender, secrets = secured
    rendered = bed.client.get("ConfigMap", "kubesteer-scheduler", namespace="kubesteer")["data"]["config.yaml"]
    config = yaml.safe_load(rendered.replace("/etc/kubesteer/tls", str(secrets / "kubesteer-scheduler-client")))
    [entry] = config["extenders"]
    name, _, _ = entry["urlPrefix"].removeprefix("https://").partition(":")
    entry["urlPrefix"] = extender.url
    entry["tlsConfig"]["serverName"] = name
    account = bed.kubectl("create", "token", "kubesteer-scheduler", "--namespace=kubesteer").strip()
    config["clientConnection"] = {"kubeconfig": str(bed.kubeconfig_for(account, "second-scheduler"))}
    bed.start_scheduler(config, name="second", older=is_older(bed))
    try:
        bed.client.create(objects.pod("second", spec={"schedulerName": "kubesteer", "tolerations": ANY_TAINT}))
        eventually(
            lambda: bed.client.get("Pod", "second")["spec"].get("nodeName"), within_s=20, what="bound by the second"
        )
        assert extender.metric("kubesteer_request_seconds_count") > 0
        lease = bed.client.get(
            "Lease", "kubesteer-scheduler", namespace="kubesteer", api_version="coordination.k8s.io/v1"
        )
        assert lease["spec"]["holderIdentity"]
        assert "forbidden" not in bed.parts["second"].process.log_tail(2000)
    finally:
        bed.stop_scheduler("second")
        bed.client.delete("Pod", "second")


def test_the_check_in_place_says_what_is_in_the_way(bed: ControlPlane, secured: tuple[Extender, Path]) -> None:
    """First all is well, with kubeadm's manifest patched by kubectl as kubeadm does; then one thing after the other."""
    extender, secrets = secured
    tls = secrets / "kubesteer-scheduler-client"
    config = tls / "scheduler-config.yaml"
    good = in_place_config(extender, secrets, bed.layout.kubeconfig("system:kube-scheduler"))
    config.write_text(good)
    manifest = secrets / "kube-scheduler.yaml"
    manifest.write_text(yaml.safe_dump(KUBEADM))
    patch = MANIFESTS / "overlays/in-place/kube-scheduler+json.yaml"
    patched = bed.kubectl(
        "patch", "--local", f"--filename={manifest}", "--type=json", f"--patch-file={patch}", "--output=yaml"
    )
    manifest.write_text(patched.replace("/etc/kubernetes/kubesteer", str(tls)))
    scheduler = bed.start_scheduler(yaml.safe_load(good), name="in-place", older=is_older(bed))

    def check(url: str = scheduler.url) -> tuple[int, str]:
        script = MANIFESTS / "overlays/in-place/check.sh"
        told = subprocess.run(
            [script, "--manifest", manifest, "--config", config, "--scheduler", url],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.returncode, told.stdout + told.stderr

    try:
        status_, text = check()
        assert (status_, "FAULT" in text) == (0, False), text
        assert check("https://127.0.0.1:1")[0] == 1
        for old, new, fault in (
            ("ignorable: true", "ignorable: false", "ignorable is true"),
            ("nodeCacheCapable: true", "nodeCacheCapable: false", "nodeCacheCapable is true"),
            (f"127.0.0.1:{extender.port}", f"127.0.0.1:{extender.ops_port}", "filter answers"),
            ("serverName: kubesteer-extender", "serverName: another", "filter answers"),
        ):
            config.write_text(good.replace(old, new))
            status_, text = check()
            assert (status_, fault in text) == (1, True), text
        config.write_text(good)
        manifest.write_text(yaml.safe_dump(KUBEADM))
        assert check()[0] == 2
        (tls / "tls.key").unlink()
        assert check()[0] == 4
    finally:
        bed.stop_scheduler("in-place")
