"""A node that booted anew, has another kubelet or was uncordoned is tried at once by probation, one pod at a time."""

from __future__ import annotations

from typing import Any

import pytest

from extender.repairs import Repairs
from kubesteer.model.cluster import NodeSummary
from kubesteer.model.reward import RewardRecord
from tests.builders import node, pod
from tests.service.harness import START_S, Service, service

NAMES = ["n0", "n1", "n2"]
BEFORE = {"bootID": "a", "kubeletVersion": "v1.36.1"}


def like(name: str, *, unschedulable: bool = False, **info: str) -> dict[str, Any]:
    made = node(name)
    made["status"]["nodeInfo"] = {**BEFORE, **info}
    made["spec"] = {"unschedulable": True} if unschedulable else {}
    return made


def there(*nodes: dict[str, Any]) -> Service:
    records = [RewardRecord(name, "web", float(name != "n0"), 20.0, START_S) for name in NAMES]
    return service(*nodes, rewards=records, reward_settings={"choice": "probation"})


async def standing(of: Service) -> tuple[str, float]:
    told = await of.explain(pod(labels={"app": "web"}), NAMES)
    return told["n0"]["learned"]["standing"], told["n0"]["reward"] - told["n1"]["reward"]


@pytest.mark.parametrize(
    ("before", "after", "want"),
    [
        pytest.param(like("n0"), like("n0", bootID="b"), "on probation", id="booted"),
        pytest.param(like("n0"), like("n0", kubeletVersion="v1.36.2"), "on probation", id="another kubelet"),
        pytest.param(like("n0", unschedulable=True), like("n0"), "on probation", id="uncordoned"),
        pytest.param(like("n0"), like("n0", unschedulable=True), "shut", id="cordoned"),
        pytest.param(like("n0"), like("n0"), "shut", id="a heartbeat"),
        pytest.param(node("n0"), like("n0"), "shut", id="told for the first time"),
    ],
)
async def test_a_sign_of_repair_ends_the_time_that_a_node_is_shut(before: Any, after: Any, want: str) -> None:
    built = there(before, like("n1"), like("n2"))
    assert (await standing(built))[0] == "shut"
    built.clock.move(60)
    built.put_node(after)
    state, behind = await standing(built)
    assert state == want
    assert (behind == 0) == (want == "on probation")


async def test_a_failure_after_the_repair_shuts_the_node_anew() -> None:
    built = there(like("n0"), like("n1"), like("n2"))
    built.clock.move(60)
    built.put_node(like("n0", bootID="b"))
    built.clock.move(60)
    built.parts.reward_table.put(RewardRecord("n0", "web", 0.0, 21.0, built.clock.now_s))
    assert (await standing(built))[0] == "shut"


def test_a_node_that_comes_again_under_its_name_is_another_machine() -> None:
    repairs = Repairs(lambda: 7.0)
    for boot in ("a", "b"):
        repairs.told(NodeSummary("n0", made=boot))
    assert repairs.seen_s(["n0", "n1"]).tolist() == [7.0, float("-inf")]
