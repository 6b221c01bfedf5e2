"""What a cluster does for the commands, whichever it is: the API server behind kubectl, or the one in memory."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kubesteer.deploying.changes import is_applied_by, plan
from kubesteer.deploying.leftovers import marks, status_patch, taint_patches
from kubesteer.deploying.rendering import bare
from kubesteer.deploying.rights import Right, denied, question
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import KubectlFailed

from .objects import foreign, namespace, node, settings_map, thing

if TYPE_CHECKING:
    from kubesteer.clients.kubectl.command import Kubectl as Cluster


def a_map(where: str, value: str = "x") -> Thing:
    made = settings_map("a", value)
    return {**made, "metadata": {**made["metadata"], "namespace": where}}


def place(where: str) -> Thing:
    return namespace(where)


def it_applies_reads_and_deletes(cluster: Cluster, where: str) -> None:
    cluster.apply([place(where), a_map(where)])
    found = cluster.get("configmap", "a", where)
    assert found is not None
    assert (found["data"], is_applied_by(found, "kubesteer")) == ({"settings.yaml": "x"}, True)
    cluster.delete([a_map(where)], timeout_s=10)
    assert cluster.get("configmap", "a", where) is None
    cluster.delete([a_map(where)], timeout_s=10)


def applying_again_changes_nothing(cluster: Cluster, where: str) -> None:
    cluster.apply([place(where), a_map(where)])
    before = cluster.get("configmap", "a", where)
    cluster.apply([a_map(where)])
    assert cluster.get("configmap", "a", where) == before


def a_dry_run_tells_and_does_nothing(cluster: Cluster, where: str) -> None:
    cluster.apply([place(where), a_map(where, "x")])
    [would_be] = cluster.apply([a_map(where, "y")], dry_run=True)
    found = cluster.get("configmap", "a", where)
    assert found is not None
    assert (would_be["data"]["settings.yaml"], found["data"]["settings.yaml"]) == ("y", "x")


def a_diff_names_what_changes_and_no_value_of_a_secret(cluster: Cluster, where: str) -> None:
    def things(value: str) -> list[Thing]:
        secret = thing("Secret", "s", namespace=where, data={"password": base64.b64encode(value.encode()).decode()})
        return [a_map(where, value), {**a_map(where, "same"), "metadata": {"name": "same", "namespace": where}}, secret]

    cluster.apply([place(where), *things("hunter1")])
    assert cluster.diff(things("hunter1")) == ""
    found = plan(things("hunter2"), things("hunter1"), cluster.diff(things("hunter2")), field_manager="kubesteer")
    assert [(each.kind, each.name) for each in found.change] == [("ConfigMap", "a"), ("Secret", "s")]
    assert [each.name for each in found.leave] == ["same"]
    assert base64.b64encode(b"hunter").decode()[:7] not in found.diff


def an_absent_namespace_is_named(cluster: Cluster, where: str) -> None:
    made = settings_map("a", "x")
    made["metadata"]["namespace"] = "nowhere"
    with pytest.raises(KubectlFailed, match='namespaces "nowhere" not found'):
        cluster.apply([made], dry_run=True)


def objects_are_listed_by_label_and_namespace(cluster: Cluster, where: str) -> None:
    other = foreign(a_map(where))
    other["metadata"]["name"] = "other"
    cluster.apply([place(where), a_map(where), other])
    by_label, faults = cluster.items(["configmaps"], selector="app.kubernetes.io/part-of=kubesteer")
    inside, _ = cluster.items(["configmaps"], namespace=where)
    assert faults == []
    assert Ref("ConfigMap", where, "a") in {ref(each) for each in by_label}
    assert Ref("ConfigMap", where, "other") not in {ref(each) for each in by_label}
    assert Ref("ConfigMap", where, "other") in {ref(each) for each in inside}


def what_is_there_is_not_made_again(cluster: Cluster, where: str) -> None:
    cluster.create([place(where)])
    with pytest.raises(KubectlFailed, match="already exists"):
        cluster.create([place(where)])


def a_namespace_that_was_made_can_be_applied_with_other_labels(cluster: Cluster, where: str) -> None:
    """What it was made with stays whoever made it's own; the rest belongs to the one who applies, and may change."""
    cluster.create([bare(place(where))])
    for version in ("1", "2"):
        applied = place(where)
        applied["metadata"]["labels"]["app.kubernetes.io/version"] = version
        [found] = cluster.apply([applied])
        assert found["metadata"]["labels"]["app.kubernetes.io/version"] == version


def kinds_that_may_not_be_listed_are_told_beside_the_others(viewer: Cluster) -> None:
    """For somebody who may see all but Secrets."""
    found, faults = viewer.items(["configmaps", "secrets"], namespace="kube-system")
    assert {each["kind"] for each in found} <= {"ConfigMap"}
    [fault] = faults
    assert "(Forbidden): secrets is forbidden" in fault
    assert viewer.items(["configmaps"], namespace="kube-system")[1] == []
    with pytest.raises(KubectlFailed, match=r"\(Forbidden\): secrets"):
        viewer.get("secret", "any", "kube-system")


def a_namespace_takes_its_content_along(cluster: Cluster, where: str) -> None:
    cluster.apply([place(where), a_map(where)])
    cluster.delete([place(where)], timeout_s=30)
    assert cluster.get("namespace", where) is None
    assert cluster.items(["configmaps"], namespace=where)[0] == []


def rights_are_answered_in_order(cluster: Cluster, where: str) -> None:
    asked = [Right("create", "pods", namespace=where), Right("escalate", "clusterroles", "rbac.authorization.k8s.io")]
    assert denied(asked, cluster.create([question(each) for each in asked])) == []


def its_kinds_tell_group_and_scope(cluster: Cluster, where: str) -> None:
    kinds = {(each.group, each.kind): each for each in cluster.kinds()}
    deployment, cluster_role = kinds["apps", "Deployment"], kinds["rbac.authorization.k8s.io", "ClusterRole"]
    assert (deployment.plural, deployment.namespaced, deployment.full_name) == (
        "deployments",
        True,
        "deployments.v1.apps",
    )
    assert (cluster_role.namespaced, {"list", "delete"} <= cluster_role.verbs) == (False, True)


def marks_are_patched_away_from_all_nodes_at_once(cluster: Cluster, where: str) -> None:
    """Amounts, condition and taint; what is not kubesteer's stays. The other node has an amount alone."""
    made = node("marked", egress="10G", taints=[{"key": "a", "effect": "NoSchedule"}])
    made["spec"]["taints"].append({"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"})
    made["status"]["conditions"].append({"type": "kubesteer.io/NetworkDegraded", "status": "True"})
    there = cluster.create([made, node("marked-too", egress="10G")])
    try:
        cluster.patch(there, status_patch(there), how="strategic", subresource="status")
        [(change, tainted)] = taint_patches(there)
        cluster.patch(tainted, change, how="json")
        other = cluster.get("node", "marked-too")
        assert other is not None
        assert marks(other) == []
        after = cluster.get("node", "marked")
        assert after is not None
        assert after["status"]["capacity"] == {"cpu": "8"}
        assert "kubesteer.io/NetworkDegraded" not in {each["type"] for each in after["status"]["conditions"]}
        assert "kubesteer.io/network-degraded" not in {each["key"] for each in after["spec"]["taints"]}
        assert "a" in {each["key"] for each in after["spec"]["taints"]}
    finally:
        cluster.delete(there, timeout_s=10)


def a_token_needs_its_account(cluster: Cluster, where: str) -> None:
    account = thing("ServiceAccount", "reader", namespace=where)
    cluster.apply([place(where), account])
    assert cluster.token("reader", where, lasts_s=600)
    with pytest.raises(KubectlFailed, match="not found"):
        cluster.token("nobody", where, lasts_s=600)


BEHAVIOUR: list[Callable[[Cluster, str], None]] = [
    it_applies_reads_and_deletes,
    applying_again_changes_nothing,
    a_dry_run_tells_and_does_nothing,
    an_absent_namespace_is_named,
    objects_are_listed_by_label_and_namespace,
    what_is_there_is_not_made_again,
    a_namespace_that_was_made_can_be_applied_with_other_labels,
    a_namespace_takes_its_content_along,
    rights_are_answered_in_order,
    its_kinds_tell_group_and_scope,
    marks_are_patched_away_from_all_nodes_at_once,
    a_diff_names_what_changes_and_no_value_of_a_secret,
    a_token_needs_its_account,
]
