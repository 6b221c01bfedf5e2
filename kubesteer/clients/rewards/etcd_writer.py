"""Writes rewards to etcd, and lists them for those who are not the node's agent. Retrying over time is theirs."""

from __future__ import annotations

from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_connection import Connect, all_pages
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.feed import readable
from kubesteer.model.reward import RewardRecord, encode_key, encode_value, node_range, table_range


class EtcdWriter:
    """Satisfies RewardWriter. A failed call is tried once on each endpoint: a put twice is the same put."""

    def __init__(self, options: EtcdOptions, connect: Connect) -> None:
        self._prefix = options.prefix
        self._etcd = EtcdCaller(options, connect)

    async def put(self, record: RewardRecord, /) -> None:
        """As RewardWriter."""
        key, value = encode_key(self._prefix, record.node, record.pod_type), encode_value(record)
        await self._etcd.call(lambda connection: connection.put(key, value))

    async def delete(self, node: str, pod_type: str, /) -> None:
        """As RewardWriter."""
        key = encode_key(self._prefix, node, pod_type)
        await self._etcd.call(lambda connection: connection.delete(key))

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """As RewardWriter."""
        span = table_range(self._prefix) if node is None else node_range(self._prefix, node)
        pages = await self._etcd.call(lambda connection: all_pages(connection, span))
        return list(readable(self._prefix, [entry for page in pages for entry in page.entries]))

    async def close(self) -> None:
        """As RewardWriter."""
        await self._etcd.close()
