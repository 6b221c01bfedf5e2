"""How the pods of one node ran: the API's pods decoded into kubesteer.model's PodRuns, and where they are listed.

Only bytes to values; what a run is worth is decided in kubesteer.rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from kubesteer.clients.kubernetes.objects import (
    Amounts,
    Condition,
    Container,
    ContainerStatus,
    Metadata,
    Object,
    Part,
    PodSpec,
    Resources,
)
from kubesteer.clients.kubernetes.resource import PODS, Resource, by_uid, resource
from kubesteer.model.cluster import pod_type
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.requests import pod_requests
from kubesteer.model.runs import ContainerRuns, PodRuns, RunEnd

MEASURE_ANNOTATION = "kubesteer.io/reward"
_MEANT_TO_END = frozenset({"Never", "OnFailure"})
_OVER = frozenset({"Succeeded", "Failed"})
_LOST = "ContainerStatusUnknown"


class _Running(Part):
    started_at: datetime | None = None


class _Terminated(Part):
    exit_code: int = 0
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class _Waiting(Part):
    reason: str | None = None
    message: str | None = None


class _State(Part):
    running: _Running | None = None
    terminated: _Terminated | None = None
    waiting: _Waiting | None = None


class _RunStatus(ContainerStatus):
    restart_count: int = 0
    state: _State | None = None
    last_state: _State | None = None


class _DatedCondition(Condition):
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class _Status(Part):
    phase: str | None = None
    reason: str | None = None
    nominated_node_name: str | None = None
    start_time: datetime | None = None
    conditions: list[_DatedCondition] | None = None
    container_statuses: list[_RunStatus] | None = None
    init_container_statuses: list[_RunStatus] | None = None
    allocated_resources: Amounts | None = None
    resources: Resources | None = None


class _Spec(PodSpec):
    restart_policy: str | None = None
    scheduler_name: str | None = None


class _Metadata(Metadata):
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None


class RunningPod(Object):
    """A pod with what the kubelet records of its containers."""

    metadata: _Metadata
    spec: _Spec
    status: _Status | None = None


def pods_of_node(
    node: str, *, put: Callable[[RunningPod], None], delete: Callable[[str], None]
) -> Resource[RunningPod]:
    """The pods bound to one node, by uid, those that have ended too."""
    return resource(
        RunningPod,
        PODS,
        kind="Pod",
        put=put,
        delete=delete,
        key=by_uid,
        selector={"fieldSelector": f"spec.nodeName={node}"},
    )


def pod_runs(pod: RunningPod, network: Sequence[NetworkResource]) -> PodRuns:
    """The pod's history. An SLO that cannot be read counts as none: the pod is placed, and its runs count."""
    metadata, status = pod.metadata, pod.status or _Status()
    namespace = metadata.namespace or "default"
    conditions = {condition.type: condition for condition in status.conditions or () if condition.status == "True"}
    disruption = conditions.get("DisruptionTarget")
    try:
        asked_bps = pod_requests(pod, network).network_bps
    except InvalidQuantity:
        asked_bps = (0,) * len(network)
    return PodRuns(
        uid=metadata.uid or f"{namespace}/{metadata.name}",
        namespace=namespace,
        name=metadata.name,
        pod_type=pod_type(metadata),
        containers=tuple(_containers(pod.spec, status)),
        phase=status.phase or "",
        to_completion=pod.spec.restart_policy in _MEANT_TO_END or _is_of_a_job(metadata),
        deleting_since_s=_deleting_since_s(metadata),
        status_reason=status.reason or "",
        disruption=(disruption.reason or "") if disruption else "",
        scheduled_s=_since_s(conditions.get("PodScheduled")),
        started_s=_unix_s(status.start_time),
        ready_s=_since_s(conditions.get("Ready")),
        asked_bps=asked_bps,
        measure=(metadata.annotations or {}).get(MEASURE_ANNOTATION),
        scheduler=pod.spec.scheduler_name or "",
    )


def _containers(spec: _Spec, status: _Status) -> Iterable[ContainerRuns]:
    for containers, statuses, init in (
        (spec.init_containers, status.init_container_statuses, True),
        (spec.containers, status.container_statuses, False),
    ):
        by_name = {one.name: one for one in statuses or ()}
        for container in containers or ():
            sidecar = init and container.restart_policy == "Always"
            found = _told_once(by_name.get(container.name, _RunStatus()), is_over=status.phase in _OVER)
            yield _runs(container, found, init=init and not sidecar)


def _told_once(status: _RunStatus, *, is_over: bool) -> _RunStatus:
    """The kubelet may tell the end of an evicted container twice: as lost, with a restart more, and again as its state.

    In a pod that goes on, a container that was lost is a run like any other.
    """
    lost = (status.last_state or _State()).terminated
    if not is_over or lost is None or lost.reason != _LOST or lost.started_at is not None:
        return status
    return _RunStatus(name=status.name, restart_count=max(0, status.restart_count - 1), state=_State(terminated=lost))


def _runs(container: Container, status: _RunStatus, *, init: bool) -> ContainerRuns:
    now, last = status.state or _State(), status.last_state or _State()
    return ContainerRuns(
        name=container.name,
        restarts=max(0, status.restart_count),
        init=init,
        running_since_s=_unix_s(now.running.started_at) if now.running else None,
        ended=_ended(now.terminated),
        last=_ended(last.terminated),
        waiting_reason=(now.waiting.reason or "") if now.waiting else "",
        waiting_message=(now.waiting.message or "") if now.waiting else "",
    )


def _ended(terminated: _Terminated | None) -> RunEnd | None:
    if terminated is None:
        return None
    return RunEnd(
        exit_code=terminated.exit_code,
        reason=terminated.reason or "",
        started_s=_unix_s(terminated.started_at),
        finished_s=_unix_s(terminated.finished_at),
    )


def _deleting_since_s(metadata: _Metadata) -> float | None:
    """When somebody asked: deletionTimestamp is when the grace period ends."""
    if metadata.deletion_timestamp is None:
        return None
    return metadata.deletion_timestamp.timestamp() - (metadata.deletion_grace_period_seconds or 0)


def _is_of_a_job(metadata: Metadata) -> bool:
    return any(owner.kind == "Job" and owner.controller for owner in metadata.owner_references or ())


def _since_s(condition: _DatedCondition | None) -> float | None:
    return _unix_s(condition.last_transition_time) if condition else None


def _unix_s(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
