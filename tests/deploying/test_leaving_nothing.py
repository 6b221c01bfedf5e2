"""What an undeployment takes away, what it keeps, and what is still there afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.deploying.leftovers import (
    Found,
    Removal,
    marks,
    remaining,
    removal,
    status_patch,
    taint_patches,
    volumes_left,
)
from kubesteer.model.api_objects import Ref, Thing, ref

from .objects import foreign, namespace, node, pod, secret, thing, workload

CLAIM = thing("PersistentVolumeClaim", "data-kubesteer-etcd-0", spec={})
ROLE = thing("ClusterRole", "kubesteer-agent", api="rbac.authorization.k8s.io/v1", namespace=None)
BINDING = thing("RoleBinding", "reader", api="rbac.authorization.k8s.io/v1", namespace="kube-system")
AGENT = workload("DaemonSet", "kubesteer-agent")
OWNED = thing("ReplicaSet", "kubesteer-extender-5d9", api="apps/v1", meta={"ownerReferences": [{"name": "x"}]})
LEASE = foreign(thing("Lease", "kubesteer-scheduler", api="coordination.k8s.io/v1"))
THEIRS = foreign(secret("their-own"))
USUAL = [foreign(thing("ConfigMap", "kube-root-ca.crt")), foreign(thing("ServiceAccount", "default"))]
MARKED = node("n", egress="10G", taints=[{"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"}])


def found(labelled: list[Thing], inside: list[Thing] | None = None, **more: Any) -> Found:
    more = {"nodes": [node("plain")], **more}
    return Found(labelled=labelled, inside=inside or [], **more)


def left(after: Found, **going: Any) -> list[str]:
    return remaining(after, Removal(**going))


def names(things: tuple[Thing, ...]) -> list[str]:
    return [each["metadata"]["name"] for each in things]


def test_workloads_go_first_and_namespaces_last() -> None:
    going = removal(found([namespace(), ROLE, AGENT, BINDING, CLAIM]), keep_data=False)
    assert names(going.workloads) == ["kubesteer-agent"]
    assert names(going.things) == ["kubesteer-agent", "reader", "kubesteer"]


def test_what_is_in_the_namespace_goes_with_it_and_what_is_owned_with_its_owner() -> None:
    going = removal(found([namespace(), CLAIM, OWNED, secret("kubesteer-etcd-peer")]), keep_data=False)
    assert [ref(each).kind for each in going.things] == ["Namespace"]


def test_kept_data_stays_in_its_namespace_and_all_else_goes_one_by_one() -> None:
    going = removal(found([namespace(), CLAIM, AGENT, secret("s"), ROLE], [LEASE, THEIRS]), keep_data=True)
    assert [each.kind for each in going.kept] == ["Namespace", "PersistentVolumeClaim"]
    assert sorted(names(going.things)) == ["kubesteer-agent", "kubesteer-scheduler", "s"]
    assert going.others == ()


def test_what_others_have_in_the_namespace_is_told_before() -> None:
    going = removal(found([namespace()], [*USUAL, THEIRS, namespace()]), keep_data=False)
    assert going.others == (Ref("Secret", "kubesteer", "their-own"),)


def test_pods_on_silent_nodes_are_struck() -> None:
    stuck = pod("kubesteer-agent-x", "kubesteer-agent", node="dead")
    nodes = [node("dead", ready=False), node("alive")]
    going = removal(
        found([stuck, pod("kubesteer-agent-y", "kubesteer-agent", node="alive")], nodes=nodes), keep_data=False
    )
    assert names(going.stuck) == ["kubesteer-agent-x"]


@pytest.mark.parametrize(
    ("place", "keep_data", "struck"),
    [
        pytest.param(namespace(), False, ["kubesteer-agent-x", "web"], id="the namespace goes, and all that is in it"),
        pytest.param(namespace(), True, ["kubesteer-agent-x"], id="the namespace is kept"),
        pytest.param(foreign(namespace()), False, ["kubesteer-agent-x"], id="the namespace is somebody else's"),
    ],
)
def test_pods_of_others_are_struck_only_where_their_namespace_goes(
    place: Thing, keep_data: bool, struck: list[str]
) -> None:
    own = pod("kubesteer-agent-x", "kubesteer-agent", node="dead")
    theirs = foreign(pod("web", "web", node="dead"))
    labelled = [each for each in (place, own) if each["metadata"].get("labels")]
    going = removal(found(labelled, [own, theirs], nodes=[node("dead", ready=False)]), keep_data=keep_data)
    assert sorted(names(going.stuck)) == struck


def test_requests_for_certificates_go_too() -> None:
    request = foreign(thing("CertificateSigningRequest", "csr-1", api="certificates.k8s.io/v1", namespace=None))
    assert names(removal(found([], signing=[request]), keep_data=False).things) == ["csr-1"]


def test_pods_of_others_that_would_wait_for_ever_are_told() -> None:
    theirs = {"metadata": {"name": "web", "namespace": "shop"}}
    asks = foreign(pod("web", "web", node=None)) | theirs
    runs = foreign(pod("web", "web")) | theirs
    assert removal(found([], asking=[asks]), keep_data=False).waiting == (Ref("Pod", "shop", "web"),)
    assert removal(found([], asking=[runs]), keep_data=False).waiting == ()


def test_a_node_tells_what_agents_left_on_it() -> None:
    assert marks(MARKED) == ["kubesteer.io/egress-bps", "kubesteer.io/network-degraded"]
    assert marks(node("plain")) == []


def test_one_patch_takes_the_marks_of_all_nodes_and_no_other() -> None:
    """What a node does not have, a strategic patch does not miss."""
    other = node("o")
    other["status"]["conditions"].append({"type": "kubesteer.io/NetworkDegraded", "status": "True"})
    names = ["kubesteer.io/NetworkDegraded", "kubesteer.io/egress-bps"]
    assert status_patch([node("n", egress="10G"), other, node("plain")])["status"] == {
        "capacity": dict.fromkeys(names),
        "allocatable": dict.fromkeys(names),
        "conditions": [{"$patch": "delete", "type": name} for name in names],
    }


def test_nodes_with_a_taint_in_the_same_place_are_patched_together_and_the_patch_looks_before_it_takes() -> None:
    taint = MARKED["spec"]["taints"][0]
    first, second = ([taint], [{"key": "a", "effect": "NoSchedule"}, taint])
    nodes = [node("1", taints=first), node("2", taints=second), node("3", taints=second), node("plain")]
    assert [(change, names(tuple(each))) for change, each in taint_patches(nodes)] == [
        (
            [
                {"op": "test", "path": f"/spec/taints/{place}/key", "value": "kubesteer.io/network-degraded"},
                {"op": "remove", "path": f"/spec/taints/{place}"},
            ],
            those,
        )
        for place, those in ((0, ["1"]), (1, ["2", "3"]))
    ]


def test_of_two_taints_the_last_goes_first() -> None:
    rows = [{"key": f"kubesteer.io/{name}", "effect": "NoSchedule"} for name in "ab"]
    [(change, _)] = taint_patches([node("n", taints=rows)])
    assert [each["path"] for each in change if each["op"] == "remove"] == ["/spec/taints/1", "/spec/taints/0"]


def test_a_node_that_carries_the_label_is_not_deleted() -> None:
    labelled = {**MARKED, "metadata": {"name": "n", "labels": {"app.kubernetes.io/part-of": "kubesteer"}}}
    going = removal(found([labelled], nodes=[labelled]), keep_data=False)
    assert (going.things, going.marked) == ((), (labelled,))


def test_nothing_is_there_where_nothing_is() -> None:
    assert removal(found([], USUAL), keep_data=False).is_empty


def test_what_is_still_there_is_named() -> None:
    after = found([ROLE], [LEASE, THEIRS, *USUAL], nodes=[MARKED])
    assert left(after, others=[ref(THEIRS)]) == [
        "ClusterRole kubesteer-agent",
        "Lease kubesteer/kubesteer-scheduler",
        "Secret kubesteer/their-own",
        "Node n: kubesteer.io/egress-bps, kubesteer.io/network-degraded",
    ]


def test_what_was_to_be_kept_is_not_left_over() -> None:
    kept = [ref(namespace()), ref(CLAIM)]
    assert left(found([namespace(), CLAIM], [CLAIM, THEIRS]), kept=kept) == []


def test_a_namespace_without_the_label_stays_and_what_is_kubesteers_in_it_goes_one_by_one() -> None:
    """As `helm install --create-namespace` and `kubectl create namespace` make it."""
    unlabelled = foreign(namespace())
    going = removal(found([CLAIM, secret("s"), ROLE], [unlabelled, CLAIM, secret("s"), THEIRS]), keep_data=False)
    assert sorted(names(going.things)) == ["data-kubesteer-etcd-0", "kubesteer-agent", "s"]
    assert going.others == ()
    assert left(found([], [THEIRS])) == []


def test_volumes_that_outlive_their_claims_are_told() -> None:
    claimed = {"claimRef": {"namespace": "kubesteer", "name": "data-kubesteer-etcd-0"}}
    volume = foreign(thing("PersistentVolume", "pv-1", namespace=None, spec=claimed))
    assert volumes_left(found([], volumes=[volume])) == ["pv-1"]
    assert volumes_left(found([], [CLAIM], volumes=[volume])) == []
