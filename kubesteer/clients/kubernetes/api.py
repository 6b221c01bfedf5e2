"""The connection to the API server: raw bytes over one session, and errors told in kubesteer's words.

No object is read here but the server's Status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from kubesteer.clients.kubernetes.access import Access, LoadAccess
from kubesteer.clients.kubernetes.objects import Status
from kubesteer.clients.kubernetes.unreadable import UNREADABLE
from kubesteer.model.errors import ClusterUnavailable, InvalidSettings

GONE = 410
CONFLICT = 409
NOT_FOUND = 404
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
"""Merges lists that have a key, such as conditions by their type; a merge patch replaces them."""
UNAUTHORIZED = 401
_FIRST_ERROR = 400
_LONGEST_WAIT_S = 300.0
_FIRST_RENEWAL_S, _LONGEST_RENEWAL_S = 1.0, 30.0
_HEADERS = {
    # Compressing costs the server and us more than the bytes it saves.
    "Accept-Encoding": "identity",
    "Accept": "application/json",
    "User-Agent": "kubesteer",
}
_Fault = (aiohttp.ClientError, TimeoutError, OSError)


class ApiRefused(ClusterUnavailable):
    """The API server answered, and its answer was an error.

    status: the HTTP status. retry_after_s: the wait that it asks for, 0 where it asks for none.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    params: Mapping[str, str] | None = None
    body: bytes | None = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ApiServer:
    """One session with an API server. Use it in an `async with`, which raises InvalidSettings without access.

    Every call raises ClusterUnavailable when the server does not answer, its child ApiRefused when it says no.
    Credentials that are refused, or that end soon, are loaded anew: at most once a second, and ever more seldom, down
    to every 30 s, while that does not help. Until it does, the old ones are used.
    """

    def __init__(
        self,
        load_access: LoadAccess,
        *,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """timeout_s: how long a silent server is waited for in each step of a call."""
        self._load_access = load_access
        self._timeout_s = timeout_s
        self._access: Access | None = None
        self._session: aiohttp.ClientSession | None = None
        self._clock, self._wall_clock = clock, wall_clock
        self._loading = asyncio.Lock()
        self._next_load_s = float("-inf")
        self._loads_in_vain = 0
        self._load_fault: str | None = None

    async def __aenter__(self) -> Self:
        self._access = await self._load_access()
        self._session = aiohttp.ClientSession(headers=_HEADERS, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET."""
        return await self._call(_Request("GET", path, params))

    async def post(self, path: str, body: bytes) -> bytes:
        """The answer's body. A POST that was not answered may have been done all the same."""
        return await self._call(_Request("POST", path, body=body))

    async def patch(self, path: str, body: bytes, *, content_type: str) -> bytes:
        """The answer's body: the object as it is now. content_type: MERGE_PATCH or STRATEGIC_MERGE_PATCH."""
        return await self._call(_Request("PATCH", path, body=body, content_type=content_type))

    async def stream(self, path: str, params: Mapping[str, str], *, silence_s: float) -> AsyncGenerator[bytes, None]:
        """Chunks as they arrive, the first of them empty: the server has accepted. Close it with aclosing.

        Raises ClusterUnavailable after silence_s without a byte: a dead link sends no end.
        """
        request = _Request("GET", path, params)
        try:
            response = await self._send(request, silence_s)
            async with response:
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
        except _Fault as exc:
            raise self._no_answer(request, exc) from exc

    async def _call(self, request: _Request) -> bytes:
        try:
            async with await self._send(request, self._timeout_s) as response:
                return await response.read()
        except _Fault as exc:
            raise self._no_answer(request, exc) from exc

    async def _send(self, request: _Request, silence_s: float) -> aiohttp.ClientResponse:
        """An answer that is no error, its body still to be read."""
        try:
            access = await self._in_time()
            response = await self._ask(access, request, silence_s)
            if response.status == UNAUTHORIZED and (renewed := await self._renewed(access)) is not access:
                response.release()
                access = renewed
                response = await self._ask(access, request, silence_s)
        except InvalidSettings as exc:
            raise ClusterUnavailable(f"{request}: {exc}") from exc
        if response.status == UNAUTHORIZED:
            async with response:
                raise _refusal(request, response, await response.read(), self._load_fault)
        if access is self._access and self._load_fault is None:
            self._loads_in_vain = 0
        if response.status >= _FIRST_ERROR:
            async with response:
                raise _refusal(request, response, await response.read())
        return response

    async def _ask(self, access: Access, request: _Request, silence_s: float) -> aiohttp.ClientResponse:
        headers = list(access.headers)
        if request.body is not None:
            headers.append(("Content-Type", request.content_type))
        if authorization := await access.authorization():
            headers.append(("Authorization", authorization))
        return await self._open[1].request(
            request.method,
            access.url + request.path,
            params=request.params,
            data=request.body,
            headers=headers,
            ssl=access.tls or True,
            server_hostname=access.server_name,
            proxy=access.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_read=silence_s),
        )

    async def _in_time(self) -> Access:
        """The access, loaded anew where it ends soon; only one caller waits for that."""
        access = self._open[0]
        is_due = access.renew_at_s is not None and self._wall_clock() >= access.renew_at_s
        return await self._renewed(access) if is_due and not self._loading.locked() else access

    async def _renewed(self, old: Access) -> Access:
        """What was loaded after this one, or this one where that failed or is not to be tried yet.

        Callers that were refused together load it once.
        """
        async with self._loading:
            if self._access is old and self._clock() >= self._next_load_s:
                try:
                    self._access, self._load_fault = await self._load_access(), None
                except InvalidSettings as exc:
                    self._load_fault = str(exc)
                wait_s = min(_FIRST_RENEWAL_S * 2**self._loads_in_vain, _LONGEST_RENEWAL_S)
                self._loads_in_vain = min(self._loads_in_vain + 1, 16)
                self._next_load_s = self._clock() + wait_s
            return self._open[0]

    @property
    def _open(self) -> tuple[Access, aiohttp.ClientSession]:
        if self._access is None or self._session is None:
            raise RuntimeError("API server: the session is closed; use it in an `async with`")
        return self._access, self._session

    def _no_answer(self, request: _Request, exc: BaseException) -> ClusterUnavailable:
        cause = exc.__cause__ if isinstance(exc, aiohttp.ClientConnectorError) else None
        why = str(cause or exc) or type(exc).__name__
        return ClusterUnavailable(f"{request}: {self._open[0].url} did not answer: {why}")


def _refusal(
    request: _Request, response: aiohttp.ClientResponse, body: bytes, load_fault: str | None = None
) -> ApiRefused:
    try:
        message = msgspec.json.decode(body, type=Status).message
    except UNREADABLE:
        message = None
    wait = response.headers.get("Retry-After", "")
    why = f"; the credentials could not be renewed: {load_fault}" if load_fault else ""
    return ApiRefused(
        f"{request}: the API server answered {response.status}: {message or response.reason}{why}",
        status=response.status,
        retry_after_s=min(float(wait), _LONGEST_WAIT_S) if wait.isdecimal() else 0.0,
    )
