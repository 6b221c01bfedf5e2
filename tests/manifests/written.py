"""The objects in manifests/ as they are written, found through the kustomizations that name them. Nothing is rendered.

The rules that every object keeps stand here too: tests/e2e/test_manifests.py holds what kustomize renders to the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
NAMESPACE = "kubesteer"
CLUSTER_WIDE = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "Namespace",
        "PriorityClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
NAME, PART_OF = "app.kubernetes.io/name", "app.kubernetes.io/part-of"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """One object and the file that has it."""

    file: Path
    object: Object

    def __str__(self) -> str:
        return f"{self.file.relative_to(MANIFESTS)}: {self.object['kind']} {self.object['metadata']['name']}"


def kustomizations() -> list[Path]:
    return sorted(MANIFESTS.rglob("kustomization.yaml"))


def named_files(kustomization: Path) -> Iterator[tuple[str, Path]]:
    """What a kustomization names, and as what; folders (other kustomizations) too."""
    content = yaml.safe_load(kustomization.read_text())
    for field in ("resources", "components"):
        for name in content.get(field, ()):
            yield field, (kustomization.parent / name).resolve()
    for patch in content.get("patches", ()):
        yield "patches", (kustomization.parent / patch["path"]).resolve()
    for generator in content.get("configMapGenerator", ()):
        for name in generator.get("files", ()):
            yield "files", (kustomization.parent / name.rpartition("=")[2]).resolve()


def written() -> list[Written]:
    """Every object of every resource file, once."""
    files = {
        file
        for each in kustomizations()
        for field, file in named_files(each)
        if field == "resources" and file.is_file()
    }
    return [Written(file, thing) for file in sorted(files) for thing in yaml.safe_load_all(file.read_text())]


def patches() -> list[Object]:
    """Every strategic merge patch that a kustomization names."""
    files = {file for each in kustomizations() for field, file in named_files(each) if field == "patches"}
    return [thing for file in sorted(files) for thing in yaml.safe_load_all(file.read_text()) if "kind" in thing]


def pod_spec(thing: Mapping[str, Any]) -> Object | None:
    """The pod template's spec of a workload; None for what makes no pods."""
    match thing["kind"]:
        case "Deployment" | "DaemonSet" | "StatefulSet":
            template = thing["spec"]["template"]
        case "CronJob":
            template = thing["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            return None
    spec: Object = template["spec"]
    return spec


def containers(spec: Mapping[str, Any]) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def faults_of(thing: Mapping[str, Any]) -> list[str]:
    """What an object does not keep of the rules for all of them, in words."""
    labels = thing["metadata"].get("labels", {})
    faults = [f"has no label {label}" for label in (NAME, PART_OF) if not labels.get(label, "").startswith("kubesteer")]
    namespace = thing["metadata"].get("namespace")
    if thing["kind"] in CLUSTER_WIDE:
        faults += [f"is in namespace {namespace}"] * (namespace is not None)
    elif namespace != NAMESPACE and thing["metadata"]["name"] != "kubesteer-scheduler-authentication-reader":
        faults.append(f"is in namespace {namespace}")
    spec = pod_spec(thing)
    return faults + (list(_faults_of_pod(spec)) if spec is not None else [])


def _faults_of_pod(spec: Object) -> Iterator[str]:
    security = spec.get("securityContext", {})
    if not (security.get("runAsNonRoot") and security.get("runAsUser", 0) > 0):
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    if spec.get("schedulerName") != "default-scheduler":
        yield "may be scheduled through kubesteer"
    if spec.get("enableServiceLinks") is not False:
        yield "takes the variables of Services, which look like settings"
    if spec.get("nodeSelector") != {"kubernetes.io/os": "linux"}:
        yield "may come to a node that is not Linux"
    if spec.get("hostPID") or spec.get("hostIPC") or any("hostPath" in volume for volume in spec.get("volumes", ())):
        yield "reaches into its node"
    for container in containers(spec):
        yield from (f"{container['name']} {fault}" for fault in _faults_of_container(container))


def _faults_of_container(container: Object) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "may gain privileges"
    if not security.get("readOnlyRootFilesystem"):
        yield "may write to its root"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    _, colon, tag = container["image"].rpartition(":")
    if not colon or tag == "latest" or "/" in tag:
        yield f"has an image without a version: {container['image']}"
    resources = container.get("resources", {})
    if {"cpu", "memory"} - resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "does not say what it needs"
