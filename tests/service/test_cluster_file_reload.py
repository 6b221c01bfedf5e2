"""The embedded default: a cluster file that is reread while the service answers."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from extender.app import build, serve
from extender.settings import Settings
from kubesteer.clients.kubernetes.cluster_file import ClusterFileSource
from kubesteer.clients.rewards.memory import MemorySource, MemoryStore
from kubesteer.model.network import DEFAULT_NETWORK
from tests.builders import node, pod
from tests.service.harness import Service, service
from tests.waiting import WITHIN_S, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cluster.json"


def write(path: Path, *items: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    fresh.replace(path)


class Following:
    """The service over the file, its source at work."""

    def __init__(self, path: Path) -> None:
        self.built: Service = service(node("never-there"))
        self.built.parts.state.delete_node("never-there")
        self.source = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.01)

    async def __aenter__(self) -> Following:
        self.task = asyncio.create_task(self.source.run(self.built.parts.state))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def fitting(self, names: list[str]) -> list[str]:
        return (await self.built.filter(pod(egress="5G"), names))["NodeNames"]

    async def answers(self, names: list[str], wanted: list[str]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while await self.fitting(names) != wanted:
                await asyncio.sleep(0.01)


async def test_nodes_that_come_and_go_in_the_file_come_and_go_in_the_answers(path: Path) -> None:
    write(path, node("a"))
    async with Following(path) as there:
        await there.answers(["a", "b"], ["a"])
        write(path, node("a"), node("b"))
        await there.answers(["a", "b"], ["a", "b"])
        write(path, node("b"))
        await there.answers(["a", "b"], ["b"])


async def test_pods_in_the_file_take_what_they_ask_for(path: Path) -> None:
    write(path, node("a"))
    async with Following(path) as there:
        await there.answers(["a"], ["a"])
        write(path, node("a"), pod("there", node="a", egress="6G"))  # 6G + 5G > 10G
        await there.answers(["a"], [])


def spoil(path: Path, harm: str) -> None:
    if harm == "gone":
        path.unlink()
    else:
        path.write_text("{" if harm == "garbage" else "")


@pytest.mark.parametrize("harm", ["gone", "garbage", "empty"])
async def test_a_file_that_goes_bad_leaves_the_last_good_state(path: Path, harm: str) -> None:
    write(path, node("a"))
    async with Following(path) as there:
        await there.answers(["a"], ["a"])
        spoil(path, harm)
        await until(lambda: there.source.status().last_error)
        assert str(path) in (there.source.status().last_error or "")
        assert await there.fitting(["a"]) == ["a"]
        write(path, node("b"))
        await there.answers(["b"], ["b"])


async def test_a_service_whose_file_is_not_there_yet_starts_unready_and_gets_ready(path: Path) -> None:
    settings = Settings(cluster={"file": path, "poll_s": 0.02}, listen={"port": 0, "drain_s": 0}, ops={"port": 0})
    source = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.02)
    parts = build(
        settings, source, lambda sink: MemorySource(MemoryStore(), sink, clock=time.monotonic), service().parts.log
    )
    started = asyncio.Event()
    serving = asyncio.create_task(serve(parts, lambda _verbs, _ops: started.set()))
    await asyncio.wait_for(started.wait(), WITHIN_S)
    assert str(path) in parts.health.waiting_for()[0]
    write(path, node("a"))
    await until(parts.health.is_ready)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(serving, WITHIN_S)
