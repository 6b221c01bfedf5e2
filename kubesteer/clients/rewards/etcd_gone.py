"""Nodes whose user was taken away: since when, and their records, which go once they have been gone for long.

Key: `<prefix>/gone/v1/<node>`, which only root can write. Value: the time, as in a record.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_connection import all_pages
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.node_state import state_key
from kubesteer.model.reward import (
    VERSION,
    KeyRange,
    below,
    escaped_name,
    format_time,
    node_range,
    parse_time,
    unescaped_name,
)


def gone_range(prefix: str) -> KeyRange:
    """The keys of all notes."""
    return below(f"{prefix.rstrip('/')}/gone/v{VERSION}/".encode())


class GoneNodes:
    """Speaks as root. Every call raises StoreUnavailable when etcd does not do as asked."""

    def __init__(self, etcd: EtcdCaller, prefix: str) -> None:
        self._etcd = etcd
        self._prefix = prefix

    async def note(self, node: str, now: datetime) -> None:
        """A node is gone. Where that is noted, the first time stays."""
        key = gone_range(self._prefix).start + escaped_name("node", node)
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=format_time(now.timestamp()).encode()))
        is_new = rpc.Compare(key=key, target=rpc.Compare.CREATE, create_revision=0)
        request = rpc.TxnRequest(compare=[is_new], success=[put])
        await self._etcd.call(lambda etcd: etcd.call("KV", "Txn", request))

    async def forget(self, present: Collection[str], *, now: datetime, after: timedelta) -> list[str]:
        """Deletes what there is of nodes that have been gone for `after`, and the notes of those that came back.

        What was done, in words.
        """
        span, done = gone_range(self._prefix), []
        pages = await self._etcd.call(lambda etcd: all_pages(etcd, span))
        for key, value in (entry for page in pages for entry in page.entries):
            node = unescaped_name(key.removeprefix(span.start))
            if node in present:
                await self._delete(KeyRange(key, b""))
            elif now.timestamp() - _since_s(value) >= after.total_seconds():
                single = (state_key(self._prefix, node), claim_key(self._prefix, node), key)
                await self._delete(node_range(self._prefix, node), *(KeyRange(each, b"") for each in single))
                done.append(f"records of {node} deleted: it has been gone for {after}")
        return done

    async def _delete(self, *spans: KeyRange) -> None:
        """All at once, or none."""
        requests = (rpc.DeleteRangeRequest(key=span.start, range_end=span.end) for span in spans)
        txn = rpc.TxnRequest(success=[rpc.RequestOp(request_delete_range=each) for each in requests])
        await self._etcd.call(lambda etcd: etcd.call("KV", "Txn", txn))


def _since_s(value: bytes) -> float:
    """Far in the future where it cannot be read: then nothing is deleted."""
    try:
        return parse_time(value.decode(errors="replace"))
    except InvalidRecord:
        return float("inf")
