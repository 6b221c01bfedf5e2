"""Every store behind one face, for the tests that all of them must pass; and what those tests wait with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import yaml

from kubesteer.clients.rewards.etcd import etcd_source, etcd_writer
from kubesteer.clients.rewards.etcd3_backend import etcd3_source, etcd3_writer
from kubesteer.clients.rewards.file import FileSource
from kubesteer.clients.rewards.memory import MemorySource, MemoryStore
from kubesteer.clients.rewards.port import RewardSink, RewardSource, RewardWriter
from kubesteer.model.reward import RewardRecord, format_time
from kubesteer.rewards.table import RewardTable
from tests.rewards.etcd_server import EtcdServer

TEN_AT_NIGHT_S = 1_795_387_267.0
SOURCES = {"etcd": etcd_source, "etcd3": etcd3_source}
WRITERS = {"etcd": etcd_writer, "etcd3": etcd3_writer}


class Store(Protocol):
    kind: str
    prefix: str

    def source(self, sink: RewardSink) -> RewardSource: ...
    def writer(self) -> RewardWriter: ...
    def put_raw(self, key: bytes, value: bytes) -> None: ...
    def go_away(self) -> None: ...
    def come_back(self) -> None: ...


class InMemory:
    kind = "memory"
    prefix = "/kubesteer"

    def __init__(self) -> None:
        self._store = MemoryStore(self.prefix)

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
        return FileSource(self.path, sink, clock=time.monotonic, unix_clock=time.time, poll_interval_s=0.01)

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


def held(table: RewardTable) -> dict[tuple[str, str], RewardRecord]:
    return {(r.node, r.pod_type): r for r in table.rows()}


def means(table: RewardTable) -> dict[str, float]:
    return {r.node: r.mean for r in table.rows()}


async def eventually(true: Callable[[], bool], *, within_s: float = 10.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up_s, f"not so within {within_s} s"
        await asyncio.sleep(0.005)


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
