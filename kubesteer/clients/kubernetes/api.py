"""The connection to the API server: raw bytes over one session, and errors told in kubesteer's words.

No object is read here but the server's Status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from kubesteer.clients.kubernetes.access import Access, LoadAccess
from kubesteer.clients.kubernetes.objects import Status
from kubesteer.model.errors import ClusterUnavailable, InvalidSettings

GONE = 410
UNAUTHORIZED = 401
_FIRST_ERROR = 400
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


class ApiServer:
    """One session with an API server. Use it in an `async with`, which raises InvalidSettings without access.

    Every call raises ClusterUnavailable when the server does not answer, its child ApiRefused when it says no.
    Credentials that are refused are loaded anew once for each call.
    """

    def __init__(self, load_access: LoadAccess, *, timeout_s: float = 30.0) -> None:
        """timeout_s: how long a silent server is waited for in each step of a call."""
        self._load_access = load_access
        self._timeout_s = timeout_s
        self._access: Access | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loading = asyncio.Lock()

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
        return await self._call("GET", path, params, None)

    async def post(self, path: str, body: bytes) -> bytes:
        """The answer's body. A POST that was not answered may have been done all the same."""
        return await self._call("POST", path, None, body)

    async def stream(self, path: str, params: Mapping[str, str], *, silence_s: float) -> AsyncGenerator[bytes, None]:
        """Chunks as they arrive, the first of them empty: the server has accepted. Close it with aclosing.

        Raises ClusterUnavailable after silence_s without a byte: a dead link sends no end.
        """
        try:
            response = await self._send("GET", path, params, None, silence_s)
            async with response:
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
        except _Fault as exc:
            raise self._no_answer("GET", path, exc) from exc

    async def _call(self, method: str, path: str, params: Mapping[str, str] | None, body: bytes | None) -> bytes:
        try:
            async with await self._send(method, path, params, body, self._timeout_s) as response:
                return await response.read()
        except _Fault as exc:
            raise self._no_answer(method, path, exc) from exc

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, body: bytes | None, silence_s: float
    ) -> aiohttp.ClientResponse:
        """An answer that is no error, its body still to be read."""
        access = self._open[0]
        try:
            response = await self._ask(access, method, path, params, body, silence_s)
            if response.status == UNAUTHORIZED:
                response.release()
                response = await self._ask(await self._renewed(access), method, path, params, body, silence_s)
        except InvalidSettings as exc:
            raise ClusterUnavailable(f"{method} {path}: {exc}") from exc
        if response.status >= _FIRST_ERROR:
            async with response:
                raise _refusal(method, path, response, await response.read())
        return response

    async def _ask(
        self,
        access: Access,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        silence_s: float,
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if authorization := await access.authorization():
            headers["Authorization"] = authorization
        return await self._open[1].request(
            method,
            access.url + path,
            params=params,
            data=body,
            headers=headers,
            ssl=access.tls or True,
            server_hostname=access.server_name,
            proxy=access.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_read=silence_s),
        )

    async def _renewed(self, refused: Access) -> Access:
        """Access loaded after this one was refused; callers that were refused together load it once."""
        async with self._loading:
            if self._access is refused:
                self._access = await self._load_access()
            return self._open[0]

    @property
    def _open(self) -> tuple[Access, aiohttp.ClientSession]:
        if self._access is None or self._session is None:
            raise RuntimeError("API server: the session is closed; use it in an `async with`")
        return self._access, self._session

    def _no_answer(self, method: str, path: str, exc: BaseException) -> ClusterUnavailable:
        cause = exc.__cause__ if isinstance(exc, aiohttp.ClientConnectorError) else None
        why = str(cause or exc) or type(exc).__name__
        return ClusterUnavailable(f"{method} {path}: {self._open[0].url} did not answer: {why}")


def _refusal(method: str, path: str, response: aiohttp.ClientResponse, body: bytes) -> ApiRefused:
    try:
        message = msgspec.json.decode(body, type=Status).message
    except msgspec.MsgspecError:
        message = None
    wait = response.headers.get("Retry-After", "")
    return ApiRefused(
        f"{method} {path}: the API server answered {response.status}: {message or response.reason}",
        status=response.status,
        retry_after_s=float(wait) if wait.isdecimal() else 0.0,
    )
