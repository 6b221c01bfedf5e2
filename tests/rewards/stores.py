"""Every store behind one face, for the tests that all of them must pass; and what those tests wait with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import yaml

from kubesteer.clients.rewards.etcd import etcd_column, etcd_node_states, etcd_source, etcd_writer
from kubesteer.clients.rewards.etcd3_backend import etcd3_node_states, etcd3_source, etcd3_writer
from kubesteer.clients.rewards.file import RewardFileSource
from kubesteer.clients.rewards.memory import MemoryNodeStates, MemorySource, MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.clients.rewards.port import ColumnStore, NodeStateSink, RewardSink, RewardSource, RewardWriter
from kubesteer.model.node_state import NodeState
from kubesteer.model.reward import RewardRecord, format_time
from kubesteer.rewards.table import RewardTable
from tests.rewards.etcd_server import EtcdServer
from tests.waiting import pass_time, until

TEN_AT_NIGHT_S = 1_795_387_267.0
SOURCES = {"etcd": etcd_source, "etcd3": etcd3_source}
NODE_STATES = {"etcd": etcd_node_states, "etcd3": etcd3_node_states}
WRITERS = {"etcd": etcd_writer, "etcd3": etcd3_writer}
TTLS_S = {"claim_ttl_s": 30.0, "column_ttl_s": 60.0}
SHORT_S = {"claim_ttl_s": 1.0}
"""etcd gives no shorter one."""


class Store(Protocol):
    kind: str
    prefix: str

    def source(self, sink: RewardSink) -> RewardSource: ...
    def writer(self) -> RewardWriter: ...
    def put_raw(self, key: bytes, value: bytes) -> None: ...
    def go_away(self) -> None: ...
    def come_back(self) -> None: ...


class Columns(Protocol):
    """A store with the columns of several agents."""

    prefix: str

    def column(self, node: str = "n1", holder: str = "agent-1", **changes: float) -> ColumnStore: ...
    def source(self, sink: RewardSink) -> RewardSource: ...
    def node_states(self, sink: NodeStateSink) -> RewardSource: ...
    def writer(self) -> RewardWriter: ...
    def put_raw(self, key: bytes, value: bytes) -> None: ...
    def stored_keys(self) -> set[bytes]: ...
    async def until_gone(self, key: bytes) -> None: ...
    def end_lease_of(self, key: bytes) -> None: ...
    def seconds_left(self, key: bytes) -> float: ...
    async def pass_time(self, seconds: float) -> None: ...
    def go_away(self) -> None: ...
    def come_back(self) -> None: ...
    def wipe(self) -> None: ...


class InMemory:
    kind = "memory"
    prefix = "/kubesteer"

    def __init__(self) -> None:
        self._now_s = 0.0
        self._store = MemoryStore(self.prefix, clock=lambda: self._now_s)

    def column(self, node: str = "n1", holder: str = "agent-1", **changes: float) -> ColumnStore:
        return MemoryColumnStore(self._store, node=node, holder=holder, **{**TTLS_S, **changes})

    def node_states(self, sink: NodeStateSink) -> RewardSource:
        return MemoryNodeStates(self._store, sink, clock=time.monotonic)

    def stored_keys(self) -> set[bytes]:
        return set(self._store.entries)

    async def until_gone(self, key: bytes) -> None:
        while key in self.stored_keys():
            await self.pass_time(0.5)

    def end_lease_of(self, key: bytes) -> None:
        lease = self._store.lease_of(key)
        assert lease is not None
        self._store.revoke(lease)

    def seconds_left(self, key: bytes) -> float:
        lease = self._store.lease_of(key)
        assert lease is not None
        return lease.ends_s - self._now_s

    async def pass_time(self, seconds: float) -> None:
        self._now_s += seconds
        self._store.require_here()

    def wipe(self) -> None:
        self._store.wipe()

    def source(self, sink: RewardSink) -> RewardSource:
        return MemorySource(self._store, sink, clock=time.monotonic)

    def writer(self) -> RewardWriter:
        return self._store

    def put_raw(self, key: bytes, value: bytes) -> None:
        self._store.put_entry(key, value)

    def go_away(self) -> None:
        self._store.go_away("the test said so")

    def come_back(self) -> None:
        self._store.come_back()


class InEtcd:
    def __init__(self, kind: str, server: EtcdServer, prefix: str) -> None:
        self.kind = kind
        self.prefix = prefix
        self._server = server

    def column(self, node: str = "n1", holder: str = "agent-1", **changes: float) -> ColumnStore:
        return etcd_column(self._server.options(self.prefix), node=node, holder=holder, **{**TTLS_S, **changes})

    def node_states(self, sink: NodeStateSink) -> RewardSource:
        return NODE_STATES[self.kind](self._server.options(self.prefix), sink)

    def stored_keys(self) -> set[bytes]:
        return {entry.key for entry in self._server.entries(self.prefix)}

    async def until_gone(self, key: bytes) -> None:
        await until(lambda: key not in self.stored_keys(), every_s=0.05)

    def end_lease_of(self, key: bytes) -> None:
        self._server.end_lease_of(key)

    def seconds_left(self, key: bytes) -> float:
        return self._server.seconds_left(key)

    async def pass_time(self, seconds: float) -> None:
        await pass_time(seconds)

    def wipe(self) -> None:
        self._server.kill()
        self._server.wipe()
        self._server.start()

    def source(self, sink: RewardSink) -> RewardSource:
        return SOURCES[self.kind](self._server.options(self.prefix), sink)

    def writer(self) -> RewardWriter:
        return WRITERS[self.kind](self._server.options(self.prefix))

    def put_raw(self, key: bytes, value: bytes) -> None:
        self._server.put(key, value)

    def go_away(self) -> None:
        self._server.kill()

    def come_back(self) -> None:
        self._server.start()


class InFile:
    kind = "file"
    prefix = ""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rewards.yaml"
        self.records: dict[tuple[str, str], RewardRecord] = {}
        self.come_back()

    def source(self, sink: RewardSink) -> RewardSource:
        return RewardFileSource(self.path, sink, clock=time.monotonic, unix_clock=time.time, poll_interval_s=0.01)

    def writer(self) -> RewardWriter:
        return FileEditor(self)

    def put_raw(self, key: bytes, value: bytes) -> None:
        raise NotImplementedError

    def go_away(self) -> None:
        self.path.unlink()

    def come_back(self) -> None:
        items = [
            {
                "node": r.node,
                "podType": r.pod_type,
                "mean": r.mean,
                "evidence": r.evidence,
                "time": format_time(r.time_s),
                **r.extra,
            }
            for r in self.records.values()
        ]
        new = self.path.with_suffix(".new")
        new.write_text(yaml.safe_dump(items, allow_unicode=True), encoding="utf-8")
        new.rename(self.path)


class FileEditor:
    """The person who edits the file."""

    def __init__(self, store: InFile) -> None:
        self._store = store

    async def put(self, record: RewardRecord) -> None:
        self._store.records[record.node, record.pod_type] = record
        self._store.come_back()

    async def delete(self, node: str, pod_type: str) -> None:
        self._store.records.pop((node, pod_type), None)
        self._store.come_back()

    async def list(self, node: str | None = None) -> list[RewardRecord]:
        return [r for r in self._store.records.values() if node in (None, r.node)]

    async def close(self) -> None:
        pass


def reward(node: str = "n1", pod_type: str = "web", mean: float = 0.9, **changes: object) -> RewardRecord:
    return RewardRecord(node, pod_type, mean, **{"evidence": 3.0, "time_s": TEN_AT_NIGHT_S, **changes})


def state(node: str = "n1", rate_bps: float = 2e6) -> NodeState:
    return NodeState(node, TEN_AT_NIGHT_S, {"egress": rate_bps}, {"egress": 10**9})


class States:
    """A sink of node states."""

    def __init__(self) -> None:
        self.by_node: dict[str, NodeState] = {}

    def put(self, state: NodeState) -> None:
        self.by_node[state.node] = state

    def delete(self, node: str) -> None:
        del self.by_node[node]

    def replace(self, states: Iterable[NodeState]) -> None:
        self.by_node = {state.node: state for state in states}


def held(table: RewardTable) -> dict[tuple[str, str], RewardRecord]:
    return {(r.node, r.pod_type): r for r in table.rows()}


def means(table: RewardTable) -> dict[str, float]:
    return {r.node: r.mean for r in table.rows()}


@asynccontextmanager
async def running(*sources: RewardSource) -> AsyncIterator[None]:
    """Sources at work; a fault in one of them is raised at the end."""
    tasks = [asyncio.ensure_future(source.run()) for source in sources]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
