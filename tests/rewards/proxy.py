"""A TCP link that a test can cut, or freeze so that neither end hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Link:
    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.made = 0

    def freeze(self) -> None:
        """Connections that are open stay open, and nothing passes any more; new ones work."""
        for task in self._tasks:
            task.cancel()

    def cut(self) -> None:
        """Connections that are open end; new ones work."""
        for writer in self._writers:
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, to_writer}
        for source, target in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.ensure_future(_copy(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def link_to(port: int) -> AsyncIterator[Link]:
    link = Link(port)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    link.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        server.close()
        link.freeze()
        link.cut()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()
        target.close()
    except ConnectionError:
        target.transport.abort()
