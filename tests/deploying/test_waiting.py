"""How far a deployment is, and what it hangs on, in the words of those who know."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.deploying.progress import Part, parts, settled
from kubesteer.model.api_objects import Thing

from .objects import node, pod, rolled_out, thing, warning, workload

EXTENDER = workload("Deployment", "kubesteer-extender", replicas=2)
AGENT = workload("DaemonSet", "kubesteer-agent")


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "main", "state": state, "ready": False}]}


def part(made: Thing, *there: Thing, nodes: tuple[Thing, ...] = ()) -> Part:
    [found] = parts([made], there, nodes)
    return found


def unready(**status: Any) -> Thing:
    return pod("kubesteer-extender-a", "kubesteer-extender", ready=False, **status)


def test_a_part_is_done_when_all_its_pods_are_new_and_ready() -> None:
    found = part(EXTENDER, rolled_out(EXTENDER))
    assert (found.name, found.ready, found.wanted, found.is_done) == ("extender", 2, 2, True)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        pytest.param({"updatedReplicas": 1}, "an old pod is still there", id="an old pod"),
        pytest.param({"replicas": 3}, "an old pod is still there", id="one too many"),
        pytest.param({"observedGeneration": 0}, "the controller has not looked yet", id="not looked at"),
        pytest.param({"readyReplicas": 1}, "1 of 2", id="one is not ready"),
    ],
)
def test_a_part_is_not_done_while(status: dict[str, Any], why: str) -> None:
    made = {**EXTENDER, "metadata": {**EXTENDER["metadata"], "generation": 2}}
    there = rolled_out(made)
    there["status"] |= {"observedGeneration": 2, **status}
    assert not part(made, there).is_done, why


@pytest.mark.parametrize(
    ("status", "is_done"),
    [
        pytest.param({}, True, id="3 of 3, all of them new"),
        pytest.param({"updatedNumberScheduled": 2}, False, id="one is old"),
        pytest.param({"observedGeneration": 1}, False, id="the controller has not looked yet"),
        pytest.param({"numberReady": 2}, False, id="2 of 3 are ready"),
        pytest.param({"desiredNumberScheduled": 0, "numberReady": 0, "updatedNumberScheduled": 0}, True, id="no node"),
    ],
)
def test_agents_are_done_when_each_is_new_and_ready(status: dict[str, int], is_done: bool) -> None:
    there = rolled_out({**AGENT, "metadata": {**AGENT["metadata"], "generation": 2}})
    there["status"] |= status
    assert part(AGENT, there).is_done is is_done


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_is_named_before_all_else(reason: str) -> None:
    crash = {
        "name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
    }  # fmt: skip
    status = waiting(reason, "not found")
    status["containerStatuses"][0]["image"] = "r/k:9"
    old = unready(containerStatuses=[crash])
    new = pod("kubesteer-extender-b", "kubesteer-extender", ready=False, **status)
    found = part(EXTENDER, rolled_out(EXTENDER, 0), old, new)
    assert found.whys == (
        f"kubesteer-extender-b: image r/k:9 cannot be pulled: {reason}: not found",
        "kubesteer-extender-a: main ends with 3 (Error) again and again",
    )
    assert found.no_image
    assert not part(EXTENDER, rolled_out(EXTENDER, 0), old).no_image


def test_what_is_not_there_is_not_done() -> None:
    found = part(EXTENDER)
    assert (found.is_done, found.whys) == (False, ("Deployment kubesteer-extender is not there",))


@pytest.mark.parametrize(
    ("status", "events", "why"),
    [
        pytest.param(
            waiting("CreateContainerConfigError", "no such key"),
            [],
            "main: CreateContainerConfigError: no such key",
            id="a container that cannot be made",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {
                        "name": "main",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
                    }
                ]
            },
            [],
            "main ends with 3 (Error) again and again",
            id="it crashes",
        ),
        pytest.param(
            {"containerStatuses": [{"name": "main", "state": {"running": {}}, "ready": False, "restartCount": 2}]},
            [],
            "main runs and is not ready, 2 restarts",
            id="its probe fails",
        ),
        pytest.param(
            waiting("ContainerCreating"),
            [
                warning("kubesteer-extender-a", "FailedMount", "an old one", at="2026-11-22T09:00:00Z"),
                warning("kubesteer-extender-a", "FailedMount", 'secret "x" not found'),
                warning("another", "FailedMount", "not about it"),
            ],
            'FailedMount: secret "x" not found',
            id="a quiet reason: the newest event says more",
        ),
        pytest.param(
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ]
            },
            [],
            "Unschedulable: 0/1 nodes",
            id="no node",
        ),
    ],
)
def test_a_part_says_what_its_pod_hangs_on(status: dict[str, Any], events: list[Thing], why: str) -> None:
    found = part(EXTENDER, rolled_out(EXTENDER, 0), unready(**status), *events)
    assert found.whys == (f"kubesteer-extender-a: {why}",)


def test_a_volume_that_nobody_gives_is_named() -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]
    made = unready(**waiting("ContainerCreating"))
    made["spec"]["volumes"] = volumes
    claim = thing("PersistentVolumeClaim", "data-0", status={"phase": "Pending"})
    assert part(EXTENDER, rolled_out(EXTENDER, 0), made, claim).whys == (
        "kubesteer-extender-a: volume claim data-0 is not bound",
    )


def test_pods_that_are_not_made_are_explained_by_their_owner() -> None:
    event = warning("kubesteer-extender-5d9", "FailedCreate", "quota exceeded", kind="ReplicaSet")
    assert part(EXTENDER, rolled_out(EXTENDER, 0), event).whys == ("FailedCreate: quota exceeded",)


def test_agents_on_silent_nodes_are_not_waited_for() -> None:
    """3 nodes, of which one is silent: 2 agents are all that can be."""
    nodes = (node("a"), node("b"), node("c", ready=False))
    there = rolled_out(AGENT, 2)
    assert not part(AGENT, there).is_done
    found = part(AGENT, there, nodes=nodes)
    assert (found.ready, found.wanted, found.is_done) == (2, 2, True)


UNSCHEDULABLE = {"conditions": [{"type": "PodScheduled", "status": "False"}]}


@pytest.mark.parametrize(
    ("ready", "third", "is_enough"),
    [
        pytest.param(2, {"node": None, **UNSCHEDULABLE}, True, id="2 of 3, no node for the third"),
        pytest.param(2, {"node": "silent"}, True, id="2 of 3, the third on a silent node"),
        pytest.param(2, {}, False, id="2 of 3, the third starts"),
        pytest.param(2, None, False, id="2 of 3, the third is not made yet"),
        pytest.param(1, {"node": None, **UNSCHEDULABLE}, False, id="1 of 3 is no quorum"),
        pytest.param(3, None, False, id="3 of 3: done, not just enough"),
    ],
)
def test_two_of_etcds_three_members_are_enough_where_no_node_takes_the_third(
    ready: int, third: dict[str, Any] | None, is_enough: bool
) -> None:
    etcd = workload("StatefulSet", "kubesteer-etcd", replicas=3)
    there = rolled_out(etcd, ready)
    pods = [pod(f"kubesteer-etcd-{number}", "kubesteer-etcd", ready=number < ready) for number in range(2)]
    if third is not None:
        pods.append(pod("kubesteer-etcd-2", "kubesteer-etcd", ready=False, **third))
    found = part(etcd, there, *pods, nodes=(node(), node("silent", ready=False)))
    assert (found.is_enough, settled([found])) == (is_enough, is_enough or ready == 3)
    assert not found.is_done or ready == 3


def test_parts_come_in_the_order_in_which_they_get_ready() -> None:
    names = ("kubesteer-scheduler", "kubesteer-agent", "kubesteer-etcd", "other", "kubesteer-keeper")
    found = parts([workload("Deployment", name) for name in names], [], [])
    assert [each.name for each in found] == ["etcd", "keeper", "agent", "scheduler", "other"]
    assert not settled(found)


def test_a_pod_on_a_silent_node_is_told_as_that() -> None:
    old = warning("kubesteer-extender-gone", "BackOff", "of a pod that is no more")
    there = pod("kubesteer-extender-a", "kubesteer-extender", ready=False, node="dead")
    nodes = (node("dead", ready=False), node("alive"))
    assert part(EXTENDER, rolled_out(EXTENDER, 1), there, old, nodes=nodes).whys == (
        "kubesteer-extender-a: its node dead is silent",
    )


def test_events_of_pods_that_are_no_more_explain_nothing() -> None:
    old = warning("kubesteer-extender-gone", "BackOff", "of a pod that is no more")
    assert part(EXTENDER, rolled_out(EXTENDER, 1), pod("kubesteer-extender-a", "kubesteer-extender"), old).whys == ()
