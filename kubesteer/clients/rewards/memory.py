"""Rewards kept in this process: the embedded default, and the fake that the tests of others share.

Entries are held encoded, so that what cannot be written to etcd or read from it behaves the same here. No I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.clients.rewards.feed import Entry, Feed, node_state_feed, readable, reward_feed
from kubesteer.clients.rewards.port import NodeStateSink, RewardSink, SourceStatus
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import KeyRange, RewardRecord, encode_key, encode_value, node_range, table_range


@dataclass(slots=True, eq=False)
class MemoryLease:
    """What entries hang on: when it ends, by the store's clock, they go."""

    ends_s: float


class MemoryStore:
    """The entries; satisfies RewardWriter. `clock` is monotonic; what has lapsed by it goes at the next call."""

    def __init__(self, prefix: str = "/kubesteer", *, clock: Callable[[], float] = time.monotonic) -> None:
        self.prefix = prefix
        self.entries: dict[bytes, bytes] = {}
        self.revision = 0
        self.away: str | None = None
        """Why the store does not answer, None while it does."""
        self._clock = clock
        self._leases: set[MemoryLease] = set()
        self._hangs_on: dict[bytes, MemoryLease] = {}
        self._sources: list[_MemoryMirror] = []

    async def put(self, record: RewardRecord, /) -> None:
        """As RewardWriter."""
        self.put_entry(encode_key(self.prefix, record.node, record.pod_type), encode_value(record))

    async def delete(self, node: str, pod_type: str, /) -> None:
        """As RewardWriter."""
        self.remove_entry(encode_key(self.prefix, node, pod_type))

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """As RewardWriter."""
        span = table_range(self.prefix) if node is None else node_range(self.prefix, node)
        return list(readable(self.prefix, self.entries_of(span)))

    async def close(self) -> None:
        """Nothing is held."""

    def entries_of(self, span: KeyRange) -> Sequence[Entry]:
        """The entries of a range, by key."""
        self.require_here()
        return sorted(entry for entry in self.entries.items() if span.start <= entry[0] < span.end)

    def put_entry(self, key: bytes, value: bytes, lease: MemoryLease | None = None) -> None:
        """Stores any bytes, as somebody with etcdctl could."""
        self.require_here()
        self.entries[key] = value
        self._hangs_on.pop(key, None)
        if lease is not None:
            self._hangs_on[key] = lease
        self._changed(key, value)

    def remove_entry(self, key: bytes) -> None:
        """Removes an entry; one that is not there is no fault."""
        self.require_here()
        self._remove(key)

    def lease_of(self, key: bytes) -> MemoryLease | None:
        """What an entry hangs on; None as well when it is not there."""
        self.require_here()
        return self._hangs_on.get(key)

    def grant(self, ttl_s: float) -> MemoryLease:
        """A lease that ends after `ttl_s` without a renewal."""
        self.require_here()
        lease = MemoryLease(self._clock() + ttl_s)
        self._leases.add(lease)
        return lease

    def renew(self, lease: MemoryLease, ttl_s: float) -> bool:
        """Whether the lease was there to be renewed."""
        self.require_here()
        lease.ends_s = self._clock() + ttl_s
        return lease in self._leases

    def revoke(self, lease: MemoryLease) -> None:
        """Ends a lease and all that hangs on it."""
        lease.ends_s = self._clock()
        self.require_here()

    def wipe(self) -> None:
        """Loses all entries and leases."""
        self._leases.clear()
        for key in list(self.entries):
            self._remove(key)

    def go_away(self, reason: str) -> None:
        """From now on every call is refused and sources are cut off."""
        self.away = reason

    def come_back(self) -> None:
        """Ends `go_away`; sources take up what they missed."""
        self.away = None
        self.require_here()
        for source in self._sources:
            source.resync()

    def attach(self, source: _MemoryMirror) -> None:
        """Tells the source of every change until it is detached."""
        self._sources.append(source)

    def detach(self, source: _MemoryMirror) -> None:
        """Ends `attach`."""
        self._sources.remove(source)

    def require_here(self) -> None:
        """Drops what has lapsed. Raises StoreUnavailable while the store is away."""
        if self.away is not None:
            raise StoreUnavailable(f"the reward store in memory is away: {self.away}")
        self._leases = {lease for lease in self._leases if lease.ends_s > self._clock()}
        for key in [key for key, lease in self._hangs_on.items() if lease not in self._leases]:
            self._remove(key)

    def _remove(self, key: bytes) -> None:
        self._hangs_on.pop(key, None)
        if self.entries.pop(key, None) is not None:
            self._changed(key, None)

    def _changed(self, key: bytes, value: bytes | None) -> None:
        self.revision += 1
        for source in self._sources if self.away is None else ():
            source.entry_changed(key, value)


class _MemoryMirror:
    """Keeps what a feed fills equal to a range of a MemoryStore; satisfies RewardSource."""

    def __init__(self, store: MemoryStore, feed: Feed[Any], *, clock: Callable[[], float]) -> None:
        self._store = store
        self._feed = feed
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
            last_contact_age_s=self.last_contact_age_s(),
            revision=self._revision,
            records=self._feed.records,
            skipped=self._feed.skipped,
            last_error=away or self._feed.last_error,
            resyncs=max(self._lists - 1, 0),
        )

    def last_contact_age_s(self) -> float | None:
        """As RewardSource."""
        return None if self._last_contact_s is None else self._clock() - self._last_contact_s

    def resync(self) -> None:
        """Takes the whole range anew."""
        listing = self._feed.listing()
        listing.add(self._store.entries_of(self._feed.span))
        self._feed.replace(listing)
        self._lists += 1
        self._seen()

    def entry_changed(self, key: bytes, value: bytes | None) -> None:
        """Takes one change; no value means removed."""
        span = self._feed.span
        if value is None:
            self._feed.delete(key)
        elif span.start <= key < span.end:
            self._feed.put(key, value)
        self._seen()

    def _seen(self) -> None:
        self._revision = self._store.revision
        self._last_contact_s = self._clock()


class MemorySource(_MemoryMirror):
    """Keeps a sink equal to the reward table of a MemoryStore; satisfies RewardSource."""

    def __init__(self, store: MemoryStore, sink: RewardSink, *, clock: Callable[[], float]) -> None:
        super().__init__(store, reward_feed(sink, store.prefix), clock=clock)


class MemoryNodeStates(_MemoryMirror):
    """Keeps a sink equal to the node states of a MemoryStore; satisfies RewardSource."""

    def __init__(self, store: MemoryStore, sink: NodeStateSink, *, clock: Callable[[], float]) -> None:
        super().__init__(store, node_state_feed(sink, store.prefix), clock=clock)
