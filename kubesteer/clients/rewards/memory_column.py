"""One node's column of a MemoryStore: the fake that the tests of others share. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from kubesteer.clients.rewards.claims import (
    claim_key,
    column_changes,
    encode_claim,
    holder_of,
    require_own,
    require_ttls,
)
from kubesteer.clients.rewards.feed import readable
from kubesteer.clients.rewards.memory import MemoryLease, MemoryStore
from kubesteer.model.errors import ColumnClaimed, ColumnEdited, StoreUnavailable
from kubesteer.model.node_state import NodeState, encode_state, state_key
from kubesteer.model.reward import RewardRecord, node_range, table_range


class MemoryColumnStore:
    """Satisfies ColumnStore. Several of them on one store are several agents."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        node: str,
        holder: str,
        claim_ttl_s: float = 15.0,
        column_ttl_s: float = 7 * 86400.0,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        require_ttls(holder, claim_ttl_s, column_ttl_s)
        self._store = store
        self._node = node
        self._holder = holder
        self._claim_ttl_s = claim_ttl_s
        self._column_ttl_s = column_ttl_s
        self._unix_clock = unix_clock
        self._span = node_range(store.prefix, node)
        self._claim_key = claim_key(store.prefix, node)
        self._value = b""
        self._claim: MemoryLease | None = None
        self._column: MemoryLease | None = None
        self._lost_to: str | None = None
        self._whole = True
        self._edited = False

    async def claim(self) -> None:
        """As ColumnStore."""
        self._store.require_here()
        found = self._store.entries.get(self._claim_key)
        if found is not None and holder_of(found) != self._holder:
            self._lost_to = holder_of(found)
            raise ColumnClaimed(self._node, self._lost_to)
        self._column = self._lost_to = None
        self._value = encode_claim(self._holder, self._unix_clock())
        self._take()
        self._whole = True

    async def load(self) -> list[RewardRecord]:
        """As ColumnStore."""
        entries = self._store.entries_of(self._span)
        if any(self._store.lease_of(key) is not self._column for key, _ in entries):
            self._require_claim()
            for key, value in entries:
                self._store.put_entry(key, value, self._column)
        self._edited = False
        return list(readable(self._store.prefix, entries))

    async def write(self, puts: Sequence[RewardRecord], deletes: Sequence[str] = ()) -> None:
        """As ColumnStore."""
        changes = column_changes(self._store.prefix, self._node, puts, deletes)
        self._require_claim()
        if self._edited:
            raise ColumnEdited(f"records of node {self._node!r} may have been changed by hand; load them")
        self._renew_column()
        for key, value in changes.items():
            if value is None:
                self._store.remove_entry(key)
            else:
                self._store.put_entry(key, value, self._column)

    async def put_state(self, state: NodeState) -> None:
        """As ColumnStore."""
        require_own(self._node, state)
        self._require_claim()
        self._store.put_entry(state_key(self._store.prefix, self._node), encode_state(state), self._claim)

    async def keep(self) -> bool:
        """As ColumnStore."""
        claim = self._require_claim()
        self._store.renew(claim, self._claim_ttl_s)
        self._renew_column()
        whole, self._whole = self._whole, True
        return whole

    async def sample(self, limit: int, after: str) -> list[RewardRecord]:
        """As ColumnStore."""
        prefix = self._store.prefix
        entries = self._store.entries_of(table_range(prefix))
        middle = node_range(prefix, after).end if after else b""
        in_order = [e for e in entries if e[0] >= middle] + [e for e in entries if e[0] < middle]
        return list(readable(prefix, in_order[:limit]))

    async def close(self) -> None:
        """As ColumnStore."""
        claim, self._claim = self._claim, None
        with suppress(StoreUnavailable):
            if claim is not None:
                self._store.revoke(claim)

    def _require_claim(self) -> MemoryLease:
        """The claim, taken up again where it lapsed. Raises ColumnClaimed."""
        self._store.require_here()
        found = self._store.entries.get(self._claim_key)
        if self._claim is not None and found is not None and found != self._value:
            self._lost_to = holder_of(found)
        if self._lost_to is not None:
            raise ColumnClaimed(self._node, self._lost_to)
        if self._claim is None:
            raise RuntimeError("the column is not claimed; call claim() first")
        if found is None:
            self._edited = True
            return self._take()
        return self._claim

    def _take(self) -> MemoryLease:
        claim = self._claim = self._store.grant(self._claim_ttl_s)
        self._store.put_entry(self._claim_key, self._value, claim)
        self._renew_column()
        return claim

    def _renew_column(self) -> None:
        if self._column is None:
            self._column = self._store.grant(self._column_ttl_s)
        elif not self._store.renew(self._column, self._column_ttl_s):
            self._whole = False
            self._column = self._store.grant(self._column_ttl_s)
