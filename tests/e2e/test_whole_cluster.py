"""A whole cluster of three real nodes: Services, names, volumes, and nodes that lose their power or their network."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.manifests.written import MANIFESTS
from tools.cluster.detached import down, up
from tools.cluster.nodes import whole
from tools.cluster.waiting import eventually

from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed
from .real_pods import condition, identity, is_ready, restarts, runs, seen, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.cluster.build import Binaries
    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "kubesteer_image", "node_binaries", "whole_bed"]

FOREVER = "sleep infinity"
HOST_NETWORK = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
SERVED = "exec python3 -m http.server 8080 --directory /www"
ASK_API_SERVER = """
import json, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
trusted = ssl.create_default_context(cafile=folder + "ca.crt")
headers = {"Authorization": "Bearer " + open(folder + "token").read()}
request = urllib.request.Request("https://HOST/version", headers=headers)
print(json.load(urllib.request.urlopen(request, context=trusted, timeout=5))["gitVersion"])
"""


@pytest.fixture
def client(whole_bed: ControlPlane) -> Iterator[Client]:
    """The API server, emptied after the test."""
    yield whole_bed.client
    for kind, version in (
        ("StatefulSet", "apps/v1"),
        ("Service", "v1"),
        ("Pod", "v1"),
        ("PersistentVolumeClaim", "v1"),
    ):
        for thing in whole_bed.client.list_all(kind, namespace="default", api_version=version):
            if thing["metadata"]["name"] != "kubernetes":
                whole_bed.client.delete(kind, thing["metadata"]["name"], api_version=version)
    eventually(
        lambda: not whole_bed.client.list_all("Pod", namespace="default"), within_s=30, what="pods of the test gone"
    )


def web(name: str, *, node: str) -> dict[str, Any]:
    """A pod that answers every GET on port 8080 with its own name."""
    script = f"mkdir -p /www; hostname > /www/index.html; {SERVED}"
    probe = {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
    return runs(name, script, node=node, labels={"app": "web"}, container=probe)


def service(name: str, *, port: int = 80, **spec: Any) -> dict[str, Any]:
    ports = [{"port": port, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def keeper_of_data(name: str) -> dict[str, Any]:
    """A StatefulSet of three, one a node, each with a volume of its own; it writes there when it started."""
    script = f"date +%N >> /data/starts; {FOREVER}"
    template = runs(name, script, node="", labels={"app": name})
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    del template["spec"]["nodeName"]
    [container] = template["spec"]["containers"]
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    container["readinessProbe"] = {"exec": {"command": ["test", "-s", "/data/starts"]}, "periodSeconds": 1}
    nobody = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532}
    template["spec"] |= {"topologySpreadConstraints": [spread], "securityContext": nobody}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": 3,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def gets(bed: ControlPlane, pod: str, url: str) -> str:
    """What the URL answers a pod; the error's last line where it does not."""
    ask = f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=3).read().decode())"
    try:
        return bed.kubectl("exec", pod, "--", "python3", "-c", ask).strip()
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip().splitlines()[-2]


def member(client: Client, name: str, check: Callable[[dict[str, Any]], Any], *, what: str) -> dict[str, Any]:
    """As `seen`, of a pod that somebody else makes: at first it may not be there."""
    eventually(
        lambda: name in {thing["metadata"]["name"] for thing in client.list_all("Pod")},
        within_s=30,
        what=f"pod {name} made",
    )
    return seen(client, name, check, what=what)


def starts(bed: ControlPlane, pod: str) -> list[str]:
    return bed.kubectl("exec", pod, "--", "cat", "/data/starts").split()


def test_every_image_that_the_manifests_name_is_on_every_node(whole_bed: ControlPlane, node_binaries: Binaries) -> None:
    named = {
        line.split("image:")[1].strip()
        for file in MANIFESTS.rglob("*.yaml")
        for line in file.read_text().splitlines()
        if line.strip().startswith("image:")
    }
    ctr = node_binaries.path("ctr", bundle="containerd")
    for node in whole_bed.real.names:
        there = whole_bed.real.run(node, ctr, "-n", "k8s.io", "images", "ls", "-q").split()
        assert named - set(there) == set(), node


def test_a_service_answers_by_its_address_and_its_name_wherever_one_asks(
    whole_bed: ControlPlane, client: Client
) -> None:
    """Two pods behind it: by and by both answer."""
    made = client.create(service("web"))
    askers = {
        "same": runs("same", FOREVER, node="real-0"),
        "other": runs("other", FOREVER, node="real-2"),
        "host": runs("host", FOREVER, node="real-2", spec=HOST_NETWORK),
    }
    start(client, web("web-a", node="real-0"), web("web-b", node="real-1"), *askers.values())
    for host in (made["spec"]["clusterIP"], "web", "web.default.svc", "web.default.svc.cluster.local"):
        for asker in askers:
            seen_there: set[str] = set()

            def both(asker: str = asker, host: str = host, answers: set[str] = seen_there) -> bool:
                answers.add(gets(whole_bed, asker, f"http://{host}/index.html"))
                return {"web-a", "web-b"} <= answers

            eventually(both, within_s=30, what=f"{asker} gets both from {host}: {seen_there}")


def test_a_service_without_a_ready_pod_refuses(whole_bed: ControlPlane, client: Client) -> None:
    client.create(service("nobody"))
    start(client, runs("asks", FOREVER, node="real-1"))
    eventually(
        lambda: "refused" in gets(whole_bed, "asks", "http://nobody.default.svc/"), within_s=20, what="nobody refuses"
    )


def test_a_pod_may_reach_itself_by_its_service(whole_bed: ControlPlane, client: Client) -> None:
    client.create(service("web"))
    start(client, web("alone", node="real-1"))
    eventually(
        lambda: gets(whole_bed, "alone", "http://web/index.html") == "alone", within_s=20, what="alone gets itself"
    )


def test_the_api_server_reaches_a_service_of_pods(whole_bed: ControlPlane, client: Client) -> None:
    """As it must for a webhook."""
    client.create(service("web"))
    start(client, web("web-a", node="real-1"))
    path = "/api/v1/namespaces/default/services/web:80/proxy/index.html"
    assert client.request("GET", path).strip() == "web-a"


@pytest.mark.parametrize("host", ["10.96.0.1", "kubernetes.default.svc", "kubernetes"])
@pytest.mark.parametrize("spec", [{}, HOST_NETWORK], ids=["of its own", "of the node"])
def test_a_pod_with_a_network_trusts_the_api_server_by_its_own_authority(
    whole_bed: ControlPlane, client: Client, host: str, spec: dict[str, Any]
) -> None:
    start(client, runs("asks", FOREVER, node="real-1", spec=spec))
    answer = whole_bed.kubectl("exec", "asks", "--", "python3", "-c", ASK_API_SERVER.replace("HOST", host))
    assert answer.strip() == "v1.37.2"


def test_members_of_a_headless_service_find_each_other_before_they_are_ready(
    whole_bed: ControlPlane, client: Client
) -> None:
    client.create(service("members", clusterIP="None", publishNotReadyAddresses=True))
    unready = {"readinessProbe": {"exec": {"command": ["false"]}}}
    for index, node in enumerate(whole_bed.real.names):
        member = runs(f"members-{index}", FOREVER, node=node, labels={"app": "members"}, container=unready)
        member["spec"] |= {"hostname": f"members-{index}", "subdomain": "members"}
        client.create(member)
    for index in range(3):
        seen(client, f"members-{index}", lambda found: found["status"].get("podIP"), what="with an address")
    addresses = [client.get("Pod", f"members-{index}")["status"]["podIP"] for index in range(3)]

    def found_by(asker: str) -> list[str]:
        names = [f"members-{index}.members.default.svc" for index in range(3)]
        lookup = f"import socket; print(*(socket.gethostbyname(name) for name in {names}))"
        try:
            return whole_bed.kubectl("exec", asker, "--", "python3", "-c", lookup).split()
        except subprocess.CalledProcessError:
            return []

    for index in range(3):
        asker = f"members-{index}"
        eventually(lambda asker=asker: found_by(asker) == addresses, within_s=20, what=f"{asker} finds all")  # type: ignore[misc]
        assert not is_ready(client.get("Pod", asker))


def test_a_killed_api_server_is_the_kubernetes_service_again(whole_bed: ControlPlane, client: Client) -> None:
    start(client, runs("asks", FOREVER, node="real-2"))
    whole_bed.kill("kube-apiserver")
    whole_bed.restart("kube-apiserver")
    answer = whole_bed.kubectl("exec", "asks", "--", "python3", "-c", ASK_API_SERVER.replace("HOST", "kubernetes"))
    assert answer.strip() == "v1.37.2"


def test_a_node_that_is_cut_off_runs_on_alone_and_is_found_again(whole_bed: ControlPlane, client: Client) -> None:
    client.create(service("web"))
    before, *_ = start(client, web("web-a", node="real-1"), runs("asks", FOREVER, node="real-2"))
    eventually(lambda: gets(whole_bed, "asks", "http://web/index.html") == "web-a", within_s=20, what="reached")
    whole_bed.real.cut_off("real-1")
    try:
        assert "timed out" in gets(whole_bed, "asks", f"http://{before['status']['podIP']}:8080/")
        assert "web-a" in whole_bed.real.run(
            "real-1", "curl", "-s", f"http://{before['status']['podIP']}:8080/index.html"
        )
    finally:
        whole_bed.real.rejoin("real-1")
    eventually(lambda: gets(whole_bed, "asks", "http://web/index.html") == "web-a", within_s=20, what="reached again")
    assert identity(client.get("Pod", "web-a")) == identity(before)


def test_volumes_outlive_their_pods_and_a_power_cut_of_their_node(whole_bed: ControlPlane, client: Client) -> None:
    """Each start adds a line: one at first, two after a deletion, and one more where the power was cut."""
    client.create(service("data", clusterIP="None"))
    client.create(keeper_of_data("data"))
    members = [member(client, f"data-{index}", is_ready, what="ready") for index in range(3)]
    nodes = [member["spec"]["nodeName"] for member in members]
    assert sorted(nodes) == whole_bed.real.names
    first = starts(whole_bed, "data-0")
    assert len(first) == 1

    client.delete("Pod", "data-0")
    again = member(client, "data-0", is_ready, what="ready again")
    assert again["metadata"]["uid"] != members[0]["metadata"]["uid"]
    assert again["spec"]["nodeName"] == nodes[0]
    assert starts(whole_bed, "data-0")[:1] == first
    assert len(starts(whole_bed, "data-0")) == 2

    whole_bed.real.kill(nodes[0])
    try:
        eventually(lambda: not whole_bed.real.is_ready(nodes[0]), within_s=90, what="node not Ready")
        assert condition(client.get("Node", nodes[0]), "Ready")["status"] == "Unknown"
    finally:
        whole_bed.real.bring_back(nodes[0])
    seen(client, "data-0", lambda found: restarts(found) == 1 and is_ready(found), what="started again")
    assert len(starts(whole_bed, "data-0")) == 3
    assert [len(starts(whole_bed, f"data-{index}")) for index in (1, 2)] == [1, 1]


def test_a_released_volume_can_be_made_anew(whole_bed: ControlPlane, client: Client) -> None:
    node = "real-2"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "once"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
    }
    client.create(claim)
    user = runs(
        "writes", f"echo 1 > /data/file; {FOREVER}", node="", spec={"nodeSelector": {"kubernetes.io/hostname": node}}
    )
    del user["spec"]["nodeName"]
    user["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "once"}}]
    user["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    start(client, user)
    volume = client.get("PersistentVolumeClaim", "once")["spec"]["volumeName"]

    def phase() -> str:
        return str(client.get("PersistentVolume", volume)["status"].get("phase"))

    whole_bed.real.renew_volumes(node)
    assert phase() == "Bound", "one that is in use stays"
    client.delete("Pod", "writes")
    client.delete("PersistentVolumeClaim", "once")
    eventually(lambda: phase() == "Released", within_s=30, what="volume released")
    whole_bed.real.renew_volumes(node)
    eventually(lambda: phase() == "Available", within_s=20, what="volume available")
    folder = Path(client.get("PersistentVolume", volume)["spec"]["local"]["path"])
    assert list(folder.iterdir()) == []
    mine = [thing for thing in client.list_all("PersistentVolume") if thing["metadata"]["name"].startswith(node)]
    assert len(mine) == whole.VOLUMES


def test_a_whole_cluster_left_running_is_stopped_without_a_rest(
    node_binaries: Binaries, kubesteer_image: Path, tmp_path: Path
) -> None:
    """Five of the control plane with KWOK; the room; and the node's four."""
    note_file = tmp_path / "running.json"
    note = up(
        node_binaries, note_file, nodes=1, real_nodes=1, whole=True, images=[kubesteer_image], scheduler_config={}
    )
    try:
        kubectl = [str(node_binaries.path("kubectl")), f"--kubeconfig={note.kubeconfig}"]
        pods = json.loads(subprocess.check_output([*kubectl, "get", "pods", "-A", "-o", "json"]))["items"]
        assert {pod["spec"]["nodeName"] for pod in pods} == {"real-0"}, "nothing that must run lands on KWOK's node"
    finally:
        assert down(note_file) == 10
    left = [str(folder) for folder in Path("/sys/fs/cgroup").glob(f"*/{note.directory.name}*")]
    assert (left, note.directory.exists()) == ([], False)


def test_the_volumes_are_enough_for_what_the_manifests_claim() -> None:
    """A member of etcd a node, and the snapshots beside one of them."""
    etcd = [
        thing
        for name in ("statefulset.yaml", "maintenance.yaml")
        for thing in yaml.safe_load_all((MANIFESTS / "base" / "etcd" / name).read_text())
    ]
    claims = [thing["spec"] for thing in etcd if thing["kind"] == "PersistentVolumeClaim"]
    claims += [each["spec"] for thing in etcd for each in thing["spec"].get("volumeClaimTemplates", ())]
    sizes = [int(claim["resources"]["requests"]["storage"].removesuffix("Gi")) for claim in claims]
    assert len(sizes) == 2
    assert len(sizes) <= whole.VOLUMES
    assert max(sizes) <= int(whole.VOLUME_SIZE.removesuffix("Gi"))
