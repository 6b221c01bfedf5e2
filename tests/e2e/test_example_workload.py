"""examples/deployment.yaml and examples/namespace-scheduler.yaml on a real API server, as README has them applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tools.cluster import objects
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import ROOT, Extender
from tools.cluster.waiting import eventually

from .fixtures import binaries, older_binaries
from .test_scheduler_configs import allow_lease

if TYPE_CHECKING:
    from tools.cluster.build import Binaries

__all__ = ["binaries", "older_binaries"]

EGRESS = "kubesteer.io/egress-bps"
POLICY = str(ROOT / "examples/namespace-scheduler.yaml")
LABEL = {"kubesteer.io/scheduler": "kubesteer"}


@pytest.fixture(scope="module")
def bed(binaries: Binaries) -> Iterator[ControlPlane]:
    with ControlPlane(binaries, controller_manager=True) as running:
        yield running


def namespace(bed: ControlPlane, name: str, labels: dict[str, str]) -> str:
    """With the account that its pods need."""
    metadata = {"name": name, "labels": labels}
    bed.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    eventually(
        lambda: [each["metadata"]["name"] for each in bed.client.list_all("ServiceAccount", namespace=name)],
        within_s=30,
        what=f"the account of {name}",
    )
    return name


def scheduler_of(bed: ControlPlane, where: str, name: str, **spec: Any) -> str:
    """The scheduler that a pod has once it is made."""
    made: dict[str, Any] = bed.client.create(objects.pod(name, namespace=where, spec=spec))
    found: str = made["spec"]["schedulerName"]
    return found


def test_the_example_is_placed_by_the_second_scheduler_through_kubesteer(bed: ControlPlane) -> None:
    # Two pods of 300M fit into 700M, and one into 400M: the three need both nodes.
    for name, egress in (("a", "700M"), ("b", "400M")):
        bed.client.create(objects.node(name, resources={EGRESS: egress}))
    config = yaml.safe_load((ROOT / "scheduler-config/1.37/second-scheduler.yaml").read_text())
    allow_lease(bed, "kubesteer")
    with Extender({"cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig)}}) as extender:
        plain = {"urlPrefix": extender.url, "enableHTTPS": False, "ignorable": False, "tlsConfig": None}
        config["extenders"][0] |= plain
        bed.start_scheduler(config)
        try:
            bed.kubectl("apply", "-f", str(ROOT / "examples/deployment.yaml"))

            def placed() -> list[str] | None:
                pods = bed.client.list_all("Pod", namespace="default")
                nodes = [each["spec"].get("nodeName") for each in pods]
                return sorted(nodes) if len(nodes) == 3 and all(nodes) else None

            assert eventually(placed, within_s=60, what="the example's pods are placed") == ["a", "a", "b"]
        finally:
            bed.stop_scheduler()
        assert extender.metric("kubesteer_request_seconds_count") > 0


def test_pods_of_a_labelled_namespace_go_to_kubesteer_unless_they_name_another_scheduler(bed: ControlPlane) -> None:
    bed.kubectl("apply", "-f", POLICY)
    labelled, other = namespace(bed, "shop", LABEL), namespace(bed, "other", {})
    numbers = iter(range(1000))

    def is_in_force() -> bool:
        # The API server learns of a policy from a watch, a moment after it has answered.
        return scheduler_of(bed, labelled, f"first-{next(numbers)}") == "kubesteer"

    eventually(is_in_force, within_s=30, every_s=0.5, what="the policy is in force")
    assert scheduler_of(bed, labelled, "own", schedulerName="own") == "own"
    assert scheduler_of(bed, other, "plain") == "default-scheduler"
    bed.kubectl("label", "namespace", other, "kubesteer.io/scheduler=kubesteer")

    def is_labelled() -> bool:
        return scheduler_of(bed, other, f"later-{next(numbers)}") == "kubesteer"

    eventually(is_labelled, within_s=30, every_s=0.5, what="the label counts")


def test_an_older_api_server_has_no_such_policy_and_says_so(older_binaries: Binaries) -> None:
    with ControlPlane(older_binaries, older=True) as bed:
        with pytest.raises(Exception, match="kubectl") as refusal:
            bed.kubectl("apply", "-f", POLICY)
        assert any('no matches for kind "MutatingAdmissionPolicy"' in note for note in refusal.value.__notes__)
