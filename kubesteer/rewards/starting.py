"""Outcomes of the start stage: what kept a pod, or one of its containers, from starting on its node.

A fault that would meet the pod on any node (an image that does not exist, a Secret that does not exist) is no outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kubesteer.model.runs import ContainerRuns, EventSeen, Outcome, PodRuns, Stage
from kubesteer.rewards.reasons import Reason

_NODE_FAULTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})
_MISSING_OBJECT = re.compile(
    r'(configmap|secret|persistentvolumeclaim) "[^"]*" not found|non-existent (config|secret) key|not registered',
    re.IGNORECASE,
)
_PULL_WAITS = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_USERS_PULL_FAULT = re.compile(
    r"not ?found|manifest unknown|does not exist|unauthorized|authentication required|no basic auth|denied|forbidden"
    r"|invalid reference",
    re.IGNORECASE,
)
_WRONG_PLATFORM = "no match for platform"
"""The image exists, and not for this node's kind of CPU; the runtime's message ends in "not found" all the same."""
_IMAGE = re.compile(r'image "([^"]*)"')
_CREATING = frozenset({"", "ContainerCreating", "PodInitializing"})
_BINDING = "Operation cannot be fulfilled on pods/binding"
_TIMED_OUT = re.compile(r"timed out|deadline exceeded", re.IGNORECASE)


def start_outcomes(
    pod: PodRuns, events: Sequence[EventSeen], now_s: float, *, pull_fails_elsewhere: bool, slack_s: float
) -> Iterator[Outcome]:
    """At most one for the pod as a whole, and one for each container whose image this node cannot get."""
    before_s = _start_ends_s(pod, slack_s)
    in_time = sorted((event for event in events if event.time_s < before_s), key=lambda event: event.time_s)
    for event in in_time:
        reason = _fault(pod, event, slack_s)
        if reason is not None:
            yield _failed(pod, "", 0, reason, event.time_s)
            break
    if pull_fails_elsewhere or pod.deleting_since_s is not None:
        return
    for container in pod.containers:
        since_s = _pull_failed_s(container, in_time, now_s)
        if since_s is not None:
            yield _failed(pod, container.name, next_run(container), Reason.PULL, since_s)


def is_pulling_in_vain(container: ContainerRuns) -> bool:
    """Whether it waits for an image that could not be had, for whatever reason."""
    return container.waiting_reason in _PULL_WAITS


def has_begun(container: ContainerRuns) -> bool:
    """Whether it has run at all."""
    return container.running_since_s is not None or container.ended is not None or container.last is not None


def last_run(container: ContainerRuns) -> int:
    """The number of the run whose end `last` is.

    The kubelet counts a restart when it makes the new container: while one waits to be restarted, `last` is already
    the newest run's end and `restarts` still its number.
    """
    return container.restarts if _awaits_restart(container) else max(0, container.restarts - 1)


def next_run(container: ContainerRuns) -> int:
    """The number of the run that is to start, or that runs."""
    return container.restarts + 1 if _awaits_restart(container) else container.restarts


def _awaits_restart(container: ContainerRuns) -> bool:
    is_waiting = container.running_since_s is None and container.ended is None
    return is_waiting and container.last is not None and container.waiting_reason not in _CREATING


def _start_ends_s(pod: PodRuns, slack_s: float) -> float:
    """Events from then on are not about the start."""
    ends = [end for one in pod.containers for end in (one.ended, one.last) if end is not None]
    starts = [end.started_s for end in ends] + [one.running_since_s for one in pod.containers]
    known = [start_s + slack_s for start_s in starts if start_s is not None]
    if pod.deleting_since_s is not None:
        known.append(pod.deleting_since_s)
    return min(known, default=float("inf"))


def _fault(pod: PodRuns, event: EventSeen, slack_s: float) -> str | None:
    if event.reason in _NODE_FAULTS:
        return None if _MISSING_OBJECT.search(event.message) else event.reason
    timed_out = "binding" in event.message and _TIMED_OUT.search(event.message) is not None
    is_binding = timed_out or (_BINDING in event.message and "being deleted" not in event.message)
    is_this_one = pod.scheduled_s is None or event.time_s >= pod.scheduled_s - slack_s
    return Reason.BINDING if is_binding and is_this_one else None


def _pull_failed_s(container: ContainerRuns, events: Sequence[EventSeen], now_s: float) -> float | None:
    """Since when this node cannot get the image; None where it can, or where no node can.

    Where nothing tells the cause, events that were looked up (there is always one, of the scheduling) rule out the
    user's fault, which the kubelet would have told.
    """
    if not is_pulling_in_vain(container):
        return None
    named = _IMAGE.search(container.waiting_message)
    told = [
        event
        for event in events
        if event.message.startswith("Failed to pull image") and (named is None or named[0] in event.message)
    ]
    causes = [event.message for event in told]
    if container.waiting_message and not _is_bare_back_off(container.waiting_message):
        causes.append(container.waiting_message)
    if any(_is_users_fault(cause) for cause in causes) or not (causes or events):
        return None
    return told[0].time_s if told else now_s


def _is_bare_back_off(message: str) -> bool:
    return message.startswith("Back-off pulling image") and "ErrImagePull" not in message


def _is_users_fault(cause: str) -> bool:
    return _WRONG_PLATFORM not in cause and _USERS_PULL_FAULT.search(cause) is not None


def _failed(pod: PodRuns, container: str, run: int, reason: str, time_s: float) -> Outcome:
    where = f"{pod.namespace}/{pod.name}"
    return Outcome(pod.pod_type, pod.uid, where, container, Stage.START, run, 0.0, reason, time_s)
