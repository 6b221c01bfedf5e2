"""Real nodes: containers run, end, starve and are shaped there, and the kubelet's own record says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.cluster.build import Binaries
from tools.cluster.detached import down, up
from tools.cluster.nodes.cgroups import hierarchies
from tools.cluster.nodes.packages import why_not
from tools.cluster.waiting import eventually

from .fixtures import binaries, node_binaries, real_bed
from .real_pods import (
    condition,
    container_status,
    event_reasons,
    identity,
    is_ready,
    is_running,
    last_end,
    push,
    restart_kubelet,
    restarts,
    runs,
    seen,
    server,
    start,
    waiting_reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "node_binaries", "real_bed"]

EGRESS = "kubesteer.io/egress-bps"
FOREVER = "sleep infinity"
M, G = 10**6, 10**9


@pytest.fixture
def client(real_bed: ControlPlane) -> Iterator[Client]:
    """The API server, emptied of pods after the test."""
    yield real_bed.client
    for thing in real_bed.client.list_all("Pod"):
        real_bed.client.delete("Pod", thing["metadata"]["name"])


def published(client: Client, node: str, field: str = "allocatable") -> str | None:
    amount: str | None = client.get("Node", node)["status"][field].get(EGRESS)
    return amount


def publish(client: Client, node: str, amount: str) -> None:
    """Make the number the node's capacity, and wait until its kubelet has made it allocatable."""
    client.patch("Node", node, {"status": {"capacity": {EGRESS: amount}}}, subresource="status")
    eventually(lambda: published(client, node) == amount, within_s=20, what=f"{node}: {amount} allocatable")


def test_two_real_nodes_are_ready_with_the_machines_own_kernel(real_bed: ControlPlane) -> None:
    nodes = real_bed.client.list_all("Node")
    assert [node["metadata"]["name"] for node in nodes] == ["real-0", "real-1"]
    for node in nodes:
        assert condition(node, "Ready")["reason"] == "KubeletReady"
        info = node["status"]["nodeInfo"]
        assert (info["kernelVersion"], info["kubeletVersion"]) == (os.uname().release, "v1.37.2")


def test_the_scheduler_and_a_service_account_reach_a_real_pod(real_bed: ControlPlane, client: Client) -> None:
    ask = """
import json, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
trusted = ssl.create_default_context(cafile=folder + "ca.crt")
token = open(folder + "token").read()
request = urllib.request.Request("https://10.96.0.1/version", headers={"Authorization": "Bearer " + token})
print(json.load(urllib.request.urlopen(request, context=trusted))["gitVersion"])
"""
    made = runs("asks", f"python3 -c '{ask}'; {FOREVER}", node="")
    del made["spec"]["nodeName"]
    [running] = start(client, made)
    assert running["spec"]["nodeName"] in real_bed.real.names
    eventually(lambda: real_bed.kubectl("logs", "asks").strip() == "v1.37.2", within_s=20, what="the pod's own answer")


def test_a_container_that_exits_1_is_started_again_and_backs_off(client: Client) -> None:
    client.create(runs("exits", "exit 1", node="real-0"))
    found = seen(
        client, "exits", lambda p: waiting_reason(p) == "CrashLoopBackOff" and restarts(p) >= 1, what="backs off"
    )
    assert (last_end(found)["exitCode"], last_end(found)["reason"]) == (1, "Error")
    assert "BackOff" in event_reasons(client, "exits")


def test_a_container_over_its_memory_limit_is_killed_for_it(client: Client) -> None:
    client.create(runs("greedy", "tail /dev/zero", node="real-0", limits={"memory": "64Mi"}))
    found = seen(client, "greedy", lambda p: restarts(p) >= 1 and last_end(p), what="killed")
    assert (last_end(found)["exitCode"], last_end(found)["reason"]) == (137, "OOMKilled")


def test_a_failing_liveness_probe_restarts_the_container(client: Client) -> None:
    """The probe fails as soon as it may; SIGTERM does nothing to a shell that is process 1, so SIGKILL: 128 + 9."""
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    client.create(runs("sick", FOREVER, node="real-0", container={"livenessProbe": probe}))
    found = seen(client, "sick", lambda p: restarts(p) >= 1 and last_end(p), what="restarted")
    assert last_end(found)["exitCode"] == 137
    assert {"Unhealthy", "Killing"} <= event_reasons(client, "sick")


def test_an_image_that_cannot_be_pulled_keeps_the_container_waiting(client: Client) -> None:
    client.create(runs("none", FOREVER, node="real-0", container={"image": "127.0.0.1:1/none:1"}))
    found = seen(client, "none", lambda p: waiting_reason(p) in ("ErrImagePull", "ImagePullBackOff"), what="waits")
    assert restarts(found) == 0
    assert found["status"]["phase"] == "Pending"
    assert "Failed" in event_reasons(client, "none")


def test_a_container_that_starts_slowly_runs_before_it_is_ready(client: Client) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1}
    script = f"sleep 4; touch /tmp/up; {FOREVER}"
    client.create(runs("slow", script, node="real-0", container={"readinessProbe": probe}))
    early = seen(client, "slow", is_running, what="running")
    assert not is_ready(early)
    late = seen(client, "slow", is_ready, what="ready")
    started = container_status(late)["state"]["running"]["startedAt"]
    assert condition(late, "Ready")["lastTransitionTime"] >= started
    assert restarts(late) == 0


def test_a_pod_over_its_own_volumes_limit_is_evicted(client: Client) -> None:
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}}
    script = f"head -c 30000000 /dev/zero > /scratch/file; {FOREVER}"
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    client.create(runs("stuffs", script, node="real-0", container=mounts, spec={"volumes": [volume]}))
    found = seen(client, "stuffs", lambda p: p["status"].get("reason") == "Evicted", what="evicted")
    assert found["status"]["phase"] == "Failed"
    assert 'exceeds the limit "10Mi"' in found["status"]["message"]
    assert condition(found, "DisruptionTarget") == {}


def test_a_node_that_runs_out_of_disk_evicts_who_fills_it_and_recovers(client: Client) -> None:
    """512 MiB of volumes, evicted below 20 % of it: 450,000,000 bytes leave 16 %."""
    volume = {"name": "scratch", "emptyDir": {}}
    script = f"head -c 450000000 /dev/zero > /scratch/file; {FOREVER}"
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    start(client, runs("modest", FOREVER, node="real-1", requests={"ephemeral-storage": "1Mi"}))
    client.create(runs("fills", script, node="real-1", container=mounts, spec={"volumes": [volume]}))
    found = seen(client, "fills", lambda p: p["status"].get("reason") == "Evicted", what="evicted")
    assert "low on resource: ephemeral-storage" in found["status"]["message"]
    assert condition(found, "DisruptionTarget")["reason"] == "TerminationByKubelet"

    def pressure() -> str:
        return str(condition(client.get("Node", "real-1"), "DiskPressure")["status"])

    assert pressure() == "True"
    eventually(lambda: pressure() == "False", within_s=60, what="pressure gone")
    assert is_running(client.get("Pod", "modest"))


def test_a_pod_deleted_by_hand_ends_with_its_deletion_on_record(client: Client) -> None:
    """The last that is seen of it: being deleted, and its container killed after its second of grace."""
    [running] = start(client, runs("unwanted", FOREVER, node="real-0"))
    watch = client.watch("Pod", namespace="default", since=running["metadata"]["resourceVersion"], for_s=30)
    client.delete("Pod", "unwanted", grace_period_s=1)
    changes = []
    for event in watch:
        changes.append(event["object"])
        if event["type"] == "DELETED":
            break
    assert all("deletionTimestamp" in change["metadata"] for change in changes)
    assert container_status(changes[-1])["state"]["terminated"]["exitCode"] == 137
    assert restarts(changes[-1]) == 0


def test_a_published_resource_and_the_pods_on_it_survive_a_kubelet_restart(
    real_bed: ControlPlane, client: Client
) -> None:
    publish(client, "real-0", "10G")
    [before] = start(client, runs("promised", FOREVER, node="real-0", limits={EGRESS: "1G"}))
    restart_kubelet(real_bed, "real-0")
    assert (published(client, "real-0", "capacity"), published(client, "real-0")) == ("10G", "10G")
    after = client.get("Pod", "promised")
    assert is_running(after)
    assert identity(after) == identity(before)


def test_a_kubelet_that_restarts_fails_a_pod_whose_promise_no_longer_fits(
    real_bed: ControlPlane, client: Client
) -> None:
    """Why a published number may never fall below what was promised: 500M are left of the 1G that the pod has."""
    publish(client, "real-0", "10G")
    start(client, runs("promised", FOREVER, node="real-0", limits={EGRESS: "1G"}))
    publish(client, "real-0", "500M")
    assert is_running(client.get("Pod", "promised"))
    restart_kubelet(real_bed, "real-0")
    found = seen(client, "promised", lambda p: p["status"]["phase"] == "Failed", what="failed")
    assert found["status"]["reason"] == f"OutOf{EGRESS}"


def test_a_cut_link_leaves_the_node_ready_and_its_pods_alone_also_over_a_kubelet_restart(
    real_bed: ControlPlane, client: Client
) -> None:
    publish(client, "real-1", "10G")
    before, there = start(
        client, runs("here", FOREVER, node="real-1", limits={EGRESS: "1G"}), server("there", node="real-0")
    )
    address = there["status"]["podIP"]
    connect = ("exec", "here", "--", "timeout", "2", "bash", "-c", f"echo > /dev/tcp/{address}/5201")

    def reaches() -> bool:
        try:
            real_bed.kubectl(*connect)
        except subprocess.CalledProcessError:
            return False
        return True

    assert reaches()
    real_bed.real.cut("real-1")
    try:
        assert real_bed.real.run("real-1", "cat", "/sys/class/net/eth1/carrier").strip() == "0"
        assert not reaches()
        restart_kubelet(real_bed, "real-1")
        assert real_bed.real.is_ready("real-1")
        after = client.get("Pod", "here")
        assert is_running(after)
        assert identity(after) == identity(before)
    finally:
        real_bed.real.mend("real-1")
    assert real_bed.real.run("real-1", "cat", "/sys/class/net/eth1/carrier").strip() == "1"
    eventually(reaches, within_s=20, what="the way to the other node")


@pytest.mark.parametrize(
    ("client_has", "server_has", "low_bps", "high_bps"),
    [
        pytest.param({}, {}, 500 * M, 100 * G, id="unshaped: as fast as this machine goes"),
        pytest.param(
            {"kubernetes.io/egress-bandwidth": "20M"}, {}, 17 * M, 21 * M, id="egress 20 Mbit/s, less headers"
        ),
        pytest.param(
            {}, {"kubernetes.io/ingress-bandwidth": "10M"}, 8 * M, 11 * M, id="ingress 10 Mbit/s, less headers"
        ),
    ],
)
def test_traffic_between_pods_of_two_nodes_is_shaped_by_their_annotations(
    real_bed: ControlPlane,
    client: Client,
    client_has: dict[str, str],
    server_has: dict[str, str],
    low_bps: float,
    high_bps: float,
) -> None:
    _, receiver = start(
        client,
        runs("sends", FOREVER, node="real-0", annotations=client_has),
        server("receives", node="real-1", annotations=server_has),
    )
    rate_bps = push(real_bed, "sends", receiver["status"]["podIP"], for_s=4)
    assert low_bps < rate_bps < high_bps


def test_the_kubelet_answers_the_api_server_alone(real_bed: ControlPlane, client: Client) -> None:
    summary = client.request("GET", "/api/v1/nodes/real-0/proxy/stats/summary")
    assert summary["node"]["nodeName"] == "real-0"
    kubelet = f"https://{real_bed.real.addresses.node(0)}:10250/stats/summary"
    anyone = ("curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}", kubelet)
    assert subprocess.check_output(anyone, text=True) == "401"


def leftovers(directory: Path, interface: str) -> list[str]:
    """What a cluster with real nodes left of its files, cgroups and interfaces."""
    cgroups = [str(folder) for folder in Path("/sys/fs/cgroup").glob(f"*/{directory.name}*")]
    files = [str(directory)] if directory.exists() else []
    interfaces = [interface] if Path("/sys/class/net", interface).exists() else []
    return [*cgroups, *files, *interfaces]


def test_kwok_nodes_stand_beside_real_ones_and_down_leaves_nothing(node_binaries: Binaries, tmp_path: Path) -> None:
    """Nine programs: etcd, API server, controller manager, KWOK, scheduler; the room, and the node's three."""
    note = up(node_binaries, tmp_path / "running.json", nodes=1, real_nodes=1, scheduler_config={})
    try:
        kubectl = [str(node_binaries.path("kubectl")), f"--kubeconfig={note.kubeconfig}"]
        for name in ("node-0", "real-0"):
            subprocess.run(
                [*kubectl, "create", "-f", "-"], input=json.dumps(runs(name, FOREVER, node=name)), text=True, check=True
            )
            subprocess.run([*kubectl, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=30s"], check=True)
        node = json.loads(
            subprocess.check_output([*kubectl, "get", "node", "real-0", "-o", "json", "--show-managed-fields"])
        )
        assert "kwok" not in {field["manager"] for field in node["metadata"]["managedFields"]}
        [interface] = [
            link.name
            for link in Path("/sys/class/net").glob("bed-room-*")
            if note.url.startswith(f"https://10.{link.name.rpartition('-')[2]}.")
        ]
        assert leftovers(note.directory, interface) != []
    finally:
        assert down(tmp_path / "running.json") == 9
    eventually(lambda: leftovers(note.directory, interface) == [], within_s=20, what="nothing left")


@pytest.mark.usefixtures("node_binaries")
def test_a_python_that_is_killed_takes_its_real_nodes_along() -> None:
    script = """
import os, signal
from tools.cluster.build import cache_folder, find
from tools.cluster.controlplane import ControlPlane
from tests.e2e.real_pods import runs, start
bed = ControlPlane(find(cache_folder(os.environ)), real_nodes=1)
bed.start()
start(bed.client, runs("p", "sleep infinity", node="real-0"))
print(bed.layout.directory, bed.real.addresses.interface, *[part.process.pid for part in bed.parts.values()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    directory, interface, *pids = result.stdout.split()
    assert len(pids) == 7, result.stderr
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), within_s=20, what="programs gone")
    eventually(lambda: leftovers(Path(directory), interface) == [], within_s=20, what="nothing left")


@pytest.mark.parametrize(
    ("mounts", "controllers"),
    [
        pytest.param(["cpu,cpuacct", "memory", "pids"], ["cpu,cpuacct", "memory", "pids"], id="three, one shared"),
        pytest.param(["cpu", "memory"], [], id="without pids a kubelet cannot run"),
        pytest.param([], [], id="cgroup v2 alone"),
    ],
)
def test_cgroup_v1_is_found_where_all_that_a_kubelet_needs_is_mounted(
    tmp_path: Path, mounts: list[str], controllers: list[str]
) -> None:
    lines = [f"cgroup /sys/fs/cgroup/{names} cgroup rw,relatime,{names} 0 0" for names in mounts]
    (tmp_path / "mounts").write_text("\n".join([*lines, "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0"]))
    assert hierarchies(tmp_path / "mounts") == [Path("/sys/fs/cgroup", names) for names in controllers]


def test_without_root_one_line_says_why_there_are_no_real_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert why_not() == "real nodes need root: namespaces, mounts and cgroups are made"
