"""`kubesteer deploy`, `undeploy` and `status` over a cluster in memory, whose controllers do what a test says."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from kubesteer.cli.cluster import proof as deploy_proof
from kubesteer.cli.cluster import run as deploy_run
from kubesteer.cli.cluster import status as status_run
from kubesteer.cli.cluster import undo as deploy_undo
from kubesteer.cli.cluster.reading import DeployOptions, find_manifests
from kubesteer.cli.cluster.reporter import Reporter, RunOptions
from kubesteer.model.api_objects import Ref, Thing
from kubesteer.model.errors import InvalidInput
from tests.manifests.written import MANIFESTS

from .objects import (
    EGRESS,
    Working,
    cluster_of,
    foreign,
    namespace,
    node,
    pod,
    refs,
    secret,
    settings_map,
    small_kubesteer,
    thing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .memory import MemoryCluster

YES = RunOptions(yes=True, timeout_s=5)
WANTED = DeployOptions(overlay="dev", image="r.example/kubesteer:0.1.0", manifests=MANIFESTS, own_version="0.1.0")
EXTENDER = Ref("Deployment", "kubesteer", "kubesteer-extender", "apps")
CLUSTERS_OWN = {Ref("StorageClass", "", "fast", "storage.k8s.io"), *(Ref("Node", "", f"node-{n}") for n in range(3))}


@dataclass
class Run:
    code: int
    text: str
    document: dict[str, Any]


def run(act: Any, cluster: MemoryCluster, *arguments: Any, **options: Any) -> Run:
    stream = io.StringIO()
    said = Reporter(Console(file=stream, width=200))
    code = act(cluster, *arguments, said, **options)
    return Run(code, stream.getvalue(), said.document)


def deploy(cluster: MemoryCluster, options: RunOptions = YES, **changes: Any) -> Run:
    chosen = {name: getattr(options, name) for name in RunOptions.__dataclass_fields__}
    return run(deploy_run.deploy, cluster, replace(WANTED, **chosen, **changes))


def undeploy(cluster: MemoryCluster, options: RunOptions = YES, *, keep_data: bool = False) -> Run:
    return run(deploy_undo.undeploy, cluster, options, keep_data=keep_data)


def test_a_deployment_ends_with_a_pod_that_kubesteer_placed() -> None:
    working = Working()
    cluster = cluster_of(working, small_kubesteer())
    found = deploy(cluster)
    assert found.code == 0, found.text
    proof = found.document["proof"]
    assert (proof["node"], proof["slo"], proof["asked"], proof["holds"]) == ("node-0", EGRESS, 1, True)
    assert [each["replica"] for each in proof["opinions"]] == ["kubesteer-extender-a", "kubesteer-extender-b"]
    assert not {each for each in refs(cluster) if "proof" in each.namespace or "proof" in each.name}


def test_the_clusters_own_scheduler_may_not_ask_yet_where_the_overlay_brings_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deploy_proof, "_PAUSE_S", 0.0)
    things = [each for each in small_kubesteer() if each["metadata"]["name"] != "kubesteer-scheduler"]
    found = deploy(cluster_of(Working(asks=False), things))
    assert (found.code, "does not ask kubesteer yet" in found.text) == (0, True), found.text
    assert not found.document["proof"]["holds"]


def test_the_kustomization_names_the_image_and_the_clusters_own_scheduler() -> None:
    cluster = cluster_of(Working(), small_kubesteer(), server="v1.36.3-gke.7")
    deploy(cluster, RunOptions(dry_run=True))
    [text] = cluster.kustomizations
    assert "newTag: v1.36.3\n" in text
    assert "newName: r.example/kubesteer\n" in text
    assert "overlays/dev" in text


def test_again_there_is_nothing_to_change_and_nobody_is_asked() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    versions = {each: thing["metadata"]["resourceVersion"] for each, thing in cluster.there.items()}
    found = deploy(cluster, RunOptions(timeout_s=5))
    assert (found.code, "nothing to change" in found.text) == (0, True), found.text
    after = {each: thing["metadata"]["resourceVersion"] for each, thing in cluster.there.items()}
    assert after == versions


def test_another_image_changes_the_workloads_and_no_more() -> None:
    cluster = cluster_of(Working(), small_kubesteer(image="r/k:1"))
    deploy(cluster)
    cluster.rendering = small_kubesteer(image="r/k:2")
    found = deploy(cluster)
    assert found.document["plan"]["rolls"] == [
        "Deployment kubesteer/kubesteer-extender",
        "DaemonSet kubesteer/kubesteer-agent",
    ]
    assert len(found.document["plan"]["change"]) == 2
    assert cluster.there[EXTENDER]["spec"]["template"]["spec"]["containers"][0]["image"] == "r/k:2"


def test_other_settings_replace_the_pods_that_read_them() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    cluster.rendering = small_kubesteer(settings="filter: {shortlist: 3}")
    assert deploy(cluster).document["plan"]["rolls"] == ["Deployment kubesteer/kubesteer-extender"]


def test_what_an_earlier_version_had_and_this_one_has_not_goes() -> None:
    old = settings_map("kubesteer-old", "x")
    cluster = cluster_of(Working(), [*small_kubesteer(), old], secret("kubesteer-etcd-peer"))
    deploy(cluster)
    cluster.rendering = small_kubesteer()
    assert deploy(cluster).document["plan"]["delete"] == ["ConfigMap kubesteer/kubesteer-old"]
    kinds = {(each.kind, each.name) for each in refs(cluster)}
    assert ("ConfigMap", "kubesteer-old") not in kinds
    assert ("Secret", "kubesteer-etcd-peer") in kinds


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        pytest.param(RunOptions(), 2, "--yes", id="nobody to ask"),
        pytest.param(RunOptions(ask=lambda _: False), 2, "nothing was changed", id="the answer is no"),
        pytest.param(RunOptions(dry_run=True), 0, "create 5", id="a dry run"),
    ],
)
def test_without_a_yes_nothing_is_changed(how: RunOptions, code: int, words: str) -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    found = deploy(cluster, how)
    assert (found.code, words in found.text) == (code, True), found.text
    assert refs(cluster) == CLUSTERS_OWN


def test_a_yes_at_the_question_goes_on() -> None:
    asked: list[str] = []
    found = deploy(
        cluster_of(Working(), small_kubesteer()), RunOptions(timeout_s=5, ask=lambda q: bool(asked.append(q)) or True)
    )
    assert (found.code, asked) == (0, ["Go ahead?"])


def test_a_check_that_refuses_stops_before_anything_is_changed() -> None:
    cluster = cluster_of(Working(), small_kubesteer(), denied=["create deployments"])
    found = deploy(cluster)
    assert (found.code, "you may not: create deployments" in found.text) == (2, True), found.text
    assert refs(cluster) == CLUSTERS_OWN


def test_a_namespace_of_somebody_else_is_left_alone() -> None:
    cluster = cluster_of(Working(), small_kubesteer(), foreign(namespace()))
    found = deploy(cluster)
    assert (found.code, "not kubesteer's" in found.text) == (2, True), found.text


def test_an_edit_by_hand_is_refused_and_taken_over_when_asked_to() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    edited = cluster.there[EXTENDER]
    edited["metadata"]["annotations"] = {"memory/edited-by": "kubectl-edit"}
    found = deploy(cluster)
    assert (found.code, 'conflict with "kubectl-edit"' in found.text) == (2, True), found.text
    assert deploy(cluster, force_conflicts=True).code == 0


def test_parts_that_do_not_get_ready_are_named_when_time_is_up() -> None:
    found = deploy(cluster_of(Working(ready=False), small_kubesteer()), RunOptions(yes=True, timeout_s=0.1))
    assert (found.code, "not done after 0 s: extender, agent" in found.text) == (1, True), found.text
    assert "proof" not in found.document


def test_a_pod_that_was_placed_without_kubesteer_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_proof, "_PAUSE_S", 0.0)
    found = deploy(cluster_of(Working(asks=False), small_kubesteer()))
    assert (found.code, "placed without it" in found.text) == (1, True), found.text


def test_a_pod_that_a_roll_out_let_pass_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is placed without kubesteer, the second through it."""
    monkeypatch.setattr(deploy_proof, "_PAUSE_S", 0.0)
    working = Working(asks=False)
    cluster = cluster_of(working, small_kubesteer())
    cluster.reactions.append(lambda each: setattr(working, "asks", was_placed(each) or working.asks))
    found = deploy(cluster)
    assert (found.code, "once more" in found.text, found.document["proof"]["asked"]) == (0, True, 1), found.text


def was_placed(cluster: MemoryCluster) -> bool:
    proof = cluster.there.get(Ref("Pod", "kubesteer", "kubesteer-proof"))
    return proof is not None and "nodeName" in proof["spec"]


def test_without_any_capacity_the_proof_says_so_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_run, "PUBLISHED_WITHIN_S", 0.0)
    cluster = cluster_of(Working(), small_kubesteer())
    for number in range(3):
        cluster.put(node(f"node-{number}"))
    found = deploy(cluster)
    assert (found.code, "NO NODE PUBLISHES A NETWORK CAPACITY" in found.text) == (0, True), found.text
    assert found.document["proof"]["slo"] == ""


def test_an_ops_port_that_asks_who_reads_it_gets_a_token_and_is_believed_by_its_authority() -> None:
    working = Working()
    settings = "ops: {auth: kubernetes, tls: true, port: 9000}"
    reader = thing("ServiceAccount", "kubesteer-status")
    server = secret("kubesteer-extender-server", **{"ca.crt": "UEVN"})
    found = deploy(cluster_of(working, [*small_kubesteer(settings=settings), reader], server))
    assert found.code == 0, found.text
    [token] = {each.token for each in working.asked}
    assert token == "token-of-kubesteer-kubesteer-status"
    assert {(each.authority_pem, each.server_name) for each in working.asked} == {
        ("PEM", "kubesteer-extender.kubesteer.svc")
    }


def test_an_api_server_that_is_away_is_told_in_a_line() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    cluster.away = True
    for found in (deploy(cluster), undeploy(cluster), run(status_run.status, cluster)):
        assert (found.code, "connection to the server was refused" in found.text) == (1, True)


def test_undeploying_leaves_what_was_there_before() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    before = refs(cluster)
    deploy(cluster)
    found = undeploy(cluster)
    assert (found.code, found.document["comparison"]["left"]) == (0, []), found.text
    assert refs(cluster) == before
    assert EGRESS not in cluster.there[Ref("Node", "", "node-0")]["status"]["capacity"]
    assert "nothing of kubesteer's is here" in undeploy(cluster).text


def claim() -> Thing:
    made = secret("data-kubesteer-etcd-0")
    return {**made, "kind": "PersistentVolumeClaim", "spec": {}}


def test_kept_data_stays_and_all_else_goes() -> None:
    cluster = cluster_of(Working(), small_kubesteer(), claim())
    deploy(cluster)
    found = undeploy(cluster, keep_data=True)
    assert found.code == 0, found.text
    assert refs(cluster) - CLUSTERS_OWN == {
        Ref("Namespace", "", "kubesteer"),
        Ref("PersistentVolumeClaim", "kubesteer", "data-kubesteer-etcd-0"),
    }


def test_what_does_not_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_undo, "_SETTLES_WITHIN_S", 0.0)
    working = Working()
    cluster = cluster_of(working, small_kubesteer())
    deploy(cluster)
    cluster.reactions.append(lambda each: each.put(namespace()))
    found = undeploy(cluster)
    assert (found.code, "STILL THERE: Namespace kubesteer" in found.text) == (1, True), found.text


def test_an_undeployment_asks_too() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    before = refs(cluster)
    assert undeploy(cluster, RunOptions()).code == 2
    assert undeploy(cluster, RunOptions(dry_run=True)).code == 0
    assert refs(cluster) == before


def test_status_is_well_after_a_deployment_and_says_so_when_it_is_not() -> None:
    working = Working()
    cluster = cluster_of(working, small_kubesteer())
    deploy(cluster)
    assert run(status_run.status, cluster).code == 0
    working.ready = False
    found = run(status_run.status, cluster)
    assert (found.code, found.document["isWell"]) == (1, False)


def test_status_says_where_nothing_is_deployed() -> None:
    found = run(status_run.status, cluster_of(Working(), []))
    assert (found.code, "not deployed here" in found.text) == (1, True)


def test_an_overlay_that_is_not_there_is_named_with_those_that_are() -> None:
    found = deploy(cluster_of(Working(), small_kubesteer()), overlay="nowhere")
    assert (found.code, "second-scheduler" in found.text) == (2, True), found.text


def test_manifests_are_those_of_the_repository_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_manifests(None) == MANIFESTS
    (tmp_path / "manifests/overlays").mkdir(parents=True)
    assert find_manifests(None) == MANIFESTS
    with pytest.raises(InvalidInput, match="--manifests"):
        find_manifests(tmp_path / "manifests")


def test_a_pod_of_somebody_who_would_wait_for_ever_is_told_at_the_end() -> None:
    theirs = foreign(pod("web", "web", node=None))
    theirs["metadata"]["namespace"] = "shop"
    theirs["spec"]["schedulerName"] = "kubesteer"
    cluster = cluster_of(Working(), small_kubesteer(), theirs)
    deploy(cluster)
    assert "asks for kubesteer's scheduler, and will stay without a node: Pod shop/web" in undeploy(cluster).text


def test_an_undeployment_deletes_workloads_in_the_foreground_and_strikes_pods_of_silent_nodes_between() -> None:
    """Struck earlier, a pod would be made anew; waited for earlier, it would never be gone."""
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    cluster.put(node("node-0", ready=False))
    calls: list[tuple[str, dict[str, Any]]] = []
    delete = cluster.delete

    def recorded(things: Sequence[Thing], **how: Any) -> None:
        calls.append((things[0]["kind"], how))
        delete(things, **how)

    cluster.delete = recorded  # type: ignore[method-assign]
    assert undeploy(cluster).code == 0
    assert calls == [
        ("Deployment", {"timeout_s": 0, "foreground": True}),
        ("Pod", {"timeout_s": 5, "at_once": True}),
        ("Deployment", {"timeout_s": 5, "foreground": True}),
        ("Namespace", {"timeout_s": 5}),
    ]


def test_all_nodes_are_cleaned_by_two_calls_however_many_they_are() -> None:
    """One for amounts and conditions, one for the taint, which all have in the same place."""
    cluster = cluster_of(Working(), small_kubesteer())
    taints = [{"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"}]
    for number in range(100):
        cluster.put(node(f"node-{number}", egress="10G", taints=taints))
    calls: list[tuple[int, str]] = []
    patch = cluster.patch

    def counted(things: Sequence[Thing], change: Any, *, how: str, subresource: str = "") -> None:
        calls.append((len(things), how))
        patch(things, change, how=how, subresource=subresource)

    cluster.patch = counted  # type: ignore[method-assign]
    assert undeploy(cluster).code == 0
    assert calls == [(100, "strategic"), (100, "json")]


def test_values_of_secrets_are_in_no_plan() -> None:
    made = secret("kubesteer-token", token="aHVudGVyMg==")
    cluster = cluster_of(Working(), [*small_kubesteer(), made])
    deploy(cluster)
    cluster.rendering = [*small_kubesteer(), secret("kubesteer-token", token="aHVudGVyMw==")]
    found = deploy(cluster)
    assert found.document["plan"]["change"] == ["Secret kubesteer/kubesteer-token"]
    assert "aHVudGVy" not in found.text + str(found.document)
