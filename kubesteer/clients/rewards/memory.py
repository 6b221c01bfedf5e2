"""Rewards kept in this process: the embedded default, and the fake that the tests of others share.

Entries are held encoded, so that what cannot be written to etcd or read from it behaves the same here. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubesteer.clients.rewards.feed import Feed, readable
from kubesteer.clients.rewards.port import RewardSink, SourceStatus
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import RewardRecord, encode_key, encode_value, node_range, table_range


class MemoryStore:
    """The entries; satisfies RewardWriter."""

    def __init__(self, prefix: str = "/kubesteer") -> None:
        self.prefix = prefix
        self.entries: dict[bytes, bytes] = {}
        self.revision = 0
        self.away: str | None = None
        """Why the store does not answer, None while it does."""
        self._sources: list[MemorySource] = []

    async def put(self, record: RewardRecord, /) -> None:
        """As RewardWriter."""
        self.put_entry(encode_key(self.prefix, record.node, record.pod_type), encode_value(record))

    async def delete(self, node: str, pod_type: str, /) -> None:
        """As RewardWriter."""
        self._require_here()
        key = encode_key(self.prefix, node, pod_type)
        if self.entries.pop(key, None) is not None:
            self.revision += 1
            for source in self._sources:
                source.entry_changed(key, None)

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """As RewardWriter."""
        self._require_here()
        span = table_range(self.prefix) if node is None else node_range(self.prefix, node)
        return list(readable(self.prefix, [e for e in self.entries.items() if span.start <= e[0] < span.end]))

    async def close(self) -> None:
        """Nothing is held."""

    def put_entry(self, key: bytes, value: bytes) -> None:
        """Stores any bytes, as somebody with etcdctl could."""
        self._require_here()
        self.entries[key] = value
        self.revision += 1
        for source in self._sources:
            source.entry_changed(key, value)

    def go_away(self, reason: str) -> None:
        """From now on every call is refused and sources are cut off."""
        self.away = reason

    def come_back(self) -> None:
        """Ends `go_away`; sources take up what they missed."""
        self.away = None
        for source in self._sources:
            source.resync()

    def attach(self, source: MemorySource) -> None:
        """Tells the source of every change until it is detached."""
        self._sources.append(source)

    def detach(self, source: MemorySource) -> None:
        """Ends `attach`."""
        self._sources.remove(source)

    def _require_here(self) -> None:
        if self.away is not None:
            raise StoreUnavailable(f"the reward store in memory is away: {self.away}")


class MemorySource:
    """Keeps a sink equal to a MemoryStore; satisfies RewardSource."""

    def __init__(self, store: MemoryStore, sink: RewardSink, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._feed = Feed(sink, store.prefix)
        self._clock = clock
        self._revision = 0
        self._lists = 0
        self._last_contact_s: float | None = None

    async def run(self) -> None:
        """As RewardSource."""
        self._store.attach(self)
        try:
            if self._store.away is None:
                self.resync()
            await asyncio.get_running_loop().create_future()
        finally:
            self._store.detach(self)

    def status(self) -> SourceStatus:
        """As RewardSource. A store in this process that is not away is in touch at all times."""
        away = self._store.away
        if away is None and self._lists:
            self._last_contact_s = self._clock()
        return SourceStatus(
            kind="memory",
            synced=self._lists > 0,
            last_contact_age_s=None if self._last_contact_s is None else self._clock() - self._last_contact_s,
            revision=self._revision,
            records=self._feed.records,
            skipped=self._feed.skipped,
            last_error=away or self._feed.last_error,
            resyncs=max(self._lists - 1, 0),
        )

    def resync(self) -> None:
        """Takes the whole store anew."""
        self._feed.replace(self._feed.decode(self._store.entries.items()))
        self._lists += 1
        self._seen()

    def entry_changed(self, key: bytes, value: bytes | None) -> None:
        """Takes one change; no value means removed."""
        if value is None:
            self._feed.delete(key)
        else:
            self._feed.put(key, value)
        self._seen()

    def _seen(self) -> None:
        self._revision = self._store.revision
        self._last_contact_s = self._clock()
