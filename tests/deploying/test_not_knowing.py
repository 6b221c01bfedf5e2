"""What the commands do where not all can be looked at: they never take it for nothing, and change nothing by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kubesteer.cli.cluster import proof as deploy_proof
from kubesteer.cli.cluster import run as deploy_run
from kubesteer.cli.cluster import status as status_run
from kubesteer.cli.cluster import undo as deploy_undo
from kubesteer.cli.cluster.reporter import RunOptions
from kubesteer.clients.kubectl.asking import Answer, Request
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import InvalidInput, KubectlFailed

from .objects import Working, cluster_of, foreign, namespace, refs, settings_map, small_kubesteer, thing
from .test_deploying import CLUSTERS_OWN, deploy, run, undeploy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .memory import MemoryCluster

CLAIM = thing("PersistentVolumeClaim", "data-kubesteer-etcd-0", spec={})
RELEASE = {"meta.helm.sh/release-name": "ks", "meta.helm.sh/release-namespace": "kubesteer"}
LOCKED = "ops: {auth: kubernetes, tls: true}"


def refuse_dry_runs(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is in the namespace; without it, there is nothing to refuse."""
    apply = cluster.apply

    def refusing(things: Sequence[Thing], *, dry_run: bool = False, force: bool = False) -> list[Thing]:
        if dry_run and any(ref(each).namespace for each in things):
            raise KubectlFailed("kubectl apply: quota exceeded")
        return apply(things, dry_run=dry_run, force=force)

    monkeypatch.setattr(cluster, "apply", refusing)


@pytest.mark.parametrize("kind", ["namespaces", "configmaps", "secrets", "nodes", "storageclasses"])
def test_a_deployment_that_cannot_see_all_is_refused_unchanged(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that cannot be seen is not one that is absent: it was deleted once, with what was in it."""
    cluster = cluster_of(Working(), small_kubesteer(), namespace(), CLAIM)
    refuse_dry_runs(cluster, monkeypatch)
    before = refs(cluster)
    cluster.unseen = frozenset({kind})
    found = deploy(cluster)
    assert (found.code, f"{kind} is forbidden" in found.text) == (2, True), found.text
    assert refs(cluster) == before


def test_a_namespace_that_somebody_makes_meanwhile_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the look, while the user is asked."""
    cluster = cluster_of(Working(), small_kubesteer())

    def meanwhile(_: str) -> bool:
        cluster.put(namespace())
        cluster.put(CLAIM)
        refuse_dry_runs(cluster, monkeypatch)
        return True

    found = deploy(cluster, RunOptions(timeout_s=5, ask=meanwhile))
    assert (found.code, "already exists" in found.text) == (1, True), found.text
    assert ref(CLAIM) in refs(cluster)


def test_a_namespace_that_was_made_in_vain_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    refuse_dry_runs(cluster, monkeypatch)
    found = deploy(cluster)
    assert (found.code, "quota exceeded" in found.text) == (1, True), found.text
    assert refs(cluster) == CLUSTERS_OWN


def test_nothing_is_left_is_not_said_before_all_was_looked_at() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    before = refs(cluster)
    cluster.unseen = frozenset({"secrets"})
    found = undeploy(cluster)
    assert (found.code, "secrets is forbidden" in found.text, "nothing was changed" in found.text) == (1, True, True)
    assert refs(cluster) == before


@pytest.mark.parametrize("kind", ["nodes", "secrets", "certificatesigningrequests", "persistentvolumes", "pods"])
def test_before_and_after_are_not_compared_while_a_kind_cannot_be_listed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hidden once the namespace is gone."""
    monkeypatch.setattr(deploy_undo, "_SETTLES_WITHIN_S", 0.0)
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)

    def hide(each: MemoryCluster) -> None:
        if ref(namespace()) not in refs(each):
            each.unseen = frozenset({kind})

    cluster.reactions.append(hide)
    found = undeploy(cluster)
    assert (found.code, f"{kind} is forbidden" in found.text) == (1, True), found.text
    assert "could not be compared" in found.text
    assert "nothing of kubesteer's is left" not in found.text


def test_what_helm_installed_is_helms_to_take_away() -> None:
    released = thing("Service", "kubesteer-extender", meta={"annotations": RELEASE})
    cluster = cluster_of(Working(), [], namespace(), released)
    before = refs(cluster)
    found = undeploy(cluster)
    assert (found.code, "helm uninstall ks --namespace kubesteer" in found.text) == (2, True), found.text
    assert refs(cluster) == before


def test_another_release_in_the_namespace_is_no_reason_to_refuse() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    cluster.put(foreign(thing("Service", "theirs")))
    cluster.there[Ref("Service", "kubesteer", "theirs")]["metadata"]["annotations"] = RELEASE
    assert undeploy(cluster).code == 0


def test_a_namespace_without_the_label_is_emptied_of_kubesteer_and_stays() -> None:
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    theirs = Ref("Secret", "kubesteer", "their-own")
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "their-own", "namespace": "kubesteer"}})
    place = cluster.there[ref(namespace())]
    cluster.put({**place, "metadata": {**place["metadata"], "labels": {}}})
    found = undeploy(cluster)
    assert (found.code, found.document["comparison"]["left"]) == (0, []), found.text
    assert refs(cluster) - CLUSTERS_OWN == {ref(namespace()), theirs}


def test_an_agent_that_listens_elsewhere_after_the_deployment_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused means unchanged, and that is over once objects are applied."""

    def unusable(*_: object, **__: object) -> None:
        raise InvalidInput("ops.port: what no look before could find")

    monkeypatch.setattr(deploy_run, "prove", unusable)
    assert deploy(cluster_of(Working(), small_kubesteer())).code == 1


def test_settings_that_cannot_be_used_are_refused_before_anything_is_changed() -> None:
    cluster = cluster_of(Working(), small_kubesteer(settings="ops: {port: many}"))
    found = deploy(cluster)
    assert (found.code, "'many'" in found.text) == (2, True), found.text
    assert refs(cluster) == CLUSTERS_OWN


class Garbled(Working):
    """Its extenders explain nothing."""

    def answer(self, pod_name: str, port: int, request: Request) -> Answer:
        return Answer(200, "<html>") if request.path == "/explain" else super().answer(pod_name, port, request)


def test_an_explanation_that_is_none_is_told_in_a_line() -> None:
    found = deploy(cluster_of(Garbled(), small_kubesteer()))
    assert (found.code, "its answer is no JSON" in found.text) == (1, True), found.text


def test_the_proof_says_that_calls_are_counted_over_all_pods() -> None:
    assert "asked 1 times meanwhile, for all pods" in deploy(cluster_of(Working(), small_kubesteer())).text


def test_status_tells_what_it_may_not_read_and_all_the_rest() -> None:
    """Secrets may neither be listed nor read: whose certificate to believe is not known then. Nor may nodes."""
    cluster = cluster_of(Working(), small_kubesteer())
    deploy(cluster)
    cluster.put(settings_map("kubesteer-extender", LOCKED))
    cluster.unseen = frozenset({"secrets", "nodes"})
    found = run(status_run.status, cluster)
    assert {row["part"] for row in found.document["parts"]} >= {"extender", "agent"}
    assert (found.code, "secrets is forbidden" in found.text, "nodes is forbidden" in found.text) == (1, True, True)
    assert "what readiness hangs on is told only to who may ask" in found.text


def test_no_token_goes_to_a_server_that_is_not_known() -> None:
    """The Secret with the authority is gone: the port is not asked without TLS instead."""
    working = Working()
    cluster = cluster_of(working, small_kubesteer())
    deploy(cluster)
    working.asked.clear()
    cluster.put(settings_map("kubesteer-extender", LOCKED))
    cluster.put(thing("ServiceAccount", "kubesteer-status"))
    found = run(status_run.status, cluster)
    assert (found.code, "no authority to believe" in found.text) == (1, True), found.text
    assert [each for each in working.asked if each.token] == []


def test_a_node_list_that_is_refused_ends_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node publishes a capacity, and no node could be listed, are two things."""
    cluster = cluster_of(Working(), small_kubesteer())
    published = deploy_proof._published

    def hidden(*arguments: object) -> object:
        cluster.unseen = frozenset({"nodes"})
        return published(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deploy_proof, "_published", hidden)
    found = deploy(cluster)
    assert (found.code, "nodes is forbidden" in found.text) == (1, True), found.text
