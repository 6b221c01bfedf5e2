"""Reads requests' bodies within a size, a time and a memory. The rest of a body that exceeds them is not read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from extender.server.protocol import IS_WHOLE
from extender.wire.arguments import BodyTooLarge
from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope


_UNCOUNTED_BYTES = 256 << 10
"""A body this small always comes in: the names of 5,000 nodes. The connections bound how many there are."""


class SlowClient(InvalidInput):
    """The body did not come in time."""


class ClientGone(InvalidInput):
    """The client closed the connection before its body was complete."""


class BodyReader:
    """Reads the bodies of one port. Those under way together take no more memory than two of the largest."""

    def __init__(self, *, limit_bytes: int, timeout_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._held_bytes = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises BodyTooLarge, SlowClient or ClientGone."""
        limit_bytes = self._limit_bytes
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit_bytes:
                raise _too_large(limit_bytes)
        is_whole = scope.get(IS_WHOLE, _is_never_whole)
        message = await _next(receive, None if is_whole() else self._timeout_s)
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(receive, body)
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body

    async def _rest(self, receive: Receive, first: bytes) -> bytes:
        parts, size, counted, more = [first], len(first), 0, True
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            while more:
                message = await _next(receive, deadline_s - asyncio.get_running_loop().time())
                more = message.get("more_body", False)
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self._limit_bytes:
                    raise _too_large(self._limit_bytes)
                if size > _UNCOUNTED_BYTES:
                    counted += len(parts[-1])
                    self._held_bytes += len(parts[-1])
                if self._held_bytes > 2 * self._limit_bytes:
                    raise BodyTooLarge("too many large bodies at once; send them one after the other")
            return b"".join(parts)
        finally:
            self._held_bytes -= counted


def _is_never_whole() -> bool:
    return False


async def _next(receive: Receive, timeout_s: float | None) -> Message:
    """None: it is there; to set and unset a limit of time takes a twentieth of a verb's time."""
    if timeout_s is None:
        message = await receive()
    else:
        try:
            async with asyncio.timeout(timeout_s):
                message = await receive()
        except TimeoutError as exc:
            raise SlowClient("body did not come in time; send it at once") from exc
    if message["type"] == "http.disconnect":
        raise ClientGone("client went away before its body was complete")
    return message


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"body is over {limit_bytes} bytes; set nodeCacheCapable: true, or raise limits.names_body_bytes or "
        "limits.nodes_body_bytes"
    )
