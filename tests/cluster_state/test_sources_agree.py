"""The contract of a cluster source: an API server and a file bring a sink to the same state."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from kubesteer.clients.kubernetes.access import Access
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.cluster_file import ClusterFileSource
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.placement.cluster_state import ClusterState
from tests.cluster_state.builders import node, pod
from tests.cluster_state.conftest import access_to
from tests.cluster_state.fake_api import FakeApi
from tests.cluster_state.sink import RecordingSink
from tests.waiting import WITHIN_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kubesteer.clients.kubernetes.port import ClusterSink, ClusterSource


class World(Protocol):
    """A cluster that a test can change, and a source that follows it."""

    source: ClusterSource

    def become(self, *objects: dict[str, Any]) -> None:
        """These nodes and pods are all there are."""


class ApiWorld:
    def __init__(self, api: FakeApi, server: ApiServer) -> None:
        self._api = api
        self.source: ClusterSource = KubernetesSource(server, DEFAULT_NETWORK, random=Random(1))

    def become(self, *objects: dict[str, Any]) -> None:
        wanted = {(o["kind"], o["metadata"]["name"]) for o in objects}
        for kept in self._api.objects.values():
            for obj in [o for o in kept.values() if (o["kind"], o["metadata"]["name"]) not in wanted]:
                self._api.delete(obj)
        for obj in objects:
            self._api.put(obj)


class FileWorld:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.source: ClusterSource = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.02)

    def become(self, *objects: dict[str, Any]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"kind": "List", "items": list(objects)}))
        new.rename(self._path)


@pytest.fixture(params=["api server", "file"])
async def world(request: pytest.FixtureRequest, api: FakeApi, tmp_path: Path) -> AsyncIterator[World]:
    async def load() -> Access:
        return access_to(api)

    if request.param == "file":
        yield FileWorld(tmp_path / "cluster.json")
    else:
        async with ApiServer(load) as server:
            yield ApiWorld(api, server)


@pytest.fixture
def run(world: World) -> Any:
    """Run the world's source into a sink for as long as the `async with` lasts."""

    class Running:
        def __init__(self, sink: ClusterSink) -> None:
            self._sink = sink

        async def __aenter__(self) -> None:
            self._task = asyncio.create_task(world.source.run(self._sink))

        async def __aexit__(self, *_: object) -> None:
            self._task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await self._task

    return Running


async def test_nothing_is_synced_before_the_source_runs(world: World) -> None:
    status = world.source.status()
    assert (status.nodes_synced, status.pods_synced, status.last_contact_age_s) == (False, False, None)
    assert (status.nodes, status.pods, status.last_error) == (0, 0, None)


async def test_a_cluster_without_anything_is_synced_too(world: World, run: Any, sink: RecordingSink) -> None:
    world.become()
    async with run(sink):
        await until(lambda: world.source.status().nodes_synced and world.source.status().pods_synced)
    assert (sink.nodes, sink.pods) == ({}, {})


async def test_everything_there_is_is_put_before_synced_is_said(world: World, run: Any, sink: RecordingSink) -> None:
    world.become(*[node(f"n{i}") for i in range(3)], *[pod(f"p{i}", on="n0") for i in range(20)])
    async with run(sink):
        await until(lambda: world.source.status().pods_synced)
        assert len(sink.pods) == world.source.status().pods == 20
        await until(lambda: world.source.status().nodes_synced)
        assert len(sink.nodes) == world.source.status().nodes == 3
        assert (world.source.status().last_contact_age_s or 0.0) < WITHIN_S
        summary = sink.pods["uid-p7"]
        assert (summary.name, summary.node, summary.pod_type, summary.requests.cpu_m) == ("p7", "n0", "web", 100)


async def test_changes_and_deletes_arrive(world: World, run: Any, sink: RecordingSink) -> None:
    world.become(node("a", cpu="4"), node("b"), pod("stays", on="a"), pod("goes", on="b"))
    async with run(sink):
        await until(lambda: len(sink.nodes) == 2 and len(sink.pods) == 2)
        world.become(node("a", cpu="6"), pod("stays", on="a"), pod("new"))
        await until(lambda: sink.pod_names() == {"stays", "new"} and set(sink.nodes) == {"a"})
        await until(lambda: sink.nodes["a"].cpu_m == 6000)
        await until(lambda: (world.source.status().nodes, world.source.status().pods) == (1, 2))


async def test_a_pod_that_has_ended_is_not_there(world: World, run: Any, sink: RecordingSink) -> None:
    world.become(pod("runs"), pod("done", phase="Succeeded"), pod("failed", phase="Failed"))
    async with run(sink):
        await until(lambda: sink.pod_names() == {"runs"})
        world.become(pod("runs", phase="Failed"), pod("next"))
        await until(lambda: sink.pod_names() == {"next"})
        assert world.source.status().skipped == 0


async def test_a_pod_that_cannot_be_counted_is_named_and_the_rest_counts(
    world: World, run: Any, sink: RecordingSink
) -> None:
    world.become(node("a"), pod("good"), pod("bad", cpu="lots"))
    async with run(sink):
        await until(lambda: world.source.status().pods_synced)
        status = world.source.status()
        assert (sink.pod_names(), status.pods, status.skipped) == ({"good"}, 1, 1)
        assert "default/bad" in (status.last_error or "")
        assert "'lots' is not a quantity" in (status.last_error or "")
        world.become(node("a"), pod("good"), pod("bad", cpu="1"))
        await until(lambda: sink.pod_names() == {"good", "bad"})
        await until(lambda: world.source.status().skipped == 0 and world.source.status().last_error is None)


async def test_a_node_that_cannot_be_used_is_put_with_its_fault(world: World, run: Any, sink: RecordingSink) -> None:
    world.become(node("a", cpu="much"))
    async with run(sink):
        await until(lambda: "a" in sink.nodes)
    assert "status.allocatable[cpu]: 'much'" in (sink.nodes["a"].fault or "")


async def test_a_source_that_is_cancelled_goes_on_where_it_stopped(world: World, run: Any, sink: RecordingSink) -> None:
    world.become(pod("stays"), pod("goes"))
    async with run(sink):
        await until(lambda: len(sink.pods) == 2)
    world.become(pod("stays"), pod("new"))
    async with run(sink):
        await until(lambda: sink.pod_names() == {"stays", "new"})


async def test_the_cluster_state_is_a_sink(world: World, run: Any) -> None:
    """0.1 + 0.25 cores of a are asked for."""
    state = ClusterState(len(DEFAULT_NETWORK), charge_ttl_s=10)
    table = state.table
    world.become(node("a"), pod("p", on="a"), pod("q", on="a", cpu="250m"), pod("pending"))
    async with run(state):
        await until(lambda: world.source.status().nodes_synced and world.source.status().pods_synced)
        assert (table.node_count, table.pod_count) == (1, 2)
        assert int(table.requested[0, table.rows["a"]]) == 350
        world.become(node("a"), pod("p", on="a"))
        await until(lambda: int(table.requested[0, table.rows["a"]]) == 100)
