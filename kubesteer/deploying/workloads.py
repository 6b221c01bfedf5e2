"""Deployments, StatefulSets and DaemonSets: how far each has come. Over objects as the API server gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubesteer.model.api_objects import Thing, labels, ref

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Rollout:
    """ready of wanted pods are ready, and are of the newest revision where is_current."""

    ready: int
    wanted: int
    is_current: bool

    @property
    def is_done(self) -> bool:
        """All there, none old."""
        return self.is_current and self.ready >= self.wanted


def pod_template(workload: Mapping[str, Any]) -> Thing:
    """Of its pods."""
    template: Thing = workload["spec"]["template"]
    return template


def rollout(workload: Mapping[str, Any], *, lost_nodes: int = 0) -> Rollout:
    """How far it has come.

    lost_nodes: nodes whose kubelet is silent. A DaemonSet counts them, and no pod of theirs gets ready.
    """
    status = workload.get("status") or {}
    seen = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    if workload["kind"] == "DaemonSet":
        wanted = max(0, status.get("desiredNumberScheduled", 0) - lost_nodes)
        ready, updated = status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)
        return Rollout(ready, wanted, seen and updated >= wanted)
    wanted = workload["spec"].get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    leftover = status.get("replicas", 0) > wanted
    return Rollout(ready, wanted, seen and updated >= wanted and not leftover)


def pods_of(things: Iterable[Thing], name: str) -> list[Thing]:
    """The pods of the workload of that name, by their own names."""
    found = [each for each in things if each["kind"] == "Pod" and labels(each).get("app.kubernetes.io/name") == name]
    return sorted(found, key=ref)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """By its own probes, and not on its way out."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return condition(pod, "Ready") == "True"


def condition(thing: Mapping[str, Any], name: str) -> str | None:
    """The status of one condition; None where it is not told."""
    rows = (thing.get("status") or {}).get("conditions") or ()
    return next((row["status"] for row in rows if row["type"] == name), None)
