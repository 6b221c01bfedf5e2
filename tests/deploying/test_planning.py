"""What an apply would create, change, leave and delete: rendered objects beside those that are there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubesteer.deploying.changes import Plan, plan
from kubesteer.model.api_objects import Ref, Thing
from kubesteer.model.errors import ClusterUnavailable

from .objects import APPLIED, settings_map, thing, workload


def stored(made: Thing, **meta: Any) -> Thing:
    """As the API server has it: with what it adds itself."""
    there = copy.deepcopy(made)
    there["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1, "managedFields": APPLIED, **meta}
    return {**there, "status": {"replicas": 1}}


def planned(wanted: list[Thing], there: list[Thing], would_be: list[Thing] | None = None) -> Plan:
    return plan(wanted, there, wanted if would_be is None else would_be, field_manager="kubesteer")


def test_what_is_not_there_is_created() -> None:
    found = planned([settings_map("a", "x")], [])
    assert found.create == (Ref("ConfigMap", "kubesteer", "a"),)
    assert not found.is_empty


def test_what_is_as_it_should_be_is_left() -> None:
    wanted = [settings_map("a", "x"), workload("Deployment", "d")]
    found = planned(wanted, [stored(each) for each in wanted])
    assert (len(found.leave), found.is_empty) == (2, True)


def test_what_is_there_and_no_dry_run_told_of_is_never_left_in_silence() -> None:
    wanted = [settings_map("a", "y")]
    with pytest.raises(ClusterUnavailable, match="ConfigMap kubesteer/a"):
        planned(wanted, [stored(settings_map("a", "x"))], [])


def test_a_change_names_the_field_and_both_values() -> None:
    before, after = workload("Deployment", "d", replicas=2), workload("Deployment", "d", replicas=3)
    [change] = planned([after], [stored(before)]).change
    assert change.fields == ("spec.replicas: 2 -> 3",)


def test_another_image_replaces_pods_and_another_label_does_not() -> None:
    image, label = workload("Deployment", "image", image="r/k:2"), workload("Deployment", "label")
    before = [stored(workload("Deployment", name, image="r/k:1")) for name in ("image", "label")]
    label["metadata"]["labels"]["app.kubernetes.io/version"] = "2"
    label["spec"]["template"]["spec"]["containers"][0]["image"] = "r/k:1"
    found = planned([image, label], before)
    assert len(found.change) == 2
    assert [each.name for each in found.rolls] == ["image"]


def test_what_an_earlier_version_applied_is_deleted() -> None:
    found = planned([], [stored(settings_map("old", "x"))])
    assert [each.name for each in found.prune] == ["old"]


def test_what_controllers_and_people_made_is_not_deleted() -> None:
    others = [{"manager": "kube-controller-manager", "operation": "Update"}]
    found = planned([], [stored(thing("Endpoints", "kubesteer-extender"), managedFields=others)])
    assert found.is_empty


def test_data_is_never_deleted_by_a_deployment() -> None:
    there = [stored(thing("PersistentVolumeClaim", "kubesteer-etcd-snapshots", spec={}))]
    found = planned([], there)
    assert (found.prune, [each.name for each in found.kept]) == ((), ["kubesteer-etcd-snapshots"])


def test_an_object_of_another_version_of_its_group_is_the_same_object() -> None:
    before = thing("PodDisruptionBudget", "b", api="policy/v1beta1", spec={"maxUnavailable": 1})
    after = thing("PodDisruptionBudget", "b", api="policy/v1", spec={"maxUnavailable": 1})
    assert planned([after], [stored(before)]).is_empty


def test_what_the_api_server_counts_by_itself_is_no_change() -> None:
    made = workload("DaemonSet", "d")
    before, after = stored(made), stored(made)
    for each, count in ((before, "1"), (after, "2")):
        each["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": count}
    assert planned([made], [before], [after]).is_empty


def test_another_version_is_told_from_another_content() -> None:
    version, content = settings_map("version", "x"), settings_map("content", "y")
    before = [stored(settings_map(name, "x")) for name in ("version", "content")]
    version["metadata"]["labels"]["app.kubernetes.io/version"] = "2"
    assert [each.is_label_only for each in planned([version, content], before).change] == [True, False]
