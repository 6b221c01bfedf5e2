"""Upstream's own extender integration scenario, with kubesteer as the extender that works on node names.

Two of upstream's extenders stay as they are. Both pass machines 2 and 3 and prefer machine3, together:
machine2 3*10 + 4*1 = 34, machine3 3*1 + 4*10 = 43. The third, of weight 10, is kubesteer.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from tools.cluster import upstream_extenders as upstream

from .scenario import (
    EGRESS,
    EGRESS_ANNOTATION,
    bed,
    kubesteer,
    node_of,
    older,
    running_bed,
    start_scheduler,
    why_pending,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

ROOMY = {f"machine{number}": "10G" for number in range(1, 6)}


def learned(file: Path) -> dict[str, str]:
    """Rewards by which pods named video do well on machine2."""
    file.write_text(
        yaml.safe_dump(
            [
                {"node": f"machine{number}", "podType": "video", "mean": 0.95 if number == 2 else 0.2, "evidence": 100}
                for number in range(1, 6)
            ]
        )
    )
    return {"source": "file", "file": str(file)}


@pytest.mark.parametrize(
    ("capacities", "machine", "calls"),
    [
        pytest.param(ROOMY, "machine2", 2, id="34 + 10*10 against 43 + 10*0"),
        pytest.param(ROOMY | {"machine2": "1G"}, "machine3", 1, id="machine2 is too small, one node is left"),
    ],
)
def test_upstreams_pod_goes_where_the_three_extenders_together_want_it(
    bed: ControlPlane,
    start_scheduler: Callable[..., Part],
    tmp_path: Path,
    capacities: dict[str, str],
    machine: str,
    calls: int,
) -> None:
    with kubesteer(bed, rewards=learned(tmp_path / "rewards.yaml")) as extender, others(bed) as (first, second):
        create_nodes_and_pod(bed, capacities)
        start_scheduler(upstream.configuration(first, second, upstream.third_entry(extender.url)))
        assert node_of(bed.client, "video") == machine
        assert extender.metric("kubesteer_candidates_count") == calls


def test_upstreams_pod_goes_to_machine3_without_kubesteer(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    with others(bed) as (first, second):
        create_nodes_and_pod(bed, ROOMY)
        start_scheduler(upstream.configuration(first, second, None))
        assert node_of(bed.client, "video") == "machine3"


def test_upstreams_pod_waits_where_kubesteer_refuses_what_the_others_allow(
    bed: ControlPlane, start_scheduler: Callable[..., Part]
) -> None:
    with kubesteer(bed) as extender, others(bed) as (first, second):
        create_nodes_and_pod(bed, ROOMY | {"machine2": "1G", "machine3": "1500M"})
        start_scheduler(upstream.configuration(first, second, upstream.third_entry(extender.url)))
        reason = why_pending(bed.client, "video")
    for part in (
        "0/5 nodes are available",
        "2 extender failed: extender1",
        "1 extender failed: extender2",
        "1 egress: wants 2G, the node has 1G in all",
        "1 egress: wants 2G, the node has 1.5G in all",
    ):
        assert part in reason


@contextmanager
def others(bed: ControlPlane) -> Iterator[list[str]]:
    """Upstream's first two extenders, as they are."""
    with upstream.serving(bed.client, upstream.FIRST, upstream.SECOND) as urls:
        yield urls


def create_nodes_and_pod(bed: ControlPlane, capacities: dict[str, str]) -> None:
    """Upstream's nodes with these egress capacities, and its pod, of type video and with an egress SLO of 2 Gbit/s."""
    nodes, pod = upstream.nodes_and_pod()
    for node in nodes:
        amounts = {"pods": "32", EGRESS: capacities[node["metadata"]["name"]]}
        node["status"] |= {"capacity": amounts, "allocatable": amounts}
    pod["metadata"] |= {"name": "video", "labels": {"podtype": "video"}, "annotations": {EGRESS_ANNOTATION: "2G"}}
    bed.client.create_all([*nodes, pod])
