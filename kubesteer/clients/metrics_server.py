"""A server of measurements over HTTP(S), as a kubelet and Prometheus are: one answer of bytes to one question.

Knows nothing of what the answers say. Whatever goes wrong on the way is a MetricsUnavailable that names the server.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from kubesteer.clients.trust import trusting
from kubesteer.model.errors import InvalidSettings, MetricsUnavailable
from kubesteer.model.quantity import shown

_OK = 200
_CHUNK_B = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """A server's address and the way to be let in.

    url: http(s)://host[:port][/path]. ca_file: who signed its certificate, None for the system's own authorities.
    insecure: any certificate will do. token_file: a bearer token, read for every request, since the kubelet rotates it.
    timeout_s: for a whole answer. most_b: an answer that is larger is refused.
    """

    url: str
    ca_file: str | None = None
    insecure: bool = False
    token_file: str | None = None
    timeout_s: float = 5.0
    most_b: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InvalidSettings(f"url {shown(self.url)} is no address; write http://host:port or https://host:port")
        if not self.timeout_s > 0:
            raise InvalidSettings(f"timeout_s {self.timeout_s} is no time; write seconds above 0")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, whatever its status."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """It is what was asked for."""
        return self.status == _OK


class MetricsServer:
    """A session with one server. Use it in an `async with`; that raises InvalidSettings for a ca_file it cannot use."""

    def __init__(self, access: ServerAccess) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._access.url.rstrip("/")

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=_tls(self._access))
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, path: str, form: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET, or to the POST of a form. Raises MetricsUnavailable when there is none."""
        if self._session is None:
            raise RuntimeError(f"{self.url}: the session is closed; use it in an `async with`")
        try:
            headers = await self._authorization()
            async with self._session.request(
                "GET" if form is None else "POST",
                self.url + path,
                data=form,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._access.timeout_s),
            ) as response:
                return Answer(response.status, await self._body(response))
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            waited = f"no answer in {self._access.timeout_s:g} s" if isinstance(exc, TimeoutError) else ""
            raise MetricsUnavailable(f"{self.url}{path}: {waited or exc or type(exc).__name__}") from exc

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_B):
            body += chunk
            if len(body) > self._access.most_b:
                raise MetricsUnavailable(f"{response.url}: the answer is larger than {self._access.most_b} bytes")
        return bytes(body)

    async def _authorization(self) -> dict[str, str]:
        if self._access.token_file is None:
            return {}
        token = await asyncio.to_thread(Path(self._access.token_file).read_text)
        return {"Authorization": f"Bearer {token.strip()}"}


def _tls(access: ServerAccess) -> ssl.SSLContext:
    try:
        context = trusting(access.ca_file)
    except OSError as exc:
        raise InvalidSettings(f"ca_file {access.ca_file}: {exc}; give a PEM file of certificates") from exc
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
