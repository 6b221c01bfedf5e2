"""What an apply would create, change, leave and delete: rendered objects beside those that are there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubesteer.deploying.changes import Plan, plan
from kubesteer.model.api_objects import Ref, Thing

from .objects import APPLIED, settings_map, thing, workload

DIFF = """\
diff -u -N /tmp/LIVE-417/v1.ConfigMap.kubesteer.a /tmp/MERGED-719/v1.ConfigMap.kubesteer.a
--- /tmp/LIVE-417/v1.ConfigMap.kubesteer.a\t2026-12-01 05:11:07.665024851 +0000
+++ /tmp/MERGED-719/v1.ConfigMap.kubesteer.a\t2026-12-01 05:11:07.665024851 +0000
@@ -1,6 +1,7 @@
-  settings.yaml: x
+  settings.yaml: y
diff -u -N /tmp/LIVE-417/apps.v1.Deployment.kubesteer.d /tmp/MERGED-719/apps.v1.Deployment.kubesteer.d
--- /tmp/LIVE-417/apps.v1.Deployment.kubesteer.d\t2026-12-01 05:11:07.665024851 +0000
+++ /tmp/MERGED-719/apps.v1.Deployment.kubesteer.d\t2026-12-01 05:11:07.665024851 +0000
@@ -2,7 +2,7 @@
-  generation: 2
+  generation: 3
@@ -43,7 +43,7 @@
-        image: r/k:1
+        image: r/k:2
diff -u -N /tmp/LIVE-417/apps.v1.DaemonSet.kubesteer.l /tmp/MERGED-719/apps.v1.DaemonSet.kubesteer.l
--- /tmp/LIVE-417/apps.v1.DaemonSet.kubesteer.l\t2026-12-01 05:11:07.665024851 +0000
+++ /tmp/MERGED-719/apps.v1.DaemonSet.kubesteer.l\t2026-12-01 05:11:07.665024851 +0000
@@ -2,7 +2,7 @@
-    app.kubernetes.io/version: 0.1.0
+    app.kubernetes.io/version: 0.2.0
diff -u -N /tmp/LIVE-417/scheduling.k8s.io.v1.PriorityClass..kubesteer /tmp/MERGED-719/scheduling.k8s.io.v1.PriorityClass..kubesteer
"""
DAEMON_SET = DIFF[
    DIFF.index("diff -u -N /tmp/LIVE-417/apps.v1.DaemonSet") : DIFF.index("diff -u -N /tmp/LIVE-417/scheduling")
]
"""As `kubectl diff --server-side` of 1.37 prints it, shortened."""


def stored(made: Thing, managers: Any = APPLIED) -> Thing:
    """As the API server has it: with what it adds itself."""
    there = copy.deepcopy(made)
    there["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": managers}
    return there


def planned(wanted: list[Thing], there: list[Thing], diff: str = "") -> Plan:
    return plan(wanted, there, diff, field_manager="kubesteer")


def test_what_is_not_there_is_created() -> None:
    found = planned([settings_map("a", "x")], [])
    assert found.create == (Ref("ConfigMap", "kubesteer", "a"),)
    assert not found.is_empty


def test_what_kubectl_tells_of_changes_and_the_rest_is_left() -> None:
    """Of an object in no namespace too; of another one of the same name nothing is told."""
    priority = thing("PriorityClass", "kubesteer", api="scheduling.k8s.io/v1", namespace=None)
    wanted = [settings_map("a", "y"), settings_map("b", "x"), workload("Deployment", "d"), priority]
    wanted.append(workload("StatefulSet", "d"))
    found = planned(wanted, [stored(each) for each in wanted], DIFF)
    assert [(each.kind, each.name) for each in found.change] == [
        ("ConfigMap", "a"), ("Deployment", "d"), ("PriorityClass", "kubesteer"),
    ]  # fmt: skip
    assert [(each.kind, each.name) for each in found.leave] == [("ConfigMap", "b"), ("StatefulSet", "d")]
    assert not found.is_empty
    assert found.diff == DIFF.replace(DAEMON_SET, "")


def test_another_spec_replaces_pods_and_another_label_does_not() -> None:
    wanted = [settings_map("a", "y"), workload("Deployment", "d"), workload("DaemonSet", "l")]
    found = planned(wanted, [stored(each) for each in wanted], DIFF)
    assert len(found.change) == 3
    assert [each.name for each in found.rolls] == ["d"]
    assert [each.name for each in found.relabelled] == ["l"]
    assert "DaemonSet" not in found.diff


def test_where_kubectl_tells_of_nothing_nothing_is_to_be_done() -> None:
    wanted = [settings_map("a", "x"), workload("Deployment", "d")]
    found = planned(wanted, [stored(each) for each in wanted])
    assert (len(found.leave), found.is_empty) == (2, True)


def test_what_an_earlier_version_applied_is_deleted() -> None:
    found = planned([], [stored(settings_map("old", "x"))])
    assert ([each.name for each in found.delete], found.is_empty) == (["old"], False)


@pytest.mark.parametrize(
    "manager",
    [
        pytest.param({"manager": "kube-controller-manager", "operation": "Update"}, id="a controller"),
        pytest.param({"manager": "kubesteer", "operation": "Update"}, id="by that name, and not applied"),
        pytest.param({"manager": "argocd", "operation": "Apply"}, id="applied under another name"),
    ],
)
def test_what_was_not_applied_by_kubesteer_is_not_deleted(manager: dict[str, str]) -> None:
    assert planned([], [stored(thing("Endpoints", "kubesteer-extender"), [manager])]).is_empty


def test_data_is_never_deleted_by_a_deployment() -> None:
    found = planned([], [stored(thing("PersistentVolumeClaim", "kubesteer-etcd-snapshots", spec={}))])
    assert (found.delete, [each.name for each in found.kept]) == ((), ["kubesteer-etcd-snapshots"])


def test_an_object_of_another_version_of_its_group_is_the_same_object() -> None:
    before = thing("PodDisruptionBudget", "b", api="policy/v1beta1", spec={"maxUnavailable": 1})
    after = thing("PodDisruptionBudget", "b", api="policy/v1", spec={"maxUnavailable": 1})
    assert planned([after], [stored(before)]).is_empty
