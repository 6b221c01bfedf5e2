"""KWOK Stages under which some nodes are bad ones: what becomes of pods there, as a kubelet would record it.

A Stage sees no node, so each is told the names of its nodes. Restarts and their back-off are tools/demo/stages.py's.
Pure: dictionaries only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.demo.stages import Stage, stage

if TYPE_CHECKING:
    from collections.abc import Sequence

_ACTIVE = "phase: Running"
_PENDING = '.status.phase == "Pending"'
_RUNS = ".status.containerStatuses[0].state.running != null"
_TRIED = '.status.containerStatuses[0].state.waiting.reason == "ErrImagePull"'
_IS_READY = 'any(.status.conditions[]; .type == "Ready" and .status == "True")'
_NOW, _AS_BEFORE = "{{ $now | Quote }}", "{{ $was.state.running.startedAt | Quote }}"
_STATUS = """
{{ $now := Now }}
{{ $main := index .spec.containers 0 }}
{{ $was := dict }}
{{ with .status.containerStatuses }}{{ $was = index . 0 }}{{ end }}
%(pod)s
startTime: {{ or .status.startTime $now | Quote }}
conditions:
{{ range $type := list "Ready" "ContainersReady" }}
- type: {{ $type }}
  status: %(ready)s
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
%(condition)s
containerStatuses:
- name: {{ $main.name | Quote }}
  image: {{ $main.image | Quote }}
  imageID: {{ $main.image | Quote }}
  ready: %(is_ready)s
  started: %(is_ready)s
  restartCount: {{ or $was.restartCount 0 }}
  {{ with $was.lastState }}
  lastState: {{ YAML . 2 }}
  {{ end }}
  state:
%(state)s
"""


def starts(nodes: Sequence[str], *, after_s: float) -> Stage:
    """Pods run so long after they were scheduled, and are ready at once."""
    return _stage("starts", nodes, _PENDING, _running(ready=True), after_s)


def starts_slowly(nodes: Sequence[str], *, after_s: float, ready_after_s: float) -> list[Stage]:
    """Pods run so long after they were scheduled, and are ready so long after that."""
    return [
        _stage("starts-slowly", nodes, _PENDING, _running(ready=False), after_s),
        _stage(
            "gets-ready",
            nodes,
            f"({_RUNS}) and ({_IS_READY} | not)",
            _running(ready=True, since=_AS_BEFORE),
            ready_after_s,
        ),
    ]


def ends(name: str, nodes: Sequence[str], *, exit_code: int, reason: str, after_s: float) -> Stage:
    """Containers end so long after they were started."""
    return _stage(name, nodes, _RUNS, _ended(exit_code, reason), after_s)


def pulls_in_vain(nodes: Sequence[str], *, image: str, cause: str, every_s: float) -> list[Stage]:
    """The image cannot be had: the kubelet tries, says what it was told, waits, and tries again."""
    failed = f'failed to pull and unpack image "{image}": {cause}'
    back_off = f'Back-off pulling image "{image}": ErrImagePull: {failed}'
    tries = _stage("tries", nodes, f"{_PENDING} and ({_TRIED} | not)", _waiting("ErrImagePull", failed), every_s)
    waits = _stage("waits", nodes, f"{_PENDING} and {_TRIED}", _waiting("ImagePullBackOff", back_off), every_s)
    message = f'Failed to pull image "{image}": {failed}'
    tries["spec"]["next"]["event"] = {"type": "Warning", "reason": "Failed", "message": message}
    return [tries, waits]


def evicts(nodes: Sequence[str], *, after_s: float) -> Stage:
    """The node is short of memory, and ends pods so long after they were started."""
    message = 'message: "The node was low on resource: memory."'
    since = f"lastTransitionTime: {_NOW}"
    condition = f'- type: DisruptionTarget\n  status: "True"\n  {since}\n  reason: TerminationByKubelet\n  {message}'
    status = _ended(137, "Error", pod=f"phase: Failed\nreason: Evicted\n{message}", condition=condition)
    return _stage("evicts", nodes, _RUNS, status, after_s)


def stops_when_deleted(nodes: Sequence[str], *, after_s: float) -> Stage:
    """SIGTERM ends containers of deleted pods before the pod is gone, so that the end is on record."""
    stops = _stage("stops", nodes, _RUNS, _ended(143, "Error"), after_s)
    stops["spec"]["selector"]["matchExpressions"][0]["operator"] = "Exists"
    return stops


def _running(*, ready: bool, since: str = _NOW) -> str:
    return _status(f"    running:\n      startedAt: {since}", ready=ready)


def _waiting(reason: str, message: str) -> str:
    return _status(f"    waiting:\n      reason: {reason}\n      message: '{message}'", pod="phase: Pending")


def _ended(exit_code: int, reason: str, *, pod: str = _ACTIVE, condition: str = "") -> str:
    code, times = f"exitCode: {exit_code}", f"startedAt: {_AS_BEFORE}\n      finishedAt: {_NOW}"
    return _status(
        f"    terminated:\n      {code}\n      reason: {reason}\n      {times}", pod=pod, condition=condition
    )


def _status(state: str, *, ready: bool = False, pod: str = _ACTIVE, condition: str = "") -> str:
    """The template of a pod's status: fields of the pod, one more condition, and the state of its one container."""
    flags = {"ready": f'"{ready}"', "is_ready": str(ready).lower()}
    return _STATUS % {"pod": pod, "condition": condition, "state": state, **flags}


def _stage(name: str, nodes: Sequence[str], when: str, status: str, after_s: float) -> Stage:
    """when: a jq condition of a pod that nobody deletes. The weight puts it before KWOK's own Stages, which have none."""
    conditions = [
        {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
        {"key": ".spec.nodeName", "operator": "In", "values": list(nodes)},
        {"key": f"select({when}) | .metadata.name", "operator": "Exists"},
    ]
    delay = {"durationMilliseconds": round(after_s * 1000)}
    return stage(name, {"matchExpressions": conditions}, status, delay, weight=1)
