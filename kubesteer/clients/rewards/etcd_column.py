"""One node's column in etcd: claimed by one agent, on a lease that outlives the agent and not the node.

Every change is one transaction that compares the revision of the claim's entry and writes that entry anew. So a claim
that somebody else took stops the former holder's writes, and a write of our own that timed out, and still lies in some
socket, cannot land after a later one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kubesteer.clients.rewards import etcd_leases
from kubesteer.clients.rewards.claims import (
    LARGEST_RECORD_BYTES,
    claim_key,
    column_changes,
    encode_claim,
    holder_of,
    require_own,
    require_ttls,
)
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_connection import Connect, Head, all_pages
from kubesteer.clients.rewards.etcd_leases import EntryWrite, StoredEntry, SwapResult
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.feed import Entry, readable
from kubesteer.model.errors import ColumnClaimed, ColumnEdited, StoreUnavailable
from kubesteer.model.node_state import NodeState, encode_state, state_key
from kubesteer.model.reward import OTHER_TYPES, KeyRange, RewardRecord, encode_key, node_range, table_range

_LARGEST_BATCH = 100
"""Changes; etcd by default takes 128 in a transaction."""
_ATTEMPTS = 4
"""Before a claim that changes under every attempt is given up for now."""
_LONGEST_UNTIL_RENEWED_S = 3600.0
"""Of the column's lease, so that a column outlives its agent by nearly all of `column_ttl_s`."""

_log = logging.getLogger(__name__)

_Change = tuple[bytes, bytes | None]
"""A key and its value."""


@dataclass(slots=True)
class _Claim:
    value: bytes
    """No two claims are alike, so this tells ours from all others."""
    lease: int = 0
    revision: int = 0


class EtcdColumnStore:
    """Satisfies ColumnStore. Raises InvalidRecord or InvalidSettings for what cannot be a column.

    `clock` is monotonic, `unix_clock` is unix time, which people read in the claim and nothing else.
    """

    def __init__(
        self,
        options: EtcdOptions,
        connect: Connect,
        *,
        node: str,
        holder: str,
        claim_ttl_s: float,
        column_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        require_ttls(holder, claim_ttl_s, column_ttl_s)
        self._prefix = options.prefix
        self._node = node
        self._holder = holder
        self._claim_ttl_s = math.ceil(claim_ttl_s)
        self._column_ttl_s = math.ceil(column_ttl_s)
        self._renew_every_s = min(column_ttl_s / 3, _LONGEST_UNTIL_RENEWED_S)
        self._clock = clock
        self._unix_clock = unix_clock
        self._span = node_range(options.prefix, node)
        self._claim_key = claim_key(options.prefix, node)
        self._column_lease = _lease_number(self._span.start, self._column_ttl_s)
        self._etcd = EtcdCaller(options, connect)
        self._one_writer = asyncio.Lock()
        self._claim: _Claim | None = None
        self._lost_to: str | None = None
        self._renewed_s: float | None = None
        self._head: Head | None = None
        self._whole = True
        self._edited = False

    async def claim(self) -> None:
        """As ColumnStore."""
        async with self._one_writer:
            self._claim = self._renewed_s = self._head = None
            self._whole = True
            claim = _Claim(encode_claim(self._holder, self._unix_clock()))
            await self._take(claim, await self._look(), from_same_holder=True)
            self._claim, self._lost_to = claim, None

    async def load(self) -> list[RewardRecord]:
        """As ColumnStore."""
        edited, self._edited = self._edited, False
        try:
            pages = await self._etcd.call(lambda connection: all_pages(connection, self._span))
            entries = [entry for page in pages for entry in page.entries]
            leases = [lease for page in pages for lease in page.leases]
            astray = [key for (key, _), lease in zip(entries, leases, strict=True) if lease != self._column_lease]
            for start in range(0, len(astray), _LARGEST_BATCH):
                await self._commit([(key, None) for key in astray[start : start + _LARGEST_BATCH]])
        except BaseException:  # nobody was handed the edits; a load cut short by the agent's end counts as well
            self._edited = self._edited or edited
            raise
        return list(readable(self._prefix, entries))

    async def write(self, puts: Sequence[RewardRecord], deletes: Sequence[str] = ()) -> None:
        """As ColumnStore."""
        changes = column_changes(self._prefix, self._node, puts, deletes)
        for batch in _batches(changes, encode_key(self._prefix, self._node, OTHER_TYPES)):
            await self._commit(
                [entry for entry in batch if entry[1] is not None],
                [key for key, value in batch if value is None],
                unless_edited=True,
            )

    async def put_state(self, state: NodeState) -> None:
        """As ColumnStore."""
        require_own(self._node, state)
        await self._commit([(state_key(self._prefix, self._node), encode_state(state))], on_claim=True)

    async def keep(self) -> bool:
        """As ColumnStore."""
        async with self._one_writer:
            claim = self._claimed()
            await self._etcd.call(lambda connection: etcd_leases.renew(connection, claim.lease))
            await self._take(claim, await self._look())
            if self._renewed_s is None or self._clock() - self._renewed_s >= self._renew_every_s:
                await self._renew_column()
            whole, self._whole = self._whole, True
            return whole

    async def sample(self, limit: int, after: str) -> list[RewardRecord]:
        """As ColumnStore."""
        table = table_range(self._prefix)
        middle = node_range(self._prefix, after).end if after else table.start
        entries = await self._first(KeyRange(middle, table.end), limit)
        if len(entries) < limit and middle > table.start:
            entries += await self._first(KeyRange(table.start, middle), limit - len(entries))
        return list(readable(self._prefix, entries))

    async def close(self) -> None:
        """As ColumnStore."""
        async with self._one_writer:
            claim, self._claim = self._claim, None
            try:
                if claim is not None:
                    await self._etcd.call(lambda connection: etcd_leases.revoke(connection, claim.lease))
            except StoreUnavailable as exc:
                _log.warning("the claim on the column of node %s is left to lapse: %s", self._node, exc)
            finally:
                await self._etcd.close()

    async def _commit(
        self,
        puts: Sequence[_Change],
        deletes: Sequence[bytes] = (),
        *,
        on_claim: bool = False,
        unless_edited: bool = False,
    ) -> None:
        """Makes these changes at once, while the claim is ours. An entry without a value keeps the one it has."""
        async with self._one_writer:
            claim = self._claimed()
            for _ in range(_ATTEMPTS):
                if unless_edited and self._edited:
                    raise ColumnEdited(f"records of node {self._node!r} may have been changed by hand; load them")
                lease = claim.lease if on_claim else self._column_lease
                swapped = await self._swap(claim, [EntryWrite(key, value, lease) for key, value in puts], deletes)
                if swapped is not None and swapped.done:
                    return
                if swapped is None:
                    await self._renew_column()
                await self._take(claim, await self._look())
        raise self._unsettled()

    async def _take(self, claim: _Claim, found: StoredEntry | None, *, from_same_holder: bool = False) -> None:
        """Makes the claim ours where it is free, knows it as ours where it is. Raises ColumnClaimed."""
        for _ in range(_ATTEMPTS):
            if found is not None and found.value == claim.value:
                self._edited = self._edited or claim.revision not in (0, found.revision)
                claim.lease, claim.revision = found.lease, found.revision
                return
            if found is not None and not (from_same_holder and holder_of(found.value) == self._holder):
                self._lost_to = holder_of(found.value)
                raise ColumnClaimed(self._node, self._lost_to)
            self._edited = self._edited or not from_same_holder  # while it had lapsed, an edit had no claim to touch
            await self._renew_column()
            claim.lease = await self._etcd.call(lambda c: etcd_leases.grant(c, self._claim_ttl_s))
            claim.revision = found.revision if found else 0
            swapped = await self._swap(claim, [])
            if swapped is not None and swapped.done:
                return
            found = await self._look()
        raise self._unsettled()

    async def _swap(
        self, claim: _Claim, puts: Sequence[EntryWrite], deletes: Sequence[bytes] = ()
    ) -> SwapResult | None:
        """One transaction under the claim, which it writes anew, so that it has a revision of its own."""
        own = EntryWrite(self._claim_key, claim.value, claim.lease)
        swapped = await self._etcd.call(
            lambda connection: etcd_leases.swap(connection, own.key, claim.revision, [own, *puts], deletes)
        )
        if swapped is not None:
            self._see(swapped.head)
            if swapped.done:
                claim.revision = swapped.head.revision
        return swapped

    async def _look(self) -> StoredEntry | None:
        looked = await self._etcd.call(lambda connection: etcd_leases.look(connection, self._claim_key))
        self._see(looked.head)
        return looked.found

    async def _renew_column(self) -> None:
        """Renews the column's lease. One that is gone took the column along; it is granted again."""
        if not await self._etcd.call(lambda connection: etcd_leases.renew(connection, self._column_lease)):
            self._whole = self._whole and self._renewed_s is None
            await self._etcd.call(
                lambda connection: etcd_leases.grant(connection, self._column_ttl_s, lease=self._column_lease)
            )
        self._renewed_s = self._clock()

    def _see(self, head: Head) -> None:
        """A store that is another one, or went back, holds what it held then."""
        before, self._head = self._head, head
        if before is not None and (head.cluster_id != before.cluster_id or head.revision < before.revision):
            self._whole = False

    def _claimed(self) -> _Claim:
        if self._lost_to is not None:
            raise ColumnClaimed(self._node, self._lost_to)
        if self._claim is None:
            raise RuntimeError("the column is not claimed; call claim() first")
        return self._claim

    def _unsettled(self) -> StoreUnavailable:
        return StoreUnavailable(f"etcd: the claim on node {self._node!r} changed {_ATTEMPTS} times in a row")

    async def _first(self, span: KeyRange, limit: int) -> list[Entry]:
        return (await self._etcd.call(lambda connection: connection.page(span, limit=limit))).entries


def _lease_number(start: bytes, ttl_s: int) -> int:
    """The same at every start of the agent, so that a restart renews the lease that is there: 63 bits, not 0."""
    return int.from_bytes(hashlib.blake2b(b"%b%d" % (start, ttl_s), digest_size=8).digest()) >> 1 or 1


def _batches(changes: dict[bytes, bytes | None], other_types: bytes) -> Iterator[list[_Change]]:
    """What etcd takes at once. Last, and together, come the deletes and the record they may have been folded into.

    Apart, an agent that ends in between would have its next one count those runs twice.
    """
    last = [change for change in changes.items() if change[1] is None or change[0] == other_types]
    last.sort(key=lambda change: change[1] is None)
    together = [[change] for change in changes.items() if change[1] is not None and change[0] != other_types]
    together += [last[start : start + _LARGEST_BATCH] for start in range(0, len(last), _LARGEST_BATCH)]
    batch: list[_Change] = []
    size = 0
    for several in together:
        more = sum(len(value or b"") for _, value in several)
        if batch and (len(batch) + len(several) > _LARGEST_BATCH or size + more > LARGEST_RECORD_BYTES):
            yield batch
            batch, size = [], 0
        batch += several
        size += more
    if batch:
        yield batch
