"""What a cluster does for the commands, whichever it is: the API server behind kubectl, or the one in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from kubesteer.deploying.changes import is_applied_by
from kubesteer.deploying.leftovers import status_patch, taints_patch
from kubesteer.deploying.rights import Right, answered, question
from kubesteer.model.api_objects import Ref, Thing, ref
from kubesteer.model.errors import KubectlFailed

from .objects import foreign, namespace, node, settings_map, thing

if TYPE_CHECKING:
    from kubesteer.cli.cluster.port import Cluster

PLACE = "behaviour"


def a_map(value: str = "x") -> Thing:
    made = settings_map("a", value)
    return {**made, "metadata": {**made["metadata"], "namespace": PLACE}}


def place() -> Thing:
    return namespace(PLACE)


def it_applies_reads_and_deletes(cluster: Cluster) -> None:
    cluster.apply([place(), a_map()])
    found = cluster.get("configmap", "a", PLACE)
    assert found is not None
    assert (found["data"], is_applied_by(found, "kubesteer")) == ({"settings.yaml": "x"}, True)
    cluster.delete([a_map()], timeout_s=10)
    assert cluster.get("configmap", "a", PLACE) is None
    cluster.delete([a_map()], timeout_s=10)


def applying_again_changes_nothing(cluster: Cluster) -> None:
    cluster.apply([place(), a_map()])
    before = cluster.get("configmap", "a", PLACE)
    cluster.apply([a_map()])
    assert cluster.get("configmap", "a", PLACE) == before


def a_dry_run_tells_and_does_nothing(cluster: Cluster) -> None:
    cluster.apply([place(), a_map("x")])
    [would_be] = cluster.apply([a_map("y")], dry_run=True)
    found = cluster.get("configmap", "a", PLACE)
    assert found is not None
    assert (would_be["data"]["settings.yaml"], found["data"]["settings.yaml"]) == ("y", "x")


def an_absent_namespace_is_named(cluster: Cluster) -> None:
    made = settings_map("a", "x")
    made["metadata"]["namespace"] = "nowhere"
    with pytest.raises(KubectlFailed, match='namespaces "nowhere" not found'):
        cluster.apply([made], dry_run=True)


def objects_are_listed_by_label_and_namespace(cluster: Cluster) -> None:
    other = foreign(a_map())
    other["metadata"]["name"] = "other"
    cluster.apply([place(), a_map(), other])
    by_label, faults = cluster.items(["configmaps"], selector="app.kubernetes.io/part-of=kubesteer")
    inside, _ = cluster.items(["configmaps"], namespace=PLACE)
    assert faults == []
    assert Ref("ConfigMap", PLACE, "a") in {ref(each) for each in by_label}
    assert Ref("ConfigMap", PLACE, "other") not in {ref(each) for each in by_label}
    assert Ref("ConfigMap", PLACE, "other") in {ref(each) for each in inside}


def a_namespace_takes_its_content_along(cluster: Cluster) -> None:
    cluster.apply([place(), a_map()])
    cluster.delete([place()], timeout_s=30)
    assert cluster.get("namespace", PLACE) is None
    assert cluster.items(["configmaps"], namespace=PLACE)[0] == []


def rights_are_answered_in_order(cluster: Cluster) -> None:
    asked = [Right("create", "pods", namespace=PLACE), Right("escalate", "clusterroles", "rbac.authorization.k8s.io")]
    held = answered(asked, cluster.create([question(each) for each in asked]))
    assert held.allowed == set(asked)


def its_kinds_tell_group_and_scope(cluster: Cluster) -> None:
    kinds = {(each.group, each.kind): each for each in cluster.kinds()}
    deployment, cluster_role = kinds["apps", "Deployment"], kinds["rbac.authorization.k8s.io", "ClusterRole"]
    assert (deployment.plural, deployment.namespaced, deployment.full_name) == (
        "deployments",
        True,
        "deployments.v1.apps",
    )
    assert (cluster_role.namespaced, {"list", "delete"} <= cluster_role.verbs) == (False, True)


def a_nodes_marks_are_patched_away(cluster: Cluster) -> None:
    """Amounts, condition and taint; what is not kubesteer's stays."""
    made = node("marked", egress="10G", taints=[{"key": "a", "effect": "NoSchedule"}])
    made["spec"]["taints"].append({"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"})
    made["status"]["conditions"].append({"type": "kubesteer.io/NetworkDegraded", "status": "True"})
    [there] = cluster.create([made])
    try:
        cluster.patch(ref(there), status_patch(there), subresource="status")
        cluster.patch(ref(there), taints_patch(there))
        after = cluster.get("node", "marked")
        assert after is not None
        assert after["status"]["capacity"] == {"cpu": "8"}
        assert "kubesteer.io/NetworkDegraded" not in {each["type"] for each in after["status"]["conditions"]}
        assert "kubesteer.io/network-degraded" not in {each["key"] for each in after["spec"]["taints"]}
        assert "a" in {each["key"] for each in after["spec"]["taints"]}
    finally:
        cluster.delete([there], timeout_s=10)


def a_token_needs_its_account(cluster: Cluster) -> None:
    account = thing("ServiceAccount", "reader", namespace=PLACE)
    cluster.apply([place(), account])
    assert cluster.token("reader", PLACE, lasts_s=600)
    with pytest.raises(KubectlFailed, match="not found"):
        cluster.token("nobody", PLACE, lasts_s=600)


BEHAVIOUR: list[Callable[[Cluster], None]] = [
    it_applies_reads_and_deletes,
    applying_again_changes_nothing,
    a_dry_run_tells_and_does_nothing,
    an_absent_namespace_is_named,
    objects_are_listed_by_label_and_namespace,
    a_namespace_takes_its_content_along,
    rights_are_answered_in_order,
    its_kinds_tell_group_and_scope,
    a_nodes_marks_are_patched_away,
    a_token_needs_its_account,
]
