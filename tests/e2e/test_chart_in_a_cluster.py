"""The chart on a whole cluster of three real nodes, in a namespace that is not called kubesteer: from nothing to nothing.

What the objects are is test_chart.py's; here they run, and a pod comes to its node through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.cluster.waiting import eventually

from .fixtures import binaries, kubesteer_image, node_binaries, whole_bed
from .real_pods import runs
from .test_chart import NAMESPACE, everything, helm

if TYPE_CHECKING:
    from tests.chart.rendering import Helm
    from tools.cluster.controlplane import ControlPlane

__all__ = ["binaries", "helm", "kubesteer_image", "node_binaries", "whole_bed"]

pytestmark = pytest.mark.overlays

WORKLOADS = (
    "statefulset/kubesteer-etcd",
    "daemonset/kubesteer-agent",
    "deployment/kubesteer-keeper",
    "deployment/kubesteer-extender",
    "deployment/kubesteer-scheduler",
)
VALUES = {"agent": {"settings": {"network": {"trust_virtual": True}}}}
"""Nodes here have virtual interfaces only."""
PASSING = {"Pod", "PersistentVolume", "EndpointSlice", "Endpoints", "ControllerRevision", "CSINode", "IPAddress"}
"""Kinds that the cluster itself writes all the time."""


def lasting(bed: ControlPlane) -> set[tuple[str, str, str]]:
    return {each for each in everything(bed) if each[0] not in PASSING}


def ready(bed: ControlPlane) -> None:
    for workload in WORKLOADS:
        bed.kubectl("rollout", "status", workload, f"--namespace={NAMESPACE}", "--timeout=180s")


def test_the_chart_runs_is_upgraded_and_goes_without_a_trace(whole_bed: ControlPlane, helm: Helm) -> None:
    bed = whole_bed
    bed.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    own = ("ConfigMap", NAMESPACE, "kube-root-ca.crt")
    eventually(lambda: own in everything(bed), within_s=20, what="the namespace has its own")
    before = lasting(bed)

    notes = helm.install(bed.kubeconfig, VALUES, namespace=NAMESPACE).replace("\\\n", " ")
    [label, *_] = [line for line in notes.splitlines() if line.startswith("  kubectl label")]
    bed.kubectl(*label.split()[1:])
    ready(bed)

    by_kubesteer = {"schedulerName": "kubesteer", "nodeName": None, "terminationGracePeriodSeconds": 0}
    bed.client.create(runs("steered", "sleep 600", node="", spec=by_kubesteer))
    bed.kubectl("wait", "--for=condition=Ready", "pod/steered", "--timeout=60s")
    verbs = bed.kubectl(
        "get", "events", "--field-selector=reason=Scheduled", "--output=jsonpath={..reportingComponent}"
    )
    assert "kubesteer" in verbs

    helm.install(bed.kubeconfig, VALUES | {"extender": {"replicas": 3}}, namespace=NAMESPACE)
    ready(bed)

    bed.client.delete("Pod", "steered")
    helm("uninstall", "kubesteer", "--namespace", NAMESPACE, kubeconfig=bed.kubeconfig)
    [clean_up] = [line for line in notes.splitlines() if " delete secrets," in line]
    bed.kubectl(*clean_up.split()[1:])
    eventually(lambda: lasting(bed) <= before, within_s=90, what="all is gone")
