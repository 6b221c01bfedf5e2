"""The test bed itself: the real control plane starts, survives, tells the truth and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tools.cluster import upstream_extenders as upstream
from tools.cluster.client import ApiError, Client
from tools.cluster.controlplane import ControlPlane
from tools.cluster.detached import AlreadyUpError, down, up
from tools.cluster.objects import node, pod
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process, StartError
from tools.cluster.waiting import eventually

from .fixtures import binaries, control_plane, older_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.cluster.build import Binaries

__all__ = ["binaries", "control_plane", "older_binaries"]

EGRESS = "kubesteer.io/egress-bps"


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[Client]:
    """The module's API server, emptied of schedulers, pods and nodes after the test."""
    yield control_plane.client
    for name in [name for name in control_plane.parts if "scheduler" in name]:
        control_plane.stop_scheduler(name)
    for kind in ("Pod", "Node"):
        for thing in control_plane.client.list_all(kind):
            control_plane.client.delete(kind, thing["metadata"]["name"])


def node_of(client: Client, name: str) -> str | None:
    found: str | None = client.get("Pod", name)["spec"].get("nodeName")
    return found


def bound_node(client: Client, name: str) -> str | None:
    return eventually(lambda: node_of(client, name), within_s=20, what=f"pod {name} bound")


def test_the_stock_scheduler_binds_a_pod_to_the_node_that_has_the_resource(
    control_plane: ControlPlane, client: Client
) -> None:
    client.create_all([node("plain"), node("fast", resources={EGRESS: "10G"})])
    client.create(pod("asks", limits={EGRESS: "1G"}))
    control_plane.start_scheduler()
    assert bound_node(client, "asks") == "fast"
    assert "kube-scheduler" in control_plane.parts
    assert 'result="scheduled"' in control_plane.parts["kube-scheduler"].metrics()


@pytest.mark.parametrize("part", ["kube-apiserver", "etcd"])
def test_a_killed_part_comes_back_with_every_object(binaries: Binaries, part: str) -> None:
    with ControlPlane(binaries) as bed:
        bed.client.create_all([node(f"n{i}") for i in range(20)])
        killed = bed.parts[part].process
        bed.kill(part)
        assert not killed.running
        bed.restart(part)
        assert len(bed.client.list_all("Node")) == 20
        bed.client.create(node("later"))
        assert bed.parts[part].process.pid != killed.pid


def test_a_scheduler_can_be_replaced_by_one_with_another_configuration(
    control_plane: ControlPlane, client: Client
) -> None:
    client.create(node("n"))
    control_plane.start_scheduler()
    control_plane.stop_scheduler()
    control_plane.start_scheduler({"profiles": [{"schedulerName": "other"}]})
    client.create_all([pod("for-default"), pod("for-other", spec={"schedulerName": "other"})])
    assert bound_node(client, "for-other") == "n"
    assert node_of(client, "for-default") is None


@pytest.mark.usefixtures("client")
def test_a_scheduler_that_cannot_start_shows_why(control_plane: ControlPlane) -> None:
    with pytest.raises(StartError, match="percentageOfNodesToScore"):
        control_plane.start_scheduler({"percentageOfNodesToScore": 1000})


def test_a_watch_tells_what_happens_after_the_list(client: Client) -> None:
    since = client.request("GET", "/api/v1/nodes")["metadata"]["resourceVersion"]
    client.create(node("seen"))
    events = client.watch("Node", since=since, for_s=10)
    first = next(events)
    events.close()  # type: ignore[attr-defined]
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "seen")


def test_a_patch_reaches_the_status_and_a_delete_is_final(client: Client) -> None:
    client.create(node("n"))
    client.patch("Node", "n", {"status": {"allocatable": {"cpu": "2"}}}, subresource="status")
    assert client.get("Node", "n")["status"]["allocatable"]["cpu"] == "2"
    client.delete("Node", "n")
    with pytest.raises(ApiError) as caught:
        client.get("Node", "n")
    assert caught.value.status == 404


def test_applying_twice_makes_one_object(control_plane: ControlPlane, client: Client) -> None:
    for value in ("1", "2"):
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"key": value}}
        client.apply(config_map)
    assert client.get("ConfigMap", "c")["data"] == {"key": "2"}
    assert control_plane.kubectl("get", "configmap", "c", "-o", "jsonpath={.data.key}") == "2"


def test_kwok_makes_nodes_ready_and_pods_of_a_deployment_run(binaries: Binaries) -> None:
    with ControlPlane(binaries, scheduler_config={}, controller_manager=True, kwok=True) as bed:
        silent = node("n")
        del silent["status"]["conditions"]
        bed.client.create(silent)
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("any")["spec"]}
        bed.client.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
            }
        )

        def running() -> bool:
            pods = bed.client.list_all("Pod", params={"labelSelector": "app=web"})
            return [p["status"]["phase"] for p in pods] == ["Running"] * 3

        eventually(running, within_s=30, what="three running pods")


def test_upstreams_own_extender_scenario_ends_on_machine2_and_without_its_third_extender_on_machine3(
    control_plane: ControlPlane, client: Client
) -> None:
    """Both pass 2 and 3. Two extenders: 3*10 + 4*1 = 34 against 3*1 + 4*10 = 43; the third adds 10*50 and 10*5."""
    nodes, wanted = upstream.nodes_and_pod()
    client.create_all(nodes)
    with upstream.serving(client, upstream.FIRST, upstream.SECOND, upstream.THIRD) as (first, second, third):
        for name, entry, machine in (("two", None, "machine3"), ("three", upstream.third_entry(third), "machine2")):
            control_plane.start_scheduler(upstream.configuration(first, second, entry))
            client.create({**wanted, "metadata": {"name": name, "namespace": "default"}})
            assert bound_node(client, name) == machine
            control_plane.stop_scheduler()


def test_the_extender_that_does_nothing_lets_every_node_pass(
    control_plane: ControlPlane, client: Client, binaries: Binaries, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [binaries.path("noop", bundle="own"), f"--addr=127.0.0.1:{port}"]
    with Guard() as guard:
        noop = Process("noop", command, directory=tmp_path, log=tmp_path / "noop.log", guard=guard)
        noop.wait_until(lambda: _answers(f"{url}/healthz"), within_s=20)
        args: dict[str, Any] = {"Pod": {}, "Nodes": None, "NodeNames": ["a", "b"]}
        assert httpx.post(f"{url}/filter", json=args).json()["NodeNames"] == ["a", "b"]
        scores = [{"Host": "a", "Score": 0}, {"Host": "b", "Score": 0}]
        assert httpx.post(f"{url}/prioritize", json=args).json() == scores
        client.create_all([node("a"), node("b")])
        control_plane.start_scheduler({"extenders": [upstream.third_entry(url, weight=1)]})
        client.create(pod("p"))
        assert bound_node(client, "p") in ("a", "b")


def test_stopping_leaves_no_process_and_no_file(binaries: Binaries) -> None:
    with ControlPlane(binaries, scheduler_config={}) as bed:
        pids = [part.process.pid for part in bed.parts.values()]
        directory = bed.layout.directory
        assert len(pids) == 3
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not directory.exists()


def test_a_detached_control_plane_runs_until_it_is_taken_down(binaries: Binaries, tmp_path: Path) -> None:
    """Five programs: etcd, API server, controller manager, KWOK, scheduler."""
    note_file = tmp_path / "running.json"
    note = up(binaries, note_file, nodes=2, scheduler_config={})
    try:
        with pytest.raises(AlreadyUpError, match=note.url):
            up(binaries, note_file, nodes=1, scheduler_config={})
        kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={note.kubeconfig}"]
        assert subprocess.check_output([*kubectl, "get", "nodes", "-o", "name"], text=True).split() == [
            "node/node-0",
            "node/node-1",
        ]
    finally:
        assert down(note_file) == 5
    assert down(note_file) == 0
    assert not note.directory.exists()


@pytest.mark.usefixtures("binaries")
def test_the_programs_end_with_a_python_that_is_killed() -> None:
    script = """
import os, signal
from tools.cluster.build import cache_folder, find
from tools.cluster.controlplane import ControlPlane
bed = ControlPlane(find(cache_folder(os.environ)))
bed.start()
print(bed.layout.directory, *[part.process.pid for part in bed.parts.values()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    directory, *pids = result.stdout.split()
    assert len(pids) == 2, result.stderr
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), within_s=20, what="programs gone")
    for file in sorted(Path(directory).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    Path(directory).rmdir()


def test_the_older_minor_serves_and_schedules(older_binaries: Binaries) -> None:
    with ControlPlane(older_binaries, older=True) as bed:
        bed.start_scheduler(older=True)
        bed.client.create(node("n"))
        bed.client.create(pod("p"))
        assert bound_node(bed.client, "p") == "n"
        assert bed.client.request("GET", "/version")["minor"] == "34"


AMOUNTS = {"CPU", "Memory", "Egress"}


def oracle(binaries: Binaries, *arguments: str) -> list[dict[str, Any]]:
    clusters: list[dict[str, Any]] = json.loads(
        subprocess.check_output([binaries.path("oracle", bundle="own"), *arguments])
    )
    return clusters


def test_the_oracle_answers_for_every_node_and_every_incoming_pod(binaries: Binaries) -> None:
    clusters = oracle(binaries, "--seed=5", "--clusters=60")
    assert len(clusters) == 60
    for cluster in clusters:
        names = {item["metadata"]["name"] for item in cluster["Nodes"]}
        assert set(cluster) == {"Nodes", "Pods", "Incoming", "WantNodes", "WantPods"}
        assert set(cluster["WantNodes"]) == names
        assert set(cluster["WantPods"]) == {"new0", "new1", "new2"}
        for counted in cluster["WantNodes"].values():
            assert {key: set(value) for key, value in counted.items()} == dict.fromkeys(
                ("Allocatable", "Requested", "NonZeroRequested"), AMOUNTS
            )
        for answer in cluster["WantPods"].values():
            assert set(answer) == {"Requests", "NonZeroRequests", "Balanced", "EgressFits"}
            assert set(answer["Requests"]) == set(answer["NonZeroRequests"]) == AMOUNTS
            assert set(answer["EgressFits"]) == names
            asks = any(answer["Requests"].values())
            assert set(answer["Balanced"]) == (names if asks else set())


def test_the_oracle_gives_the_same_answers_when_it_reads_its_own_clusters(binaries: Binaries, tmp_path: Path) -> None:
    clusters = oracle(binaries, "--seed=6", "--clusters=60")
    file = tmp_path / "clusters.json"
    file.write_text(json.dumps([{**cluster, "WantNodes": None, "WantPods": None} for cluster in clusters]))
    assert oracle(binaries, f"--input={file}") == clusters
    assert oracle(binaries, "--seed=7", "--clusters=60") != clusters


@pytest.mark.parametrize(
    ("container", "cpu", "memory"),
    [
        pytest.param({"cpu": "100u", "memory": "100m"}, 1, 1, id="rounded up: 0.1 millicores, 0.1 bytes"),
        pytest.param({"cpu": "1.5", "memory": "64Mi"}, 1500, 67108864, id="1.5 = 1500m, 64 * 2^20 bytes"),
        pytest.param({"cpu": "100e-3", "memory": "1e3"}, 100, 1000, id="100e-3 = 0.1 = 100m, 1e3 = 1000"),
    ],
)
def test_the_oracle_reads_odd_quantities_as_the_scheduler_does(
    binaries: Binaries, tmp_path: Path, container: dict[str, str], cpu: int, memory: int
) -> None:
    file = tmp_path / "clusters.json"
    file.write_text(json.dumps([{"Nodes": [node("n")], "Pods": [], "Incoming": [pod("p", requests=container)]}]))
    [cluster] = oracle(binaries, f"--input={file}")
    assert cluster["WantPods"]["p"]["Requests"] == {"CPU": cpu, "Memory": memory, "Egress": 0}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
