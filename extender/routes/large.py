"""Large bodies are decoded in a thread, so that others are answered meanwhile. Nothing is decided here.

A thread does: nodes are decoded one by one, and the interpreter changes threads between them. To take decoded
nodes over from another process would take longer than to decode them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from extender.wire.arguments import BodyTooLarge

if TYPE_CHECKING:
    from extender.wire.arguments import Arguments, ArgumentsReader

SMALL_BYTES = 256 << 10
"""The names of 5,000 nodes, which take a millisecond."""


class LargeBodies:
    """One after the other, and no more waiting than the largest has bytes."""

    def __init__(self, reader: ArgumentsReader, *, most_bytes: int) -> None:
        self._reader = reader
        self._most_bytes = most_bytes
        self._thread: ThreadPoolExecutor | None = None
        self._bytes = 0

    async def read(self, body: bytes) -> Arguments:
        """As ArgumentsReader.read."""
        if self._bytes and self._bytes + len(body) > self._most_bytes:
            raise BodyTooLarge("too many large bodies at once; send them one after the other")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "large-bodies")
        self._bytes += len(body)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.read, body)
        finally:
            self._bytes -= len(body)
