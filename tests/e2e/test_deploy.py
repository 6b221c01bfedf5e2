"""`kubesteer deploy`, `status` and `undeploy` on a whole real cluster: from nothing to nothing, with faults between.

One cluster for all; each test says whether it begins with an empty cluster or with a deployment, and leaves it so: any
can be run alone. Agents are told to trust their node's virtual interface, so that nodes publish a capacity and pods with
SLOs can be placed.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.certificates.values import wanted
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying.proof import sample_sum
from tests.background import Background
from tests.deploying.cluster_behaviour import (
    BEHAVIOUR,
    kinds_that_may_not_be_listed_are_told_beside_the_others,
    place,
)
from tests.etcd_access.by_hand import printed
from tests.manifests.written import MANIFESTS
from tools.cluster.objects import pod
from tools.cluster.waiting import eventually

from .deploy_command import Command, add_settings, judged, pods_of, shell_of, well
from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed
from .real_pods import is_running, runs, server, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tools.cluster.build import Binaries
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "kubesteer_image", "node_binaries", "whole_bed"]

AUTHORITIES = wanted("kubesteer").authorities
EGRESS = "kubesteer.io/egress-bps"
IMAGE, NEXT = "localhost/kubesteer:0.1.0", "localhost/kubesteer:0.1.0-next"
PASSING = {"events", "endpoints", "endpointslices", "leases", "controllerrevisions", "persistentvolumes", "pods"}
"""Kinds that the cluster itself writes all the time."""
THROUGH_KUBESTEER = {"schedulerName": "kubesteer", "terminationGracePeriodSeconds": 0}


@pytest.fixture(scope="module")
def command(whole_bed: ControlPlane, node_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("repository") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    add_settings(folder / "base/agent/settings.yaml", "network", trust_virtual=True)
    ctr = node_binaries.path("ctr", bundle="containerd")
    for name in whole_bed.real.names:
        whole_bed.real.run(name, ctr, "-n", "k8s.io", "images", "tag", IMAGE, NEXT)
    return Command(whole_bed, node_binaries.path("kubectl"), folder)


@pytest.fixture(scope="module")
def before(command: Command) -> dict[str, set[str]]:
    """Every object of the cluster, by kind, before anything is deployed."""
    bed = command.bed
    eventually(
        lambda: all(each["status"]["phase"] == "Active" for each in bed.client.list_all("Namespace")),
        within_s=60,
        what="no namespace on its way out",
    )
    return everything(bed)


@pytest.fixture
def empty(command: Command, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Nothing of kubesteer's is there; gives all that is."""
    if everything(command.bed) != before:
        told = command.run("undeploy", "--yes")
        assert told.code == 0, told.text
    return before


@pytest.fixture
def deployed(command: Command, before: dict[str, set[str]]) -> Command:
    """All is well with the first image, by a deployment where no test before has left it so."""
    assert before
    if not well(command) or NEXT in images(command.bed):
        told = command.deploy("--yes", "--force-conflicts", "--timeout", "200")
        assert told.code == 0, told.text
        eventually(lambda: well(command), within_s=60, what="well", every_s=2)
    return command


def everything(bed: ControlPlane) -> dict[str, set[str]]:
    kinds = [
        line for line in bed.kubectl("api-resources", "--verbs=list", "--output=name").split()
        if line.partition(".")[0] not in PASSING
    ]  # fmt: skip
    listed = bed.kubectl("get", ",".join(kinds), "--all-namespaces", "--output=name", "--ignore-not-found")
    found: dict[str, set[str]] = {}
    for line in listed.split():
        kind, _, name = line.partition("/")
        found.setdefault(kind, set()).add(name)
    return found


@pytest.mark.parametrize("behaviour", BEHAVIOUR, ids=lambda each: each.__name__)
def test_kubectl_behaves_as_the_cluster_in_memory(command: Command, behaviour: Callable[[Kubectl, str], None]) -> None:
    """Each in a namespace of its own, which nobody waits for to be gone but `before`."""
    kubectl = Kubectl(program=str(command.kubectl), kubeconfig=command.bed.kubeconfig)
    where = behaviour.__name__.replace("_", "-")
    try:
        behaviour(kubectl, where)
    finally:
        kubectl.delete([place(where)], timeout_s=0)


def test_who_may_not_is_refused_before_anything_is_changed(command: Command, empty: dict[str, set[str]]) -> None:
    """The default ServiceAccount has no rights but to look at itself."""
    bed = command.bed
    bed.kubectl("create", "clusterrolebinding", "viewer", "--clusterrole=view", "--serviceaccount=default:default")
    bed.kubectl("create", "clusterrole", "lists", "--verb=list,get", "--resource=nodes,storageclasses.storage.k8s.io")
    bed.kubectl("create", "clusterrolebinding", "lists", "--clusterrole=lists", "--serviceaccount=default:default")
    token = bed.kubectl("create", "token", "default").strip()
    viewer = bed.kubeconfig_for(token, "viewer")
    kinds_that_may_not_be_listed_are_told_beside_the_others(Kubectl(program=str(command.kubectl), kubeconfig=viewer))
    told = command.deploy("--yes", kubeconfig=viewer)
    assert (told.code, judged(told, "rights")["level"]) == (2, "refuse"), told.text
    assert "you may not" in judged(told, "rights")["said"]
    assert "secrets" in judged(told, "reading")["said"]
    for each in ("clusterrolebinding/viewer", "clusterrolebinding/lists", "clusterrole/lists"):
        bed.kubectl("delete", each)
    assert everything(bed) == empty


def test_without_a_terminal_somebody_has_to_say_yes(command: Command, empty: dict[str, set[str]]) -> None:
    told = command.deploy()
    assert (told.code, "--yes" in told.text) == (2, True), told.text
    assert everything(command.bed) == empty


def test_a_dry_run_changes_nothing(command: Command, empty: dict[str, set[str]]) -> None:
    told = command.deploy("--dry-run")
    assert told.code == 0, told.text
    assert len(told.document["plan"]["create"]) > 50
    assert everything(command.bed) == empty


@pytest.mark.story
@pytest.mark.usefixtures("empty")
def test_from_nothing_to_a_pod_with_an_slo(command: Command) -> None:
    told = command.deploy("--yes", "--timeout", "180")
    assert told.code == 0, told.text
    proof = told.document["proof"]
    assert (proof["holds"], proof["slo"], proof["node"] in command.bed.real.names) == (True, EGRESS, True)
    assert len({each["replica"] for each in proof["opinions"]}) == 2
    assert all(each["fits"] and each["node"] == proof["node"] for each in proof["opinions"])
    assert all(each["is_done"] for each in told.document["parts"])
    assert "kubesteer-proof" not in command.bed.kubectl("get", "namespaces,clusterroles,clusterrolebindings")


def test_again_there_is_nothing_to_change_and_it_is_proven_again(deployed: Command) -> None:
    versions = generations(deployed.bed)
    told = deployed.deploy()
    assert told.code == 0, told.text
    assert [told.document["plan"][what] for what in ("create", "change", "delete")] == [[], [], []]
    assert told.document["proof"]["holds"]
    assert generations(deployed.bed) == versions


def generations(bed: ControlPlane) -> str:
    columns = "custom-columns=KIND:.kind,NAME:.metadata.name,GENERATION:.metadata.generation"
    kinds = "deployments,daemonsets,statefulsets,networkpolicies,cronjobs"
    return bed.kubectl("get", kinds, "--namespace=kubesteer", f"--output={columns}")


@pytest.mark.story
def test_status_says_that_all_is_well_and_by_whom(deployed: Command) -> None:
    told = eventually(lambda: well(deployed), within_s=30, what="all well", every_s=2)
    assert told is not None
    rows = {row["part"]: row for row in told.document["parts"]}
    assert {name: (row["ready"], row["wanted"]) for name, row in rows.items() if name in {"etcd", "extender"}} == {
        "etcd": (1, 1),
        "extender": (2, 2),
    }
    assert rows["extender"]["version"] == "kubesteer:0.1.0"
    words = {name: "; ".join(row["notes"]) for name, row in rows.items()}
    assert "leads, members that answer: 1" in words["etcd"]
    assert "knows 3 nodes" in words["extender"]
    assert "3 of 3 nodes publish" in words["agent"]
    assert "leads" in words["scheduler"]
    assert "first to expire" in words["certificates"]


@pytest.mark.story
def test_pods_with_slos_are_placed_by_kubesteer_and_run(deployed: Command) -> None:
    """Each node publishes 10 Gbit/s less 5 %: 9.5. Of four pods that ask for 6, one goes on each node; none is left."""
    bed = deployed.bed
    names = [f"wants-6g-{number}" for number in range(4)]
    for name in names:
        bed.client.create(by_kubesteer(runs(name, "sleep infinity", node="", limits={EGRESS: "6G"})))
    try:
        running = eventually(
            lambda: [each for each in map(bed_pod(bed), names) if is_running(each)][2:] and True,
            within_s=60,
            what="3 run",
        )
        assert running
        placed = {each["spec"]["nodeName"] for each in map(bed_pod(bed), names) if "nodeName" in each["spec"]}
        assert placed == set(bed.real.names)
        [left] = [each for each in map(bed_pod(bed), names) if "nodeName" not in each["spec"]]
        [told] = [row["message"] for row in left["status"]["conditions"] if row["type"] == "PodScheduled"]
        assert "Insufficient kubesteer.io/egress-bps" in told
    finally:
        for name in names:
            bed.client.delete("Pod", name)


def by_kubesteer(made: dict[str, Any]) -> dict[str, Any]:
    """The same pod, placed by kubesteer's scheduler and not by the test."""
    spec = {name: value for name, value in made["spec"].items() if name != "nodeName"}
    return {**made, "spec": {**spec, **THROUGH_KUBESTEER}}


def test_a_pod_with_an_slo_pushes_as_much_as_its_annotation_lets_it_and_the_agents_see_it(deployed: Command) -> None:
    """Two that ask for 6 of 9.5 Gbit/s are on two nodes. 20 Mbit/s go through the shaper, a little runs beside them."""
    bed = deployed.bed
    asked = {"limits": {EGRESS: "6G"}}
    try:
        [receiver] = start(bed.client, by_kubesteer(server("receives", node="", **asked)))
        script = f"exec iperf3 --client {receiver['status']['podIP']} --port 5201 --time 600"
        shaped = {"kubernetes.io/egress-bandwidth": "20M"}
        [sender] = start(bed.client, by_kubesteer(runs("sends", script, node="", annotations=shaped, **asked)))
        source, target = sender["spec"]["nodeName"], receiver["spec"]["nodeName"]
        assert source != target
        for node, direction in ((source, "egress"), (target, "ingress")):
            eventually(
                lambda node=node, direction=direction: 18e6 < rate_bps(bed, node, direction) < 25e6,  # type: ignore[misc]
                within_s=60,
                what=f"the agent of {node} sees 20 Mbit/s of {direction}",
                every_s=2,
            )
    finally:
        for name in ("sends", "receives"):
            bed.client.delete("Pod", name)


def rate_bps(bed: ControlPlane, node: str, direction: str) -> float:
    """As the node's agent measures it, told on the node's own loopback."""
    [agent] = pods_of(bed, "agent", fieldSelector=f"spec.nodeName={node}")
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8890/metrics').read().decode())"
    name = agent["metadata"]["name"]
    metrics = bed.kubectl("exec", name, "--namespace=kubesteer", "--", "python3", "-c", script)
    return sample_sum(metrics, "kubesteer_agent_traffic_bps", direction=direction)


def bed_pod(bed: ControlPlane) -> Callable[[str], dict[str, Any]]:
    return lambda name: bed.client.get("Pod", name)


class Load(Background):
    """Pods that come through kubesteer, one after the other, while something else happens.

    limits: what each asks for.
    """

    def __init__(self, bed: ControlPlane, limits: Mapping[str, str] | None = None, *, every_s: float = 1.0) -> None:
        super().__init__()
        self.bed = bed
        self.every_s = every_s
        self.names: list[str] = []
        self.faults: list[str] = []
        container = {"name": "main", "image": "localhost/bed/pause:1", "resources": {"limits": dict(limits or {})}}
        self._spec = {**THROUGH_KUBESTEER, "containers": [container]}

    def _act(self) -> None:
        while not self._over.wait(self.every_s):
            name = f"load-{len(self.names)}"
            try:
                self.bed.client.create(pod(name, labels={"load": "yes"}, spec=self._spec))
            except Exception as exc:  # noqa: BLE001 - told at the end
                self.faults.append(str(exc))
            else:
                self.names.append(name)

    def pods(self) -> list[dict[str, Any]]:
        return self.bed.client.list_all("Pod", namespace="default", params={"labelSelector": "load=yes"})

    def all_have_a_node(self) -> bool:
        return all("nodeName" in each["spec"] for each in self.pods())

    def remove(self) -> None:
        self.bed.kubectl("delete", "pods", "--selector=load=yes", "--grace-period=0", "--force")


def test_another_image_and_the_old_one_again_under_load_fail_no_pod(
    deployed: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    bed = deployed.bed
    for what, image, before in (("upgrade", NEXT, IMAGE), ("rollback", IMAGE, NEXT)):
        with Load(bed) as load:
            eventually(lambda load=load: len(load.names) > 1, within_s=30, what="pods come")  # type: ignore[misc]
            told = deployed.deploy("--yes", "--image", image, "--timeout", "200")
            placed = len(load.names)
            eventually(lambda load=load, placed=placed: len(load.names) > placed, within_s=30, what="more pods come")  # type: ignore[misc]
        assert told.code == 0, told.text
        assert len(told.document["plan"]["rolls"]) == 3, told.document["plan"]
        none_failed(load, capsys, what)
        eventually(
            lambda image=image, before=before: (before in images(bed), images(bed).count(image)) == (False, 6),  # type: ignore[misc]
            within_s=60,
            what="the last old pod is gone, and six are new",
            every_s=1,
        )


def none_failed(load: Load, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Every pod of the load is there, was given a node at once, and runs or will. Removes them."""
    eventually(load.all_have_a_node, within_s=30, what="every pod of the load has a node")
    pods = load.pods()
    assert load.names
    assert (load.faults, len(pods)) == ([], len(load.names))
    refused = load.bed.client.list_all(
        "Event", namespace="default", params={"fieldSelector": "reason=FailedScheduling"}
    )
    failed = [each["message"] for each in refused if each["involvedObject"]["name"].startswith("load-")]
    with capsys.disabled():
        print(f"\n{what}: {len(pods)} pods meanwhile, {Counter(failed)} refusals")
    assert [each for each in pods if each["status"]["phase"] not in {"Pending", "Running"}] == []
    assert failed == []
    load.remove()


def test_authorities_are_replaced_by_the_documented_steps(
    deployed: Command, shell: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A pod that comes meanwhile is placed in the end, and what was learned stays in etcd's volumes."""
    bed, kept = deployed.bed, claims(deployed.bed)
    before = {name: authority(bed, name) for name in AUTHORITIES}
    began_s = time.monotonic()
    with Load(bed, every_s=5) as load:
        shell(*printed("Replace an authority", "docs/certificates.md"))
    took_s = time.monotonic() - began_s
    eventually(load.all_have_a_node, within_s=60, what="every pod of the load has a node")
    with capsys.disabled():
        print(f"\nauthorities replaced in {took_s:.0f} s, {len(load.pods())} pods meanwhile")
    load.remove()
    assert all(authority(bed, name)["tls.crt"] != before[name]["tls.crt"] for name in AUTHORITIES)
    assert claims(bed) == kept
    eventually(lambda: well(deployed), within_s=60, what="well", every_s=2)


def authority(bed: ControlPlane, name: str) -> dict[str, str]:
    return dict(bed.client.get("Secret", name, namespace="kubesteer")["data"])


def images(bed: ControlPlane) -> list[str]:
    return bed.kubectl("get", "pods", "--namespace=kubesteer", "--output=jsonpath={..spec.containers[*].image}").split()


def test_an_image_that_cannot_be_pulled_is_named_and_the_old_pods_stay(deployed: Command) -> None:
    told = deployed.deploy("--yes", "--image", "localhost/nowhere:1", "--timeout", "500")
    assert (told.code, "an image cannot be pulled: " in told.text, "not done after" in told.text) == (1, True, False)
    late = {each["name"]: each["whys"] for each in told.document["parts"] if each["no_image"]}
    assert "image localhost/nowhere:1 cannot be pulled: " in late["extender"][0], late
    ready = deployed.bed.kubectl(
        "get", "deployment/kubesteer-extender", "--namespace=kubesteer", "--output=jsonpath={.status.readyReplicas}"
    )
    assert ready == "2"
    assert deployed.run("status").code == 1
    assert deployed.deploy("--yes", "--timeout", "120").code == 0


def test_an_edit_by_hand_is_refused_and_can_be_taken_over(deployed: Command) -> None:
    bed = deployed.bed
    bed.kubectl("scale", "deployment/kubesteer-extender", "--namespace=kubesteer", "--replicas=1")
    told = deployed.deploy("--yes")
    assert (told.code, judged(told, "dry run")["level"]) == (2, "refuse"), told.text
    assert ".spec.replicas" in judged(told, "dry run")["said"]
    assert deployed.deploy("--yes", "--force-conflicts").code == 0
    assert well(deployed)


def test_a_drained_node_takes_no_scheduling_down(deployed: Command) -> None:
    """The node of etcd's one member, whose volume is there: rewards stay as they are until it is back."""
    bed = deployed.bed
    [etcd] = pods_of(bed, "etcd")
    drained = etcd["spec"]["nodeName"]
    bed.kubectl("drain", drained, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    told = deployed.run("status")
    assert (told.code, told.document["isWell"]) == (1, False)
    assert any("etcd" in each for each in told.document["findings"]), told.document["findings"]
    assert placed_within(bed, "while-drained", within_s=20) != drained
    bed.kubectl("uncordon", drained)
    eventually(lambda: well(deployed), within_s=60, what="well again", every_s=2)


def test_a_node_that_loses_power_is_told_and_forgiven(deployed: Command) -> None:
    """One replica of each goes on; etcd too, or it is back with its node."""
    bed = deployed.bed
    bed.real.kill("real-1")
    eventually(lambda: not bed.real.is_ready("real-1"), within_s=90, what="NotReady", every_s=1)
    told = deployed.run("status")
    assert told.code == 1
    assert "1 nodes are silent and are not counted" in str(told.document["parts"])
    assert placed_within(bed, "while-dead", within_s=40) in {"real-0", "real-2"}
    bed.real.bring_back("real-1")
    eventually(lambda: well(deployed), within_s=90, what="well again", every_s=2)


def test_while_a_node_is_cut_off_pods_with_slos_are_placed(deployed: Command) -> None:
    """It hosts an extender. Its lease has not run out yet: the cluster takes it for well."""
    bed = deployed.bed
    extenders = pods_of(bed, "extender")
    lost = next(each["spec"]["nodeName"] for each in extenders if "deletionTimestamp" not in each["metadata"])
    bed.real.cut_off(lost)
    try:
        with Load(bed, {EGRESS: "1M"}) as load:
            time.sleep(8)
        eventually(load.all_have_a_node, within_s=30, what="every pod of the load has a node")
        assert load.faults == []
        assert len(load.pods()) == len(load.names) > 4
    finally:
        bed.real.rejoin(lost)
    load.remove()
    eventually(lambda: well(deployed), within_s=60, what="well again", every_s=2)


def placed_within(bed: ControlPlane, name: str, *, within_s: float) -> str:
    spec = {**THROUGH_KUBESTEER, "containers": [{"name": "main", "image": "localhost/bed/pause:1"}]}
    bed.client.create(pod(name, spec=spec))
    try:
        found: str = eventually(
            lambda: bed.client.get("Pod", name)["spec"].get("nodeName"), within_s=within_s, what=f"{name} has a node"
        )
    finally:
        bed.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    return found


def test_the_nightly_job_takes_a_snapshot_and_gives_space_back(deployed: Command) -> None:
    bed = deployed.bed
    bed.kubectl("create", "job", "now", "--namespace=kubesteer", "--from=cronjob/kubesteer-etcd-maintenance")
    bed.kubectl("wait", "job/now", "--namespace=kubesteer", "--for=condition=Complete", "--timeout=120s")
    said = bed.kubectl("logs", "job/now", "--namespace=kubesteer", "--all-containers")
    assert ".db" in said
    assert said.count("Finished defragmenting etcd member") == 1

    def snapshot_is_told() -> bool:
        rows = {row["part"]: row for row in deployed.run("status").document["parts"]}
        return any(note.startswith("the last snapshot is ") for note in rows["etcd"]["notes"])

    eventually(snapshot_is_told, within_s=60, what="status tells of the snapshot", every_s=2)
    bed.kubectl("delete", "job/now", "--namespace=kubesteer")


@pytest.fixture
def shell(command: Command, tmp_path: Path) -> Callable[..., None]:
    """Runs commands of the documentation."""
    return shell_of(command, tmp_path)


def test_kept_volumes_are_taken_up_by_the_next_deployment(deployed: Command) -> None:
    bed = deployed.bed
    before = claims(bed)
    assert len(before) == 1
    told = deployed.run("undeploy", "--yes", "--keep-data")
    assert (told.code, told.document["comparison"]["left"]) == (0, []), told.text
    assert bed.kubectl("get", "all,secrets", "--namespace=kubesteer", "--output=name") == ""
    assert deployed.deploy("--yes", "--timeout", "180").code == 0
    assert claims(bed) == before


def claims(bed: ControlPlane) -> set[str]:
    """Name, identity and volume of each claim that has one; the snapshots' waits for its first job."""
    columns = "custom-columns=NAME:.metadata.name,UID:.metadata.uid,VOLUME:.spec.volumeName"
    lines = bed.kubectl("get", "persistentvolumeclaims", "--namespace=kubesteer", "--no-headers", f"--output={columns}")
    return {line for line in lines.splitlines() if "data-kubesteer-etcd" in line}


@pytest.mark.story
def test_undeploying_leaves_nothing(deployed: Command, before: dict[str, set[str]]) -> None:
    bed = deployed.bed
    told = deployed.run("undeploy", "--yes")
    assert (told.code, told.document["comparison"]["left"]) == (0, []), told.text
    assert everything(bed) == before
    for node in bed.client.list_all("Node"):
        status = node["status"]
        assert not [name for name in (*status["capacity"], *status["allocatable"]) if name.startswith("kubesteer.io/")]
        assert not [row for row in status["conditions"] if row["type"].startswith("kubesteer.io/")]
    again = deployed.run("undeploy", "--yes")
    assert (again.code, "nothing of kubesteer's is here" in again.text) == (0, True)
