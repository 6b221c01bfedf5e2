"""A thousand pods with egress SLOs in one burst, on fifty nodes with NICs of three sizes.

NICs: 20 of 1G, 20 of 10G, 10 of 25G; 470G in all. SLOs: 960 small ones, 240 each of 100M, 200M, 300M and 400M, 240G
in all; and 40 of 20G, of which each 25G NIC carries one at most. So at least 30 must wait. The small ones always fit
beside them: with ten large ones placed 470G - 200G = 270G are left, and a pod of 400M can only be kept out once all
fifty nodes have less than 400M, 20G together.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tools.cluster.extender import scheduler_entry
from tools.cluster.objects import node, pod

from .scenario import (
    EGRESS,
    EGRESS_ANNOTATION,
    G,
    bed,
    bound,
    egress_bps,
    kubesteer,
    left_bps,
    node_of,
    older,
    refusal,
    running_bed,
    settled,
    start_scheduler,
    why_pending,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

NICS = ["1G"] * 20 + ["10G"] * 20 + ["25G"] * 10
LARGE = "20G"
SLOS = ["100M", "200M", "300M", "400M"] * 240 + [LARGE] * 40


def asks_by_resource(name: str, slo: str) -> dict[str, Any]:
    return pod(name, requests={"cpu": "10m", "memory": "16Mi"}, limits={EGRESS: slo})


def asks_by_annotation(name: str, slo: str) -> dict[str, Any]:
    return pod(name, requests={"cpu": "10m", "memory": "16Mi"}, annotations={EGRESS_ANNOTATION: slo})


@pytest.mark.parametrize(
    ("asks", "filter_settings", "reason"),
    [
        pytest.param(asks_by_resource, {}, f"50 Insufficient {EGRESS}", id="as an extended resource"),
        pytest.param(
            asks_by_annotation,
            {"shortlist": 1},
            "20 egress: wants 20G, the node has 1G in all",
            id="by annotation, with a short list of one",
        ),
    ],
)
def test_a_burst_of_a_thousand_slos_never_puts_a_node_above_its_nic(
    bed: ControlPlane,
    start_scheduler: Callable[..., Part],
    asks: Callable[[str, str], dict[str, Any]],
    filter_settings: Mapping[str, Any],
    reason: str,
) -> None:
    bed.client.create_all(node(f"node-{i:02}", resources={EGRESS: nic}) for i, nic in enumerate(NICS))
    slos = random.Random(2).sample(SLOS, len(SLOS))
    bed.client.create_all(asks(f"pod-{i:03}", slo) for i, slo in enumerate(slos))
    with kubesteer(bed, filter=filter_settings) as extender:
        scheduler = start_scheduler({"extenders": [scheduler_entry(extender)]})
        found = settled(bed.client, scheduler, within_s=60)
        deadline_hits = extender.metric("kubesteer_deadline_hits_total")
    left, pending = left_bps(bed.client, found), [p for p in found if p["metadata"]["name"] not in bound(found)]
    print(
        f"\n{len(bound(found))} bound, {len(pending)} pending; used {470 - sum(left.values()) / G:.1f}G of 470G; "
        f"least left on a node {min(left.values()) / G:.1f}G; deadline hits {deadline_hits:g}"
    )
    assert min(left.values()) >= 0
    assert {egress_bps(p) for p in pending} == {20 * G}
    assert len(pending) >= 30
    assert max(left.values()) < 20 * G
    assert reason in refusal(pending[0])


@pytest.mark.parametrize(
    ("asks", "managed"),
    [
        pytest.param(asks_by_annotation, [], id="asked by annotation"),
        pytest.param(
            asks_by_resource,
            [{"name": EGRESS, "ignoredByScheduler": True}],
            id="asked as a resource that the scheduler leaves to kubesteer",
        ),
    ],
)
def test_kubectl_describe_names_the_numbers_of_an_slo_that_does_not_fit(
    bed: ControlPlane,
    start_scheduler: Callable[..., Part],
    asks: Callable[[str, str], dict[str, Any]],
    managed: list[dict[str, Any]],
) -> None:
    """A 10G NIC with 8G promised has 2G left: too little for 3G, which the 1G NIC could never carry."""
    bed.client.create_all([node("small", resources={EGRESS: "1G"}), node("large", resources={EGRESS: "10G"})])
    with kubesteer(bed) as extender:
        start_scheduler({"extenders": [scheduler_entry(extender, managedResources=managed)]})
        bed.client.create(asks("first", "8G"))
        assert node_of(bed.client, "first") == "large"
        bed.client.create(asks("second", "3G"))
        why_pending(bed.client, "second")
        description = bed.kubectl("describe", "pod", "second")
    print(description[description.index("Events:") :])
    for part in ("1 egress: wants 3G, 2G of 10G left", "1 egress: wants 3G, the node has 1G in all"):
        assert part in description


def test_the_stock_scheduler_refuses_an_extended_resource_before_kubesteer_is_asked(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    """Its own count is exact at once, so it keeps the promise; its reason names the resource and no numbers."""
    bed.client.create_all([node("small", resources={EGRESS: "1G"}), node("large", resources={EGRESS: "10G"})])
    with kubesteer(bed) as extender:
        start_scheduler({"extenders": [scheduler_entry(extender)]})
        bed.client.create(asks_by_resource("asks", "11G"))
        assert f"2 Insufficient {EGRESS}" in why_pending(bed.client, "asks")
        assert extender.metric("kubesteer_candidates_count") == 0
