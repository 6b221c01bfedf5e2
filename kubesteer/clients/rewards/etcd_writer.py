"""Writes rewards to etcd, and lists them for the agent that wrote them. Retrying over time is the caller's business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubesteer.clients.rewards.etcd_connection import Connect, EtcdConnection
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.feed import Entry, readable
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import KeyRange, RewardRecord, encode_key, encode_value, node_range, table_range

Result = TypeVar("Result")


class EtcdWriter:
    """Satisfies RewardWriter. A failed call is tried once on each endpoint: a put twice is the same put."""

    def __init__(self, options: EtcdOptions, connect: Connect) -> None:
        self._options = options
        self._connect = connect
        self._connection: EtcdConnection | None = None
        self._endpoint = 0
        self._one_at_a_time = asyncio.Lock()

    async def put(self, record: RewardRecord, /) -> None:
        """As RewardWriter."""
        key, value = encode_key(self._options.prefix, record.node, record.pod_type), encode_value(record)
        await self._try_endpoints(lambda connection: connection.put(key, value))

    async def delete(self, node: str, pod_type: str, /) -> None:
        """As RewardWriter."""
        key = encode_key(self._options.prefix, node, pod_type)
        await self._try_endpoints(lambda connection: connection.delete(key))

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """As RewardWriter."""
        prefix = self._options.prefix
        span = table_range(prefix) if node is None else node_range(prefix, node)
        return list(readable(prefix, await self._try_endpoints(lambda connection: _entries(connection, span))))

    async def close(self) -> None:
        """As RewardWriter."""
        async with self._one_at_a_time:
            await self._let_go()

    async def _try_endpoints(self, action: Callable[[EtcdConnection], Awaitable[Result]]) -> Result:
        addresses = self._options.addresses
        faults: list[StoreUnavailable] = []
        async with self._one_at_a_time:
            for _ in addresses:
                try:
                    if self._connection is None:
                        self._connection = await self._connect(addresses[self._endpoint])
                    return await action(self._connection)
                except StoreUnavailable as exc:
                    faults.append(exc)
                    self._endpoint = (self._endpoint + 1) % len(addresses)
                    await self._let_go()
        raise StoreUnavailable("; ".join(str(fault) for fault in faults)) from faults[-1]

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _entries(connection: EtcdConnection, span: KeyRange) -> list[Entry]:
    page = await connection.page(span)
    entries, revision = page.entries, page.head.revision
    while page.more:
        page = await connection.page(KeyRange(entries[-1][0] + b"\0", span.end), revision=revision)
        entries += page.entries
    return entries
