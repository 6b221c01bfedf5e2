"""`kubesteer keep` as it is typed: help, mistakes, and a round without an API server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from kubesteer.cli.keeping import parts
from kubesteer.cli.keeping.loop import Keeper
from kubesteer.cli.keeping.settings import KeeperSettings, Ops, Pace
from kubesteer.model.errors import TaskEnded
from tests.manifests.written import ROOT
from tests.waiting import WITHIN_S, wait_until
from tools.cluster.ports import free_ports


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
    assert (told.returncode, set(document["faults"]), document["done"]) == (
        1,
        {"certificates", "etcd", "snapshots"},
        {},
    )
    told = keep("--config", file, "--once")
    assert told.returncode == 1
    assert "did not answer" in told.stderr
    assert told.stdout == "nothing was to be done\n"


def test_a_keeper_whose_log_cannot_be_written_answers_and_ends_well(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    file = settings(tmp_path)
    file.write_text(file.read_text() + yaml.safe_dump({"ops": {"port": port}, "pace": {"retry_s": 1}}))
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "kubesteer", "keep", "--config", str(file)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=full, stderr=full)
    try:

        def tells_what_was_lost() -> bool:
            assert process.poll() is None
            told = ""
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                told = answer.read().decode()
            return re.search(r"^kubesteer_keeper_log_lines_dropped_total [1-9]", told, re.MULTILINE) is not None

        wait_until(tells_what_was_lost)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait()


async def test_a_keeper_ends_when_what_follows_the_cluster_does(tmp_path: Path, monkeypatch) -> None:
    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[tuple[Keeper, set[asyncio.Task[None]], None]]:
        keeper = Keeper(None, None, None, pace=Pace(), now=lambda: datetime.now(UTC), log=Lines())
        yield keeper, {asyncio.create_task(asyncio.sleep(0), name="nodes")}, None

    monkeypatch.setattr(parts, "opened", opened)
    lines = Lines()
    with pytest.raises(TaskEnded, match="'nodes' ended by itself"):
        await parts.keep(KeeperSettings(ops=Ops(port=0)), {}, lines, lambda: 0)
    assert lines.told[-1] == ("task ended by itself", "nodes")


class Lines:
    """A log that keeps event and task."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def info(self, event: str, **fields: object) -> None:
        self.told.append((event, fields.get("task")))

    warning = error = info
