"""The agent's small HTTP server: /healthz, /readyz with its details, /metrics. Nothing can be changed through it.

Not aiohttp.web, which would be 2.2 MB on every node for three pages: one request a connection, answered and closed.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from kubesteer.model.errors import InvalidSettings

Report = Callable[[], dict[str, Any]]
"""What /readyz tells; `ready` in it decides the status."""
_Page = tuple[str, str, bytes]
"""Status, content type, body."""
_WITHIN_S = 5.0
_LONGEST_HEAD_B = 16 * 1024
_BadRequest = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


@asynccontextmanager
async def serving(host: str, port: int, report: Report, registry: CollectorRegistry) -> AsyncIterator[str]:
    """Serves while the block runs; gives the URL. Raises InvalidSettings where the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_WITHIN_S):
                status, kind, body = await _page(reader, report, registry)
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=_LONGEST_HEAD_B)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            why = f"ops.port: {port} is in use at {host}; another agent may run on this node: stop it, or choose a port"
        else:
            why = f"ops.host, ops.port: {host}:{port} cannot be listened at: {exc}"
        raise InvalidSettings(why) from exc
    try:
        bound = server.sockets[0].getsockname()
        yield f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"
    finally:
        server.close()


async def _page(reader: asyncio.StreamReader, report: Report, registry: CollectorRegistry) -> _Page:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    except _BadRequest:
        return "400 Bad Request", "text/plain", b"not an HTTP request\n"
    if method != "GET":
        return "405 Method Not Allowed", "text/plain", b"only GET\n"
    match target.partition("?")[0]:
        case "/healthz":
            return "200 OK", "text/plain", b"ok\n"
        case "/readyz":
            told = report()
            return (
                "200 OK" if told["ready"] else "503 Service Unavailable",
                "application/json",
                msgspec.json.encode(told),
            )
        case "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
    return "404 Not Found", "text/plain", b"/healthz, /readyz or /metrics\n"
