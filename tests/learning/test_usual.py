"""What is usual of a type elsewhere, and whether its image fails there too, from a sample of records."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.reward import OTHER_TYPES, RewardRecord, format_time
from kubesteer.rewards.usual import Baseline, usual_elsewhere
from tests.learning.runs import T


def record(node: str, pod_type: str = "web", **extra: object) -> RewardRecord:
    return RewardRecord(node, pod_type, 0.5, 2, T, extra)


def failed_pull(at_s: float, reason: str = "ErrImagePull") -> dict[str, object]:
    return {"time": format_time(T + at_s), "value": 0, "reason": reason}


def test_medians_are_over_all_other_nodes() -> None:
    sample = [
        record("n1", startup_s=[900, 900, 900], duration_s=[900] * 3),
        record("n2", startup_s=[2, 4], duration_s=[10, 20]),
        record("n3", startup_s=[9], duration_s=["x", -1, None]),
        record("n3", "db", startup_s=[50, 60, 70]),
        record("n3", OTHER_TYPES, startup_s=[1, 1, 1]),
    ]
    # web: the middle of 2, 4, 9; two durations are too few; n1 is this node
    assert usual_elsewhere(sample, "n1", T) == {"web": Baseline(4, None), "db": Baseline(60, None)}


@pytest.mark.parametrize(
    ("extra", "fails"),
    [
        ({"bad": [failed_pull(-3600)]}, True),
        ({"recent": [failed_pull(0)]}, True),
        ({"bad": [failed_pull(-3601)]}, False),
        ({"bad": [failed_pull(0, "OOMKilled")]}, False),
        ({"bad": [{"time": "yesterday", "value": 0, "reason": "ErrImagePull"}]}, False),
        ({"bad": "no list"}, False),
    ],
)
def test_an_image_that_failed_elsewhere_within_the_hour_fails_elsewhere(extra: dict[str, Any], fails: bool) -> None:
    assert usual_elsewhere([record("n2", **extra)], "n1", T) == {"web": Baseline(pull_fails=fails)}
    assert usual_elsewhere([record("n1", **extra)], "n1", T) == {}


@pytest.mark.parametrize(("failing", "pulling", "fails"), [(1, 0, True), (1, 1, True), (2, 3, False), (8, 34, False)])
def test_an_image_that_fails_on_fewer_than_half_of_the_nodes_is_those_nodes_fault(
    failing: int, pulling: int, fails: bool
) -> None:
    well = {"recent": [failed_pull(-60), failed_pull(0, "Ran")]}
    others = [record(f"bad-{n}", bad=[failed_pull(0)]) for n in range(failing)]
    others += [record(f"good-{n}", **well) for n in range(pulling)]
    assert usual_elsewhere(others, "n1", T)["web"].pull_fails is fails
