"""How a pod's history is read from the API's own record of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kubesteer.clients.kubernetes.pod_runs import RunningPod, pod_runs, pods_of_node
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.runs import ContainerRuns, PodRuns, RunEnd
from tests.cluster_state import builders
from tests.cluster_state.conftest import connected
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cluster_state.fake_api import FakeApi

NOON_S = 1_795_348_800.0
NOON = "2026-11-22T12:00:00Z"
LATER = "2026-11-22T12:00:30Z"
"""30 s after noon."""


def runs(**changes: Any) -> PodRuns:
    """A web pod's runs; metadata, spec and status are laid over it."""
    pod = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"}, "spec": {"containers": [{"name": "main"}]}}
    for part, more in changes.items():
        pod[part] = {**pod.get(part, {}), **more}
    return pod_runs(msgspec.json.decode(json.dumps(pod), type=RunningPod), DEFAULT_NETWORK)


def container(state: dict[str, Any], **more: Any) -> ContainerRuns:
    """The one container of a pod in this state."""
    return runs(status={"containerStatuses": [{"name": "main", "state": state, **more}]}).containers[0]


def test_a_pod_that_the_kubelet_has_not_seen_yet_has_no_runs() -> None:
    assert runs() == PodRuns(
        uid="u1",
        namespace="shop",
        name="web-1",
        pod_type="web-1",
        containers=(ContainerRuns("main"),),
        asked_bps=(0, 0),
    )


def test_times_are_unix_seconds_and_conditions_count_only_while_they_are_true() -> None:
    def condition(kind: str, status: str = "True", **more: str) -> dict[str, str]:
        return {"type": kind, "status": status, "lastTransitionTime": LATER, **more}

    pod = runs(
        status={
            "phase": "Running",
            "startTime": NOON,
            "conditions": [
                condition("PodScheduled"),
                condition("Ready", "False"),
                condition("DisruptionTarget", reason="TerminationByKubelet"),
            ],
        }
    )
    assert (pod.phase, pod.started_s, pod.scheduled_s) == ("Running", NOON_S, NOON_S + 30)
    assert pod.ready_s is None
    assert pod.disruption == "TerminationByKubelet"
    ready = runs(status={"conditions": [condition("Ready"), condition("DisruptionTarget", "False", reason="x")]})
    assert (ready.ready_s, ready.disruption) == (NOON_S + 30, "")


def test_a_pods_scheduler_is_the_one_whose_events_tell_of_its_binding() -> None:
    assert runs(spec={"schedulerName": "kubesteer"}).scheduler == "kubesteer"


def test_somebody_asked_for_the_deletion_a_grace_period_before_its_timestamp() -> None:
    """Deletion at 12:00:30 with 30 s of grace was asked for at noon."""
    assert runs(metadata={"deletionTimestamp": LATER, "deletionGracePeriodSeconds": 30}).deleting_since_s == NOON_S
    assert runs(metadata={"deletionTimestamp": LATER}).deleting_since_s == NOON_S + 30


@pytest.mark.parametrize(
    ("changes", "meant_to_end"),
    [
        pytest.param({"spec": {"restartPolicy": "Always"}}, False, id="a service"),
        pytest.param({"spec": {"restartPolicy": "OnFailure"}}, True, id="restarted on failure only"),
        pytest.param({"spec": {"restartPolicy": "Never"}}, True, id="never restarted"),
        pytest.param(
            {"metadata": {"ownerReferences": [{"name": "j", "kind": "Job", "controller": True}]}}, True, id="of a Job"
        ),
        pytest.param(
            {"metadata": {"ownerReferences": [{"name": "r", "kind": "ReplicaSet", "controller": True}]}},
            False,
            id="of a ReplicaSet",
        ),
    ],
)
def test_a_pod_is_meant_to_end_by_its_restart_policy_or_its_owner(changes: dict[str, Any], meant_to_end: bool) -> None:
    assert runs(**changes).to_completion is meant_to_end


def test_a_running_container_tells_how_its_last_run_ended() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": NOON, "finishedAt": LATER}
    assert container(
        {"running": {"startedAt": LATER}}, restartCount=3, lastState={"terminated": ended}
    ) == ContainerRuns(
        "main", restarts=3, running_since_s=NOON_S + 30, last=RunEnd(137, "OOMKilled", NOON_S, NOON_S + 30)
    )


def test_a_container_that_never_ran_has_no_times_though_the_kubelet_writes_null() -> None:
    ended = {"exitCode": 128, "reason": "ContainerCannotRun", "startedAt": None, "finishedAt": None}
    assert container({"terminated": ended}).ended == RunEnd(128, "ContainerCannotRun", None, None)


def test_a_waiting_container_says_what_for() -> None:
    waiting = container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
    assert (waiting.waiting_reason, waiting.waiting_message) == ("ImagePullBackOff", "Back-off pulling image")
    assert waiting.running_since_s is None


def test_an_init_container_is_told_from_a_sidecar() -> None:
    pod = runs(
        spec={"initContainers": [{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]},
        status={"initContainerStatuses": [{"name": "proxy", "restartCount": 2}]},
    )
    assert [(one.name, one.init, one.restarts) for one in pod.containers] == [
        ("setup", True, 0),
        ("proxy", False, 2),
        ("main", False, 0),
    ]


def test_a_pod_evicted_by_the_kubelet_says_so() -> None:
    assert runs(status={"phase": "Failed", "reason": "Evicted"}).status_reason == "Evicted"


LOST = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}


@pytest.mark.parametrize(
    "state", [{"waiting": {"reason": "ContainerCreating"}}, {"terminated": LOST}], ids=["first", "then"]
)
def test_the_end_of_an_evicted_container_that_is_told_twice_is_one_run(state: dict[str, Any]) -> None:
    """As a real kubelet wrote it: restartCount went from 0 to 1, and no second run there was."""
    status = {"name": "main", "restartCount": 1, "state": state, "lastState": {"terminated": LOST}}
    evicted = runs(status={"phase": "Failed", "reason": "Evicted", "containerStatuses": [status]})
    assert evicted.containers == (ContainerRuns("main", ended=RunEnd(137, "ContainerStatusUnknown", None, None)),)


def test_a_container_that_was_lost_in_a_pod_that_goes_on_is_a_run() -> None:
    status = {"name": "main", "restartCount": 1, "state": {"running": {}}, "lastState": {"terminated": LOST}}
    goes_on = runs(status={"phase": "Running", "containerStatuses": [status]})
    assert goes_on.containers[0].restarts == 1
    assert goes_on.containers[0].last == RunEnd(137, "ContainerStatusUnknown", None, None)


def test_an_slo_and_the_applications_measure_are_read() -> None:
    limits = {"resources": {"limits": {"kubesteer.io/egress-bps": "300M"}}}
    pod = runs(
        metadata={"annotations": {"kubesteer.io/reward": "0.7", "kubernetes.io/ingress-bandwidth": "1G"}},
        spec={"containers": [{"name": "main", **limits}]},
    )
    assert (pod.asked_bps, pod.measure) == ((300_000_000, 1_000_000_000), "0.7")


def test_an_slo_that_cannot_be_read_does_not_hide_the_pods_runs() -> None:
    limits = {"resources": {"limits": {"kubesteer.io/egress-bps": "a lot"}}}
    assert runs(spec={"containers": [{"name": "main", **limits}]}).asked_bps == (0, 0)


@asynccontextmanager
async def following(api: FakeApi, node: str) -> AsyncIterator[dict[str, str]]:
    """Phases of the pods of one node, by uid, while they are followed."""
    phases: dict[str, str] = {}

    def put(pod: RunningPod) -> None:
        phases[pod.metadata.uid or ""] = (pod.status and pod.status.phase) or ""

    async with connected(api) as server:
        resource = pods_of_node(node, put=put, delete=lambda uid: phases.pop(uid, None))
        reflector = Reflector(
            server, resource, pace=Pace(), random=Random(1), clock=asyncio.get_running_loop().time, sleep=asyncio.sleep
        )
        task = asyncio.create_task(reflector.run())
        try:
            await until(lambda: api.of("pods"))
            yield phases
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_only_the_pods_of_one_node_are_followed_those_that_ended_too(api: FakeApi) -> None:
    for name, node in (("mine", "n1"), ("other", "n2")):
        api.put(builders.pod(name, on=node))
    api.put(builders.pod("done", on="n1", phase="Succeeded"))
    async with following(api, "n1") as phases:
        assert phases == {"uid-mine": "Running", "uid-done": "Succeeded"}
        api.put(builders.pod("new"))
        api.put(builders.pod("new", on="n1", phase="Pending"))
        api.put(builders.pod("mine", on="n1", phase="Failed"))
        api.put(builders.pod("other", on="n2", phase="Failed"))
        await until(lambda: phases.get("uid-mine") == "Failed")
        assert phases == {"uid-mine": "Failed", "uid-done": "Succeeded", "uid-new": "Pending"}
        api.delete(builders.pod("mine", on="n1"))
        await until(lambda: "uid-mine" not in phases)
    assert {params["fieldSelector"] for name, params in api.requests if name == "pods"} == {"spec.nodeName=n1"}
