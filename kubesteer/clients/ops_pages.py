"""The agent's and the keeper's small HTTP server: /healthz, /readyz with its details, /metrics. It changes nothing.

Not aiohttp.web, which would be 2.2 MB on every node for three pages: one request a connection, answered and closed.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from kubesteer.clients.kubernetes.reviews import CHALLENGE, READINESS_DETAILS, Permit, Reviews
from kubesteer.clients.ops_tls import ServerTls
from kubesteer.model.errors import InvalidSettings


class Ops(Protocol):
    """Settings of group `ops`."""

    @property
    def host(self) -> str:
        """Address to listen on."""

    @property
    def port(self) -> int:
        """0 takes a free one."""


Report = Callable[[], dict[str, Any]]
"""What /readyz tells; `ready` in it decides the status."""
_WITHIN_S = 10.0
_LONGEST_HEAD_B = 16 * 1024
_MOST_CONNECTIONS = 32
"""A handshake takes 256 kB."""
_STATUS = {
    200: "200 OK",
    400: "400 Bad Request",
    401: f"401 Unauthorized\r\nWWW-Authenticate: {CHALLENGE}",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    503: "503 Service Unavailable",
}
_BadRequest = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)


class _Page(NamedTuple):
    """headers_only: the answer to HEAD."""

    status: int
    body: bytes
    kind: str = "text/plain"
    headers_only: bool = False


_HEALTHY = _Page(200, b"ok\n")
_Pages = Callable[[str, list[str]], Awaitable[_Page]]
"""The page at a path, for these header lines."""


@asynccontextmanager
async def serving(
    choice: Ops,
    report: Report,
    registry: CollectorRegistry,
    *,
    tls: ServerTls | None = None,
    reviews: Reviews | None = None,
) -> AsyncIterator[str]:
    """Serves while the block runs; gives the URL. reviews: who may read what is not open; None lets everybody.

    Raises InvalidSettings where the address cannot be had.
    """

    async def page(path: str, lines: list[str]) -> _Page:
        if path == "/healthz":
            return _HEALTHY
        about = READINESS_DETAILS if path == "/readyz" else path
        permit = Permit(200) if reviews is None else await reviews.ask(_authorization(lines), "get", about)
        if path == "/readyz":
            return _ready(report(), detailed=permit.status == 200)
        if permit.status != 200:
            return _Page(permit.status, f"{permit.why}\n".encode(errors="replace"))
        if path == "/metrics":
            return _Page(200, generate_latest(registry), CONTENT_TYPE_LATEST)
        return _Page(404, b"/healthz, /readyz or /metrics\n")

    async with _listening("ops.host", choice.host, choice.port, page, tls) as url:
        yield url


@asynccontextmanager
async def serving_probes(host: str | None, port: int, report: Report) -> AsyncIterator[str | None]:
    """Health for the kubelet at an address of its own, where the settings name one (ops.probes_host); gives the URL.

    Its connections are counted apart: who fills the other address does not keep the kubelet out, which would end the
    agent. Raises InvalidSettings where the address cannot be had.
    """
    if host is None:
        yield None
        return

    async def page(path: str, _lines: list[str]) -> _Page:
        if path == "/readyz":
            return _ready(report(), detailed=False)
        return _HEALTHY if path == "/healthz" else _Page(404, b"/healthz or /readyz\n")

    async with _listening("ops.probes_host", host, port, page) as url:
        yield url


@asynccontextmanager
async def _listening(
    setting: str, host: str, port: int, pages: _Pages, tls: ServerTls | None = None
) -> AsyncIterator[str]:
    """Serves the pages at this address, which the setting names, with connections of its own to count."""
    open_now = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            async with asyncio.timeout(_WITHIN_S):
                if open_now <= _MOST_CONNECTIONS:
                    if tls is not None:
                        # Here and not by the server itself, so that handshakes without end are counted and timed too.
                        await writer.start_tls(tls.context)
                    page = await _answer(reader, pages)
                    head = f"HTTP/1.1 {_STATUS[page.status]}\r\nContent-Type: {page.kind}\r\n"
                    head += f"Content-Length: {len(page.body)}\r\nConnection: close\r\n\r\n"
                    writer.write(head.encode() + (b"" if page.headers_only else page.body))
                    await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            open_now -= 1
            writer.close()
            if tls is not None:
                tls.reread()

    try:
        server = await asyncio.start_server(answer, host, port, limit=_LONGEST_HEAD_B)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            why = f"ops.port: {port} is in use at {host}; stop what listens there (another agent?), or choose a port"
        else:
            why = f"{setting}, ops.port: {host}:{port} cannot be listened at: {exc}"
        raise InvalidSettings(why) from exc
    try:
        bound = server.sockets[0].getsockname()
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{scheme}://{bound[0]}:{bound[1]}"
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, pages: _Pages) -> _Page:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
    except _BadRequest:
        return _Page(400, b"not an HTTP request\n")
    if method not in {"GET", "HEAD"}:
        return _Page(405, b"only GET and HEAD\n")
    page = await pages(target.partition("?")[0], lines)
    return page._replace(headers_only=method == "HEAD")


def _ready(told: dict[str, Any], *, detailed: bool) -> _Page:
    shown = told if detailed else {"ready": told["ready"]}
    return _Page(200 if told["ready"] else 503, msgspec.json.encode(shown), "application/json")


def _authorization(lines: list[str]) -> list[str]:
    """Every header of this name."""
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip().lower() == "authorization"]
