"""Keeps a feed's sink equal to a range of etcd: list, watch from the next revision, list again after any interruption.

Why it lists and does not resume: a store that was wiped and set up again has the same cluster id and may have passed
the old revision by the time the link is back, and then nothing in the protocol tells. A list does, at 13 ms per 5,000
entries.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from kubesteer.clients.rewards.etcd_connection import Connect, EtcdConnection, Head, WatchBatch
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.feed import Feed
from kubesteer.clients.rewards.port import SourceStatus
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import KeyRange

_CHANGES_AT_ONCE = 500
"""After so many changes of one batch others get their turn."""


class EtcdSource:
    """Satisfies RewardSource. `clock` is monotonic; `chance` gives numbers from 0 to 1 that shorten the waits."""

    def __init__(
        self,
        kind: str,
        options: EtcdOptions,
        feed: Feed[Any],
        connect: Connect,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._kind = kind
        self._options = options
        self._feed = feed
        self._connect = connect
        self._clock = clock
        self._chance = chance
        self._span = feed.span
        self._lists = 0
        self._revision = 0
        self._last_contact_s: float | None = None
        self._connection_error: str | None = None

    async def run(self) -> None:
        """As RewardSource."""
        failures = 0
        attempts = 0
        while True:
            lists_before = self._lists
            try:
                await self._follow(self._options.addresses[attempts % len(self._options.addresses)])
            except StoreUnavailable as exc:
                self._connection_error = str(exc)
            attempts += 1
            failures = 1 if self._lists > lists_before else failures + 1
            await asyncio.sleep(self._wait_s(failures))

    def status(self) -> SourceStatus:
        """As RewardSource."""
        return SourceStatus(
            kind=self._kind,
            synced=self._lists > 0,
            last_contact_age_s=self.last_contact_age_s(),
            revision=self._revision,
            records=self._feed.records,
            skipped=self._feed.skipped,
            last_error=self._connection_error or self._feed.last_error,
            resyncs=max(self._lists - 1, 0),
        )

    def last_contact_age_s(self) -> float | None:
        """As RewardSource."""
        return None if self._last_contact_s is None else self._clock() - self._last_contact_s

    async def _follow(self, address: str) -> None:
        """One connection, from its list to its end, which is always StoreUnavailable."""
        connection = await self._connect(address)
        try:
            listed = await self._list(connection)
            async with aclosing(connection.watch(self._span, start_revision=listed.revision + 1)) as batches:
                async for batch in batches:
                    _require_same_store(listed, batch.head if batch else await connection.head(self._span))
                    self._connection_error = None
                    self._last_contact_s = self._clock()
                    if batch:
                        await self._apply(batch)
        finally:
            await connection.close()

    async def _list(self, connection: EtcdConnection) -> Head:
        """Reads the whole range as it was at one revision, in pages, and applies it: the first time at once.

        Later, 200,000 records at once would hold others up for a third of a second, and most are there already.
        """
        page = await connection.page(self._span)
        listed = page.head
        listing = self._feed.listing()
        listing.add(page.entries)
        while page.more:
            rest = KeyRange(page.entries[-1][0] + b"\0", self._span.end)
            page = await connection.page(rest, revision=listed.revision)
            listing.add(page.entries)
        if self._lists == 0:
            self._feed.replace(listing)
        else:
            for number, _ in enumerate(self._feed.replace_in_steps(listing), start=1):
                if number % _CHANGES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._lists += 1
        self._revision = listed.revision
        self._connection_error = None
        self._last_contact_s = self._clock()
        return listed

    async def _apply(self, batch: WatchBatch) -> None:
        for count, change in enumerate(batch.changes, start=1):
            if change.value is None:
                self._feed.delete(change.key)
            else:
                self._feed.put(change.key, change.value)
            self._revision = change.revision
            if count % _CHANGES_AT_ONCE == 0:
                await asyncio.sleep(0)
        if batch.ended_because:
            raise StoreUnavailable(f"etcd ended the watch: {batch.ended_because}")

    def _wait_s(self, failures: int) -> float:
        """Doubles with each failure in a row, then is cut by up to half, so that replicas do not come back at once."""
        doublings = min(failures - 1, 30)
        longest_s = min(self._options.backoff_first_s * 2.0**doublings, self._options.backoff_longest_s)
        return longest_s * (1 - self._chance() / 2)


def _require_same_store(listed: Head, now: Head) -> None:
    """A channel reconnects by itself, also to a store that was wiped; a watch from the future would wait for ever."""
    if now.cluster_id != listed.cluster_id:
        raise StoreUnavailable(f"etcd is another cluster now: {now.cluster_id:x}, not {listed.cluster_id:x}")
    if now.revision < listed.revision:
        raise StoreUnavailable(f"etcd went back from revision {listed.revision} to {now.revision}: wiped or restored")
