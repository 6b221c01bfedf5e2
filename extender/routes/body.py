"""Reads a request's body within a size and a time. What is over the size is refused without reading on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive


class BodyTooLarge(InvalidInput):
    """The body is over the limit."""


class SlowClient(InvalidInput):
    """The body did not come in time."""


class ClientGone(InvalidInput):
    """The client closed the connection before its body was complete."""


async def read_body(request: Request, *, limit_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises BodyTooLarge, SlowClient or ClientGone."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    receive = request.receive
    message = await _next(receive, timeout_s)
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while message.get("more_body"):
            message = await _next(receive, deadline_s - asyncio.get_running_loop().time())
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit_bytes:
                raise _too_large(limit_bytes)
        body = b"".join(parts)
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body


async def _next(receive: Receive, timeout_s: float) -> Message:
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
