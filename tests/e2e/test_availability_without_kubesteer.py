"""What becomes of pods while no replica of kubesteer answers, and once one does again: what docs/operations.md says.

Two nodes of 100M each, and six pods of 50M or none: four fit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tools.cluster.extender import scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually

from .scenario import (
    EGRESS,
    EGRESS_ANNOTATION,
    M,
    bed,
    bound,
    kubesteer,
    left_bps,
    older,
    pods,
    refusal,
    running_bed,
    settled,
    start_scheduler,
    waiting,
    why_pending,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.cluster.controlplane import ControlPlane, Part
    from tools.cluster.extender import Extender

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

COUNT, SLO = 6, "50M"
KINDS: dict[str, dict[str, Any]] = {
    "no SLO": {},
    "SLO as a resource": {"limits": {EGRESS: SLO}},
    "SLO by annotation": {"annotations": {EGRESS_ANNOTATION: SLO}},
}
IGNORABLE = {"ignorable": True}
STRICT = {"ignorable": False}
STRICT_FOR_SLOS = {"ignorable": False, "managedResources": [{"name": EGRESS}]}


@dataclass(frozen=True, slots=True)
class Case:
    """How many of the six pods are bound while kubesteer is away, and once it is back."""

    name: str
    entry: dict[str, Any]
    kind: str
    away: int
    back: int

    def __str__(self) -> str:
        return f"{self.name}, {self.kind}"


CASES = [
    Case("ignorable", IGNORABLE, "no SLO", away=6, back=6),
    Case("ignorable", IGNORABLE, "SLO as a resource", away=4, back=4),
    Case("ignorable", IGNORABLE, "SLO by annotation", away=6, back=6),
    Case("not ignorable", STRICT, "no SLO", away=0, back=6),
    Case("not ignorable", STRICT, "SLO as a resource", away=0, back=4),
    Case("not ignorable", STRICT, "SLO by annotation", away=0, back=4),
    Case("not ignorable, managedResources", STRICT_FOR_SLOS, "no SLO", away=6, back=6),
    Case("not ignorable, managedResources", STRICT_FOR_SLOS, "SLO as a resource", away=0, back=4),
    Case("not ignorable, managedResources", STRICT_FOR_SLOS, "SLO by annotation", away=6, back=6),
]


@pytest.fixture
def away(bed: ControlPlane) -> Extender:
    """A kubesteer that is configured, and is not there."""
    bed.client.create_all(node(name, resources={EGRESS: "100M"}) for name in ("a", "b"))
    return kubesteer(bed, filter={"shortlist": 1})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_configuration_says_which_pods_are_placed_without_kubesteer(
    case: Case,
    bed: ControlPlane,
    away: Extender,
    start_scheduler: Callable[..., Part],
    capsys: pytest.CaptureFixture[str],
) -> None:
    scheduler = start_scheduler(scheduler_config(scheduler_entry(away, **case.entry)))
    bed.client.create_all(pod(f"p{number}", **KINDS[case.kind]) for number in range(COUNT))
    eventually(
        lambda: all(p["spec"].get("nodeName") or refusal(p) for p in pods(bed.client)), within_s=20, what="tried"
    )
    without = bound(pods(bed.client))
    assert len(without) == case.away
    with away:
        begun_s = time.monotonic()
        eventually(lambda: len(bound(pods(bed.client))) >= case.back, within_s=40, what="the pods that fit are bound")
        took_s = time.monotonic() - begun_s
        found = settled(bed.client, scheduler, within_s=40)
    nodes = bound(found)
    assert len(nodes) == case.back
    assert nodes.items() >= without.items(), "nothing is moved"
    above_bps = max(0, -min(left_bps(bed.client, found).values()))
    unfiltered = case.kind == "SLO by annotation" and case.away > 4
    assert (above_bps > 0) is unfiltered
    with capsys.disabled():
        print(f"\n{case}: {len(without)} bound without kubesteer, {case.back} {took_s:.1f} s after;", end=" ")
        print(f"a node {above_bps / M:.0f}M above its 100M")


def test_kubesteer_lets_nothing_more_onto_a_node_that_was_filled_without_it(
    bed: ControlPlane, away: Extender, start_scheduler: Callable[..., Part]
) -> None:
    """6 x 50M on two nodes of 100M: both are full or above."""
    scheduler = start_scheduler(scheduler_config(scheduler_entry(away)))
    bed.client.create_all(pod(f"p{number}", **KINDS["SLO by annotation"]) for number in range(COUNT))
    eventually(lambda: len(bound(pods(bed.client))) == COUNT, within_s=20, what="all bound")
    with away:
        eventually(lambda: waiting(scheduler) == 0, within_s=20, what="nothing waits")
        bed.client.create(pod("one-more", annotations={EGRESS_ANNOTATION: "10M"}))
        assert "egress" in why_pending(bed.client, "one-more")
