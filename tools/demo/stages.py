"""KWOK Stages under which the pods of one type fail on chosen nodes, and restart as a kubelet restarts them.

The kubelet counts a restart when it makes the new container: a run that ended keeps its number while it waits, first as
`state.terminated`, then, in CrashLoopBackOff, as `lastState.terminated`. The first restart is made at once, the second
after 10 s, each later one after twice the wait before, up to 300 s. Pure: dictionaries only.
"""

from __future__ import annotations

from typing import Any

Stage = dict[str, Any]

_CONTAINER = ".status.containerStatuses[0]"
_HEAD = """
{{ $now := Now }}
{{ $was := index .status.containerStatuses 0 }}
conditions:
{{ range $type := list "Ready" "ContainersReady" }}
- type: {{ $type }}
  status: %(ready)s
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
containerStatuses:
- name: {{ $was.name | Quote }}
  image: {{ $was.image | Quote }}
  imageID: {{ $was.image | Quote }}
  ready: %(is_ready)s
  started: %(is_ready)s
"""
_NOT_READY = _HEAD % {"ready": '"False"', "is_ready": "false"}
_READY = _HEAD % {"ready": '"True"', "is_ready": "true"}


def ends(pod_type: str, node: str, *, exit_code: int, after_s: float, at_most_s: float) -> Stage:
    """On this node, containers of the type end with the code, this long after they were started."""
    template = f"""{_NOT_READY}
  restartCount: {{{{ $was.restartCount }}}}
  {{{{ with $was.lastState }}}}
  lastState: {{{{ YAML . 2 }}}}
  {{{{ end }}}}
  state:
    terminated:
      exitCode: {exit_code}
      reason: Error
      startedAt: {{{{ $was.state.running.startedAt | Quote }}}}
      finishedAt: {{{{ $now | Quote }}}}
"""
    on_node = {"key": ".spec.nodeName", "operator": "In", "values": [node]}
    delay = {"durationMilliseconds": round(after_s * 1000), "jitterDurationMilliseconds": round(at_most_s * 1000)}
    return _stage(f"ends-on-{node}", pod_type, ".state.running != null", template, delay, on_node)


def restarts(pod_type: str) -> list[Stage]:
    """On every node, containers of the type that ended are restarted."""
    return [
        _stage(
            "restart-at-once",
            pod_type,
            ".state.terminated != null and .restartCount == 0",
            _restart("$was.state.terminated"),
            {"durationMilliseconds": 500},
        ),
        _stage(
            "back-off",
            pod_type,
            ".state.terminated != null and .restartCount > 0",
            f"""{_NOT_READY}
  restartCount: {{{{ $was.restartCount }}}}
  lastState:
    terminated: {{{{ YAML $was.state.terminated 3 }}}}
  state:
    waiting:
      reason: CrashLoopBackOff
      message: back-off restarting failed container
""",
            {"durationMilliseconds": 500},
        ),
        _stage(
            "restart-after-back-off",
            pod_type,
            '.state.waiting.reason == "CrashLoopBackOff"',
            _restart("$was.lastState.terminated"),
            {
                "durationFrom": {
                    "expressionFrom": f'{_CONTAINER}.restartCount | [10 * pow(2; . - 1), 300] | min | "\\(.)s"'
                }
            },
        ),
    ]


def _restart(ended: str) -> str:
    return f"""{_READY}
  restartCount: {{{{ add $was.restartCount 1 }}}}
  lastState:
    terminated: {{{{ YAML {ended} 3 }}}}
  state:
    running:
      startedAt: {{{{ $now | Quote }}}}
"""


def stage(name: str, selector: dict[str, Any], template: str, delay: dict[str, Any], **more: object) -> Stage:
    """After the delay, pods of the selector have the status of the template."""
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": selector,
            "delay": delay,
            "next": {"statusTemplate": template},
            **more,
        },
    }


def _stage(name: str, pod_type: str, when: str, template: str, delay: dict[str, Any], *more: dict[str, Any]) -> Stage:
    conditions = [
        {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
        {"key": ".status.phase", "operator": "In", "values": ["Running"]},
        {"key": f"{_CONTAINER} | select({when}) | .name", "operator": "Exists"},
        *more,
    ]
    return stage(name, {"matchLabels": {"podtype": pod_type}, "matchExpressions": conditions}, template, delay)
