"""Pods out of YAML or JSON text, whole or from the template of what makes them. Decides nothing, and opens no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubesteer.clients.kubernetes.manifest import unfolded
from kubesteer.clients.plain_yaml import documents
from kubesteer.model.errors import InvalidInput
from kubesteer.model.quantity import shown

_TEMPLATES = (("spec", "jobTemplate", "spec", "template"), ("spec", "template"), ("template",))
"""Where a CronJob, all other workloads, and a PodTemplate have the template of their pods."""
_WANTED = "a Pod, a List, or a workload: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob"


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """One pod as JSON has it. made_by: kind and name of its workload, empty for a pod that stands for itself."""

    pod: dict[str, Any]
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class PlannedPods:
    """All pods of a text, one for each workload. others: kind and name of objects that make no pods."""

    pods: list[PlannedPod]
    others: list[str]


def planned_pods(text: bytes) -> PlannedPods:
    """The pods of the text. Raises InvalidInput that names the line, or the document and what is wrong with it."""
    found = PlannedPods([], [])
    for number, document in enumerate(documents(text), start=1):
        if document is None:
            continue
        listed = {"kind": "PodList", "items": document} if isinstance(document, list) else document
        for kind, value in unfolded(listed, f"document {number}", ""):
            name = f"{kind} {shown(str(_metadata(value).get('name', '')))}"
            if (planned := _planned(kind, value)) is None:
                found.others.append(name)
            else:
                found.pods.append(planned)
    if not found.pods:
        others = f" but {', '.join(found.others)}" if found.others else ""
        raise InvalidInput(f"there is no pod in it{others}; give {_WANTED}")
    return found


def _planned(kind: str, value: dict[str, Any]) -> PlannedPod | None:
    metadata = _metadata(value)
    if kind == "Pod":
        name = metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-")
        return PlannedPod({**value, "metadata": {**metadata, "name": name}})
    template = _template(value)
    if template is None:
        return None
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "default")
    owner = {"kind": kind, "name": name, "controller": True}
    own = {**_metadata(template), "name": name, "namespace": namespace, "ownerReferences": [owner]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template["spec"]}
    return PlannedPod(pod, f"{kind} {shown(str(name))}")


def _template(value: dict[str, Any]) -> dict[str, Any] | None:
    for path in _TEMPLATES:
        part: Any = value
        for step in path:
            part = part.get(step) if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(spec := part.get("spec"), dict) and "containers" in spec:
            return part
    return None


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    metadata = value.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
