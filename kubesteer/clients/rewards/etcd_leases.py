"""What a column needs of etcd beyond lists: leases, and changes made only while one entry is as it was last seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.clients.rewards.etcd_connection import EtcdConnection, Head, head_of

_LEASE_GONE = "requested lease not found"
_LEASE_THERE = "lease already exists"
_EQUAL = 0
_REVISION_OF_CHANGE = 2
"""A comparison's target, on the wire."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is now."""

    value: bytes
    lease: int
    revision: int
    """Of its last change."""


@dataclass(frozen=True, slots=True)
class EntryWrite:
    """An entry to be stored under a lease; without a value it keeps the one it has."""

    key: bytes
    value: bytes | None
    lease: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """How far the store is, and the entry that was asked for; None when there is none."""

    head: Head
    found: StoredEntry | None


@dataclass(frozen=True, slots=True)
class SwapResult:
    """Whether a change was made, and then `head.revision` is its own."""

    done: bool
    head: Head


async def grant(connection: EtcdConnection, ttl_s: int, *, lease: int = 0) -> int:
    """A lease that ends after `ttl_s` without a renewal; of a number of etcd's choice, unless one is given."""
    request = connection.messages.LeaseGrantRequest(TTL=ttl_s, ID=lease)
    answer = await connection.call("Lease", "LeaseGrant", request, none_when=_LEASE_THERE)
    return lease if answer is None else int(answer.ID)


async def renew(connection: EtcdConnection, lease: int) -> bool:
    """Whether the lease was there to be renewed."""
    answer = await connection.call(
        "Lease", "LeaseKeepAlive", connection.messages.LeaseKeepAliveRequest(ID=lease), none_when=_LEASE_GONE
    )
    return answer is not None and answer.TTL > 0


async def revoke(connection: EtcdConnection, lease: int) -> None:
    """Ends a lease and all that hangs on it; one that is not there is no fault."""
    request = connection.messages.LeaseRevokeRequest(ID=lease)
    await connection.call("Lease", "LeaseRevoke", request, none_when=_LEASE_GONE)


async def look(connection: EtcdConnection, key: bytes) -> Lookup:
    """One entry."""
    answer = await connection.call("KV", "Range", connection.messages.RangeRequest(key=key))
    found = next((StoredEntry(kv.value, kv.lease, kv.mod_revision) for kv in answer.kvs), None)
    return Lookup(head_of(answer), found)


async def swap(
    connection: EtcdConnection, guard: bytes, revision: int, puts: Sequence[EntryWrite], deletes: Sequence[bytes] = ()
) -> SwapResult | None:
    """Makes all changes at once if the guarding entry last changed at `revision` (0: is not there), else none.

    None, and nothing is changed, when a lease to be used is gone.
    """
    messages = connection.messages
    request = messages.TxnRequest(
        compare=[messages.Compare(key=guard, target=_REVISION_OF_CHANGE, result=_EQUAL, mod_revision=revision)],
        success=[
            *(messages.RequestOp(request_put=_put(messages, put)) for put in puts),
            *(messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=key)) for key in deletes),
        ],
    )
    answer = await connection.call("KV", "Txn", request, none_when=_LEASE_GONE)
    return None if answer is None else SwapResult(answer.succeeded, head_of(answer))


def _put(messages: Any, put: EntryWrite) -> Any:
    return messages.PutRequest(key=put.key, value=put.value or b"", lease=put.lease, ignore_value=put.value is None)
