"""How a pod's containers ran, as the Kubernetes API records it, and the outcome that a run counts for.

Only values; what counts as which outcome is decided in kubesteer.rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Which part of a container's life an outcome is about."""

    START = "start"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of one container run. Times are unix seconds, None where the kubelet did not tell."""

    exit_code: int
    reason: str
    started_s: float | None
    finished_s: float | None


@dataclass(frozen=True, slots=True)
class ContainerRuns:
    """One container of a pod, as its status has it. Runs are counted from 0, restarts when a new run is made.

    init: an init container that runs to its end; a sidecar (a restartable init container) is none.
    running_since_s: unix seconds, None while it does not run.
    ended: the end of run `restarts`. last: the end of the run before the present one; while the container waits to be
        restarted there is no present one, and `last` is run `restarts` itself.
    waiting_reason, waiting_message: why it does not run yet, empty where it does.
    """

    name: str
    restarts: int = 0
    init: bool = False
    running_since_s: float | None = None
    ended: RunEnd | None = None
    last: RunEnd | None = None
    waiting_reason: str = ""
    waiting_message: str = ""


@dataclass(frozen=True, slots=True)
class PodRuns:
    """One pod on its node. Times are unix seconds.

    to_completion: its containers are meant to end (a Job's pod, or restartPolicy Never or OnFailure).
    deleting_since_s: when somebody asked for its deletion (deletionTimestamp less the grace period).
    status_reason: `status.reason`, such as Evicted. disruption: reason of the condition DisruptionTarget.
    started_s: the kubelet took it on. ready_s: it became ready, None while it is not.
    asked_bps: SLO by direction, in the order of the network resources.
    measure: the annotation kubesteer.io/reward, as text.
    scheduler: its schedulerName, in which that scheduler writes Events.
    """

    uid: str
    namespace: str
    name: str
    pod_type: str
    containers: tuple[ContainerRuns, ...] = ()
    phase: str = ""
    to_completion: bool = False
    deleting_since_s: float | None = None
    status_reason: str = ""
    disruption: str = ""
    scheduled_s: float | None = None
    started_s: float | None = None
    ready_s: float | None = None
    asked_bps: Sequence[int] = ()
    measure: str | None = None
    scheduler: str = ""


@dataclass(frozen=True, slots=True)
class EventSeen:
    """An Event about a pod: its newest occurrence, unix seconds."""

    reason: str
    message: str
    time_s: float
    kind: str = "Warning"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one stage of one container run went: 0 worst .. 1 best, and why, and when (unix seconds).

    (pod_uid, container, stage, run) is its identity: a run counts once, and a later outcome of it takes the place of
    an earlier one. container is empty for what befell the pod as a whole.
    """

    pod_type: str
    pod_uid: str
    pod: str
    """namespace/name, for people."""
    container: str
    stage: Stage
    run: int
    value: float
    reason: str
    time_s: float
