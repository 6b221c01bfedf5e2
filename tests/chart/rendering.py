"""Renderings of the chart and of manifests/: Helm's command, which values make which kustomization, and what differs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from tools.chart.making import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Object = dict[str, Any]
Objects = dict[tuple[str, str, str], Object]
"""By kind, namespace and name."""
NEWEST = "v1.37.2"
"""The kube-scheduler that manifests/ names."""
ENDPOINTS = ["etcd-0.example.com:2379", "etcd-1.example.com:2379", "etcd-2.example.com:2379"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A kustomization, components beside it, and the values that make the same."""

    folder: str
    values: Mapping[str, Any] = field(default_factory=dict)
    components: tuple[str, ...] = ()


PROVIDED = {"certificates": "provided"}
DEV = {
    "certificates": "none",
    "etcd": {"enabled": False},
    "scheduler": {"replicas": 1},
    "extender": {"replicas": 1, "settings": {"listen": {"drain_s": 5}, "log": {"level": "debug", "format": "console"}}},
    "agent": {"settings": {"network": {"trust_virtual": True}, "log": {"level": "debug"}}},
}
VARIANTS = {
    "self-signed": Variant("overlays/self-signed"),
    "three-etcd-members": Variant("overlays/three-etcd-members", {"etcd": {"members": 3}}),
    "base": Variant("base", {**PROVIDED, "scheduler": {"kind": "none"}}),
    "second-scheduler": Variant("overlays/second-scheduler", PROVIDED),
    "cert-manager": Variant("overlays/cert-manager", {"certificates": "cert-manager"}),
    "external-etcd": Variant(
        "overlays/external-etcd", {**PROVIDED, "etcd": {"enabled": False, "endpoints": ENDPOINTS}}
    ),
    "in-place": Variant("overlays/in-place", {**PROVIDED, "scheduler": {"kind": "in-place"}}),
    "dev": Variant("overlays/dev", DEV),
    "monitoring": Variant("overlays/self-signed", {"monitoring": {"enabled": True}}, ("monitoring",)),
    "network-taint": Variant("overlays/self-signed", {"networkTaint": True}, ("network-taint",)),
    "trusted-nodes": Variant("overlays/self-signed", {"trustedNodes": True}, ("trusted-nodes",)),
    "node-certificates": Variant(
        "overlays/self-signed",
        {"nodeCertificates": True, "agent": {"resources": {"limits": {"memory": "160Mi"}}}},
        ("node-certificates",),
    ),
    "all with self-signed": Variant(
        "overlays/self-signed",
        {
            "nodeCertificates": True,
            "agent": {"resources": {"limits": {"memory": "160Mi"}}},
            "monitoring": {"enabled": True},
            "networkTaint": True,
            "trustedNodes": True,
        },
        ("node-certificates", "monitoring", "network-taint", "trusted-nodes"),
    ),
    "all with cert-manager": Variant(
        "overlays/cert-manager",
        {"certificates": "cert-manager", "monitoring": {"enabled": True}, "networkTaint": True},
        ("monitoring", "network-taint"),
    ),
}


@dataclass(frozen=True, slots=True)
class Helm:
    program: Path
    folder: Path

    def __call__(self, *arguments: str, kubeconfig: Path | None = None, fails: bool = False) -> str:
        homes = {name: str(self.folder) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME")}
        there = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
        told = subprocess.run(
            [self.program, *arguments], env=homes | there, capture_output=True, text=True, check=False, timeout=120
        )
        assert (told.returncode != 0) == fails, told.stdout + told.stderr
        return told.stderr if fails else told.stdout

    def render(
        self, values: Mapping[str, Any], *, namespace: str = "kubesteer", version: str = NEWEST, chart: Path = CHART
    ) -> str:
        return self("template", "kubesteer", str(chart), *self._of(values, namespace), "--kube-version", version)

    def lint(self, values: Mapping[str, Any]) -> str:
        return self("lint", str(CHART), "--strict", *self._of(values, "kubesteer"), "--kube-version", NEWEST)

    def refusal(self, values: Mapping[str, Any]) -> str:
        """Why nothing is rendered of these values."""
        return self("template", "kubesteer", str(CHART), *self._of(values, "kubesteer"), fails=True)

    def install(self, kubeconfig: Path, values: Mapping[str, Any], *, namespace: str, fails: bool = False) -> str:
        """Or upgrade; what it tells."""
        options = ("--install", "--reset-values", "--create-namespace", *self._of(values, namespace))
        return self("upgrade", "kubesteer", str(CHART), *options, kubeconfig=kubeconfig, fails=fails)

    def _of(self, values: Mapping[str, Any], namespace: str) -> tuple[str, ...]:
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        return "--namespace", namespace, "--values", str(file)


def objects_of(rendered: str) -> Objects:
    found: Objects = {}
    for thing in yaml.safe_load_all(rendered):
        if thing is None:
            continue
        metadata = thing["metadata"]
        key = (thing["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found, f"{key} twice"
        found[key] = ordered(thing)
        if thing["kind"] == "ConfigMap":
            found[key]["data"] = {name: yaml.safe_load(text) for name, text in thing["data"].items()}
    return found


def without_checksums(found: Objects) -> Objects:
    """Helm's alone: `kubesteer deploy` marks pods with what they read in its own way."""
    for (kind, _, _), thing in found.items():
        if kind in {"Deployment", "DaemonSet"}:
            assert set(thing["spec"]["template"]["metadata"].pop("annotations")) == {"checksum/config"}
    return found


def ordered(thing: Any) -> Any:
    """With lists that Kubernetes takes as maps by name in one order; kustomize puts what a patch adds first."""
    if isinstance(thing, list):
        return [ordered(each) for each in thing]
    if not isinstance(thing, dict):
        return thing
    return {
        key: sorted(value, key=lambda each: (each["name"], each.get("mountPath")))
        if key in {"env", "volumes", "volumeMounts"}
        else ordered(value)
        for key, value in thing.items()
    }


def differences(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Where two parsed renderings differ, in words."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key, "absent"), theirs.get(key, "absent"), f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(our, their, f"{path}/{number}")
    elif ours != theirs:
        yield f"{path}: Helm has {ours!r}, kustomize {theirs!r}"
