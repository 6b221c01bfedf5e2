"""One connection to whichever endpoint of etcd answers, for those who ask now and then. It never retries over time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubesteer.clients.rewards.etcd_connection import Connect, EtcdConnection
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.errors import StoreUnavailable

Result = TypeVar("Result")


class EtcdCaller:
    """Connects at the first call. A failed call is tried once on each endpoint, so it must bear being done twice."""

    def __init__(self, options: EtcdOptions, connect: Connect) -> None:
        self._addresses = options.addresses
        self._connect = connect
        self._connection: EtcdConnection | None = None
        self._endpoint = 0
        self._one_at_a_time = asyncio.Lock()

    async def call(self, action: Callable[[EtcdConnection], Awaitable[Result]]) -> Result:
        """What the action answers on the first endpoint where it does not fail. Raises StoreUnavailable naming all."""
        faults: list[StoreUnavailable] = []
        async with self._one_at_a_time:
            for _ in self._addresses:
                try:
                    if self._connection is None:
                        self._connection = await self._connect(self._addresses[self._endpoint])
                    return await action(self._connection)
                except StoreUnavailable as exc:
                    faults.append(exc)
                    self._endpoint = (self._endpoint + 1) % len(self._addresses)
                    await self._let_go()
        try:
            raise StoreUnavailable("; ".join(str(fault) for fault in faults)) from faults[-1]
        finally:
            # A fault's traceback holds this frame: without this it and its connection live until the collector comes.
            faults.clear()

    async def close(self) -> None:
        """Lets go of the connection. A later call opens another."""
        async with self._one_at_a_time:
            await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
