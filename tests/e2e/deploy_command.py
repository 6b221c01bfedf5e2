"""`kubesteer deploy`, `status` and `undeploy` as a user runs them, for tests on a whole cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.manifests.written import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.cluster.controlplane import ControlPlane


@dataclass(frozen=True, slots=True)
class Told:
    code: int
    document: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """The `kubesteer` command as a user runs it, with the bed's own kubectl."""

    bed: ControlPlane
    kubectl: Path
    manifests: Path

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> Told:
        cluster = ["--kubeconfig", str(kubeconfig or self.bed.kubeconfig), "--kubectl", str(self.kubectl)]
        command = [sys.executable, "-m", "kubesteer.cli.main", *arguments, *cluster, "--json"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        document = json.loads(ended.stdout) if ended.stdout.strip() else {}
        return Told(ended.returncode, document, ended.stderr)

    def deploy(self, *more: str, kubeconfig: Path | None = None) -> Told:
        return self.run("deploy", "--manifests", str(self.manifests), *more, kubeconfig=kubeconfig)


def judged(told: Told, name: str) -> dict[str, Any]:
    return next(each for each in told.document["checks"] if each["name"] == name)


def add_settings(file: Path, group: str, **values: object) -> None:
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, group: {**settings.get(group, {}), **values}}))


def well(command: Command) -> Told | None:
    told = command.run("status")
    return told if told.code == 0 else None


def pods_of(bed: ControlPlane, name: str, **fields: str) -> list[dict[str, Any]]:
    """Of a part of kubesteer."""
    chosen = {"labelSelector": f"app.kubernetes.io/name=kubesteer-{name}", **fields}
    return bed.client.list_all("Pod", namespace="kubesteer", params=chosen)


def shell_of(command: Command, folder: Path) -> Callable[..., None]:
    """Runs commands of the documentation, with the bed's own kubectl."""
    (folder / "kubectl").write_text(f'#!/bin/sh\nexec {command.kubectl} --kubeconfig={command.bed.kubeconfig} "$@"\n')
    (folder / "kubectl").chmod(0o755)

    def run(*scripts: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"export PATH={folder}:$PATH\n{''.join(scripts)}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run
