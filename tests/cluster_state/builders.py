"""Nodes and pods as JSON dictionaries, and waiting for what other tasks bring about. Pure but for the waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def node(name: str, *, cpu: str = "8", **annotations: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "annotations": annotations},
        "status": {
            "allocatable": {"cpu": cpu, "memory": "32Gi", "kubesteer.io/egress-bps": "10G"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(name: str, *, on: str = "", cpu: str = "100m", uid: str = "", phase: str = "Running") -> dict[str, Any]:
    """In namespace `default`; the uid is the name with "uid-" in front unless told."""
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}], "nodeName": on},
        "status": {"phase": phase},
    }
