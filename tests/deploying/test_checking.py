"""Each check is a judgement over what was read; every one says what to do where it does not pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubesteer.deploying.checks import Facts, Level, judgements, may_go_on
from kubesteer.deploying.rights import Right, needed
from kubesteer.model.api_objects import ApiKind, group
from kubesteer.schedulerconfig.findings import error, warning

from .memory import MemoryCluster
from .objects import default_class, foreign, namespace, node, small_kubesteer, thing, workload

DELETING = {"deletionTimestamp": "2026-11-22T10:00:00Z"}
THREE = tuple(node(f"node-{n}") for n in range(3))
VOLUME = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}}
ETCD = workload("StatefulSet", "kubesteer-etcd", replicas=3)
ETCD["spec"]["volumeClaimTemplates"] = [VOLUME]
CERTIFICATE = thing("Certificate", "wire", api="cert-manager.io/v1")
CLAIMS = [thing("PersistentVolumeClaim", f"data-kubesteer-etcd-{n}", spec={}) for n in range(3)]
ONE_MEMBER = workload("StatefulSet", "kubesteer-etcd", replicas=1)
RELEASE = {"meta.helm.sh/release-name": "ks", "meta.helm.sh/release-namespace": "kubesteer"}
RELEASED = thing("Service", "kubesteer-extender", meta={"annotations": RELEASE})
WITHOUT_SCHEDULER = [each for each in small_kubesteer() if each["metadata"]["name"] != "kubesteer-scheduler"]
WELL = Facts(
    kubectl="v1.37.1",
    server="v1.37.2",
    overlay="self-signed",
    own_version="0.1.0",
    image="registry.example.com/kubesteer:0.1.0",
    things=[*small_kubesteer(), ETCD],
    kinds=[
        ApiKind(each["kind"], group(each), "v1", "x", namespaced=True, verbs=frozenset())
        for each in [*small_kubesteer(), ETCD]
    ],
    nodes=THREE,
    storage_classes=[default_class()],
)


def deployed(version: str = "0.1.0", overlay: str = "self-signed") -> list[Any]:
    extender = workload("Deployment", "kubesteer-extender")
    extender["metadata"]["labels"] |= {"app.kubernetes.io/version": version, "kubesteer.io/overlay": overlay}
    return [extender]


def judged(facts: Facts) -> dict[str, Any]:
    return {each.name: each for each in judgements(facts)}


def test_all_checks_pass_where_all_is_well() -> None:
    assert {each.level for each in judgements(WELL)} == {Level.PASS}
    assert may_go_on(judgements(WELL))


@pytest.mark.parametrize(
    ("changes", "name", "level", "word"),
    [
        pytest.param({"kubectl": "v1.27.3"}, "kubectl", Level.REFUSE, "too old", id="no apply as it is used here"),
        pytest.param({"kubectl": "v1.32.4-dispatcher"}, "kubectl", Level.WARN, "more than one", id="37 - 32 = 5"),
        pytest.param({"kubectl": "v1.36.0"}, "kubectl", Level.PASS, "v1.36.0", id="37 - 36 = 1"),
        pytest.param({"kubectl": "main"}, "kubectl", Level.WARN, "main", id="a build of one's own"),
        pytest.param({"server": "v1.33.9-gke.1"}, "Kubernetes", Level.REFUSE, "v1.33.9", id="an old cluster"),
        pytest.param({"server": "v1.34.0"}, "Kubernetes", Level.PASS, "v1.34.0", id="the oldest"),
        pytest.param({"server": "v1.38.0"}, "Kubernetes", Level.WARN, "newer", id="newer than tested"),
        pytest.param(
            {"denied": [Right("create", "secrets", namespace="kubesteer")]},
            "rights",
            Level.REFUSE,
            "create secrets in kubesteer",
            id="a right is missing",
        ),
        pytest.param(
            {"denied": [Right("escalate", "clusterroles", "rbac.authorization.k8s.io")]},
            "rights",
            Level.WARN,
            "escalate",
            id="only what one holds can be granted",
        ),
        pytest.param(
            {"namespace": foreign(namespace())}, "already there", Level.REFUSE, "not kubesteer's", id="theirs"
        ),
        pytest.param(
            {"namespace": thing("Namespace", "kubesteer", namespace=None, meta=DELETING)},
            "already there",
            Level.REFUSE,
            "being deleted",
            id="on its way out",
        ),
        pytest.param({"there": deployed("0.0.9")}, "already there", Level.PASS, "0.0.9; this is 0.1.0", id="upgrade"),
        pytest.param({"there": deployed()}, "already there", Level.PASS, "the same version", id="again"),
        pytest.param(
            {"there": deployed(overlay="dev")}, "already there", Level.WARN, "overlay dev", id="another overlay"
        ),
        pytest.param(
            {"things": [*WELL.things, CERTIFICATE]},
            "kinds",
            Level.REFUSE,
            "Certificate.cert-manager.io",
            id="no operator",
        ),
        pytest.param({"there": [RELEASED]}, "already there", Level.REFUSE, "Helm release ks", id="by Helm"),
        pytest.param(
            {"there": [RELEASED], "namespace": foreign(namespace())},
            "already there",
            Level.REFUSE,
            "Helm release ks",
            id="by Helm, which made the namespace without a label",
        ),
        pytest.param(
            {"unseen": ["secrets is forbidden"]}, "reading", Level.REFUSE, "secrets is forbidden", id="not seen"
        ),
        pytest.param(
            {"things": WITHOUT_SCHEDULER},
            "the cluster's scheduler",
            Level.WARN,
            "this overlay is about it",
            id="managed, and in-place",
        ),
        pytest.param({"nodes": THREE[:2]}, "nodes", Level.WARN, "2 of 2", id="two of three members"),
        pytest.param({"nodes": THREE[:1]}, "nodes", Level.REFUSE, "1 of 1", id="one of three has no quorum"),
        pytest.param({"nodes": [node(ready=False)]}, "nodes", Level.REFUSE, "0 of 1", id="not ready"),
        pytest.param({"nodes": [node(unschedulable=True)]}, "nodes", Level.REFUSE, "0 of 1", id="cordoned"),
        pytest.param(
            {"nodes": [node(taints=[{"key": "x", "effect": "NoSchedule"}])]},
            "nodes",
            Level.REFUSE,
            "0 of",
            id="tainted",
        ),
        pytest.param(
            {"nodes": THREE[:1], "things": small_kubesteer()}, "nodes", Level.PASS, "1 of 1", id="without etcd one does"
        ),
        pytest.param({"storage_classes": []}, "volumes", Level.REFUSE, "no default", id="etcd without volumes"),
        pytest.param({"storage_classes": [], "there": CLAIMS}, "volumes", Level.PASS, "3 claims", id="it has them"),
        pytest.param(
            {"storage_classes": [], "things": small_kubesteer()}, "volumes", Level.PASS, "none", id="none is needed"
        ),
        pytest.param(
            {"there": [ONE_MEMBER]}, "etcd", Level.REFUSE, "1 members are there", id="one, and three are wanted"
        ),
        pytest.param(
            {"there": CLAIMS, "things": [*small_kubesteer(), ONE_MEMBER]},
            "etcd",
            Level.REFUSE,
            "3 members are there, and this overlay has 1",
            id="volumes of three, and one is wanted",
        ),
        pytest.param({"image": "localhost/kubesteer:0.1.0"}, "image", Level.WARN, "in no registry", id="no registry"),
        pytest.param({"refused": "kubectl apply: quota exceeded"}, "dry run", Level.REFUSE, "quota", id="refused"),
        pytest.param({"refused": "Apply failed with 1 conflict"}, "dry run", Level.REFUSE, "conflict", id="by hand"),
        pytest.param(
            {"findings": [error("x", "extenders[0].weight", 0, "it is 0", "write 15")]},
            "scheduler configuration",
            Level.REFUSE,
            "it is 0",
            id="a scheduler would not start with it",
        ),
        pytest.param(
            {"findings": [warning("x", "extenders[0].weight", 1, "it is 1", "write 15")]},
            "scheduler configuration",
            Level.WARN,
            "it is 1",
            id="a weight that means nothing",
        ),
    ],
)
def test_a_check_says_what_it_found(changes: dict[str, Any], name: str, level: Level, word: str) -> None:
    found = judged(replace(WELL, **changes))
    assert (found[name].level, word in found[name].said) == (level, True), found[name]
    assert bool(found[name].fix) == (level is not Level.PASS)
    others = {each.level for other, each in found.items() if other != name}
    assert Level.REFUSE not in others


def test_a_conflict_names_the_flag_that_takes_the_fields_over() -> None:
    found = judged(replace(WELL, refused='conflict with "kubectl-edit"'))
    assert "--force-conflicts" in found["dry run"].fix


def test_a_helm_release_is_taken_away_by_helm() -> None:
    assert "helm uninstall ks --namespace kubesteer" in judged(replace(WELL, there=[RELEASED]))["already there"].fix


@pytest.mark.parametrize(
    "right",
    [
        "list events in kubesteer",
        "list persistentvolumeclaims in kubesteer",
        "list deployments.apps in kubesteer",
        "list storageclasses.storage.k8s.io",
        "list namespaces",
        "create pods in kubesteer",
        "delete pods in kubesteer",
        "create serviceaccounts/token in kubesteer",
        "patch deployments.apps in kubesteer",
        "delete deployments.apps in kubesteer",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "bind roles.rbac.authorization.k8s.io in kubesteer",
        "create pods/portforward in kubesteer",
    ],
)
def test_a_right_that_is_used_only_after_the_first_change_is_asked_for_before(right: str) -> None:
    rbac = "rbac.authorization.k8s.io/v1"
    role = thing("ClusterRole", "r", api=rbac, namespace=None)
    binding = thing("RoleBinding", "b", api=rbac, roleRef={"kind": "Role", "name": "r"})
    asked = needed([workload("Deployment", "d"), role, binding], MemoryCluster().kinds(), "kubesteer")
    assert right in {str(each) for each in asked}
