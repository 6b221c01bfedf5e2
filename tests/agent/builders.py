"""Pods with a history, as the API server has them. Times are unix seconds; NOW_S is when most tests begin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NODE = "node-1"
NOW_S = 1_795_348_800.0
"""2026-11-22, noon."""


def rfc3339(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(since_s: float) -> dict[str, Any]:
    return {"running": {"startedAt": rfc3339(since_s)}}


def ended(exit_code: int, *, reason: str = "Error", ran_s: float = 5.0, at_s: float = NOW_S) -> dict[str, Any]:
    times = {"startedAt": rfc3339(at_s - ran_s), "finishedAt": rfc3339(at_s)}
    return {"terminated": {"exitCode": exit_code, "reason": reason, **times}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    name: str = "web-1",
    state: dict[str, Any] | None = None,
    *,
    last: dict[str, Any] | None = None,
    restarts: int = 0,
    pod_type: str = "web",
    on: str = NODE,
    scheduled_s: float = NOW_S - 60,
    ready_s: float | None = None,
    egress: str = "",
    annotations: dict[str, str] | None = None,
    policy: str = "Always",
    phase: str = "Running",
    **metadata: Any,
) -> dict[str, Any]:
    """A pod of one container, `main`, that was scheduled a minute ago; it asks for `egress` bit/s."""
    conditions = [("PodScheduled", scheduled_s)] + ([("Ready", ready_s)] if ready_s is not None else [])
    status = {"name": "main", "restartCount": restarts, "state": state or {}, "lastState": last or {}}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {"podtype": pod_type},
            "annotations": annotations or {},
            **metadata,
        },
        "spec": {
            "nodeName": on,
            "restartPolicy": policy,
            "containers": [
                {"name": "main", "resources": {"limits": {"kubesteer.io/egress-bps": egress} if egress else {}}}
            ],
        },
        "status": {
            "phase": phase,
            "startTime": rfc3339(scheduled_s),
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": rfc3339(time_s)} for kind, time_s in conditions
            ],
            "containerStatuses": [status],
        },
    }


def node(name: str = NODE, *, uid: str = "uid-node", **resources: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": uid},
        "spec": {},
        "status": {"capacity": {"cpu": "8", **resources}, "allocatable": {"cpu": "8", **resources}},
    }


def warning(about: str, reason: str, message: str, *, at_s: float = NOW_S, by: str = "kubelet") -> dict[str, Any]:
    """An Event about a pod of this name."""
    return {
        "metadata": {"namespace": "shop", "name": f"{about}.{reason}"},
        "involvedObject": {"uid": f"uid-{about}"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": rfc3339(at_s),
        "source": {"component": by},
        "reportingComponent": by,
    }
