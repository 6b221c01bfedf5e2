"""`kubesteer keep` as it is typed: help, mistakes, and a round without an API server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.e2e.cluster.ports import free_ports
from tests.manifests.written import ROOT


def keep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubesteer", "keep", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def settings(folder: Path) -> Path:
    """Of a keeper whose API server is not there."""
    [port] = free_ports(1)
    kubeconfig = folder / "kubeconfig"
    named = {"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    content = {"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [named], "contexts": [context]}
    kubeconfig.write_text(yaml.safe_dump({**content, "users": [{"name": "x", "user": {"token": "t"}}]}))
    file = folder / "keeper.yaml"
    file.write_text(yaml.safe_dump({"cluster": {"kubeconfig": str(kubeconfig)}, "certificates": {"make": True}}))
    return file


def test_help_has_examples_and_exit_codes() -> None:
    told = keep("--help").stdout
    assert "kubesteer keep --config keeper.yaml --once" in told
    assert "Exit code" in told


def test_settings_that_cannot_be_used_end_it_with_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keeper.yaml"
    file.write_text("etcd: {per_node: true}")
    told = keep("--config", file)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.count("\n") == 1
    assert "etcd.per_node needs certificates.make" in told.stderr


def test_a_round_without_an_api_server_tells_each_fault_to_scripts_and_to_people(tmp_path: Path) -> None:
    file = settings(tmp_path)
    told = keep("--config", file, "--once", "--json")
    document = json.loads(told.stdout)
    assert (told.returncode, set(document["faults"]), document["done"]) == (1, {"certificates", "etcd"}, {})
    told = keep("--config", file, "--once")
    assert told.returncode == 1
    assert "did not answer" in told.stderr
    assert told.stdout == "nothing was to be done\n"
