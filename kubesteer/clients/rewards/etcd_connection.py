"""One logged-in connection to one etcd member: list, watch, put, delete, in the words of this room.

Both back ends share it; they differ in the Wire below it. It does not reconnect: its owner opens another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.feed import Entry
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import KeyRange

Metadata = tuple[tuple[str, str], ...]

_REQUIRE_LEADER = ("hasleader", "true")
"""A member cut off from the others ends its watches instead of going quiet."""
_USERS_CHANGED = ("revision of auth store is old", "auth: revision in header is old")
"""A user or role was changed between a request's arrival and its turn. Nothing was done: it is made again."""
_LOGIN_AGAIN = ("invalid auth token", "user name is empty", *_USERS_CHANGED)
_ATTEMPTS = 4
"""Before the last one. A change of users is quick, but seldom comes alone."""
_FULL = "database space exceeded"
_WHEN_FULL = "; compact and defragment it and disarm its alarm, or raise --quota-backend-bytes"
_REMOVED = 1
"""An event's type, on the wire: 0 for a put."""
_NO_LOGIN_NEEDED = "authentication is not enabled"


class Stream(Protocol):
    """An open watch."""

    async def read(self) -> Any:
        """The next message; None when the server has ended the stream. Raises grpc.RpcError."""

    def cancel(self) -> None:
        """Ends it, from this side."""


class Wire(Protocol):
    """A gRPC channel in one library's hands."""

    messages: Any
    """The module with etcd's message classes."""

    async def call(self, service: str, method: str, request: Any, metadata: Metadata) -> Any:
        """The answer to one request. Raises grpc.RpcError."""

    async def watch(self, request: Any, metadata: Metadata) -> Stream:
        """Opens a watch. Raises grpc.RpcError."""

    async def close(self) -> None:
        """Lets go of the channel."""


Connect = Callable[[str], Awaitable["EtcdConnection"]]
"""Opens a connection to a host:port. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Head:
    """Which store answered, and how far it is."""

    cluster_id: int
    revision: int


@dataclass(frozen=True, slots=True)
class RangePage:
    """A part of a list."""

    head: Head
    entries: list[Entry]
    more: bool
    leases: list[int] = field(default_factory=list)
    """What each entry hangs on, in their order; 0 for nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """One entry put, or removed when there is no value."""

    key: bytes
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What one message of a watch says."""

    head: Head
    changes: list[Change]
    ended_because: str | None


class EtcdConnection:
    """Every call raises StoreUnavailable when etcd does not do as asked."""

    def __init__(self, wire: Wire, address: str, options: EtcdOptions) -> None:
        self._wire = wire
        self._address = address
        self._options = options
        self._token: Metadata = ()

    async def log_in(self) -> None:
        """Gets a token when there is a user; a store without authentication needs none."""
        if self._options.user is None:
            return
        request = self._wire.messages.AuthenticateRequest(name=self._options.user, password=self._options.password)
        try:
            answer = await self._wire.call("Auth", "Authenticate", request, ())
        except grpc.RpcError as exc:
            if _NO_LOGIN_NEEDED not in _details(exc):
                raise self._unavailable(exc) from exc
        else:
            self._token = (("token", answer.token),)

    @property
    def messages(self) -> Any:
        """The module with etcd's message classes."""
        return self._wire.messages

    async def page(self, span: KeyRange, *, revision: int = 0, limit: int | None = None) -> RangePage:
        """The first entries of a range, up to a page's size or `limit`; at a past revision, when one is given."""
        request = self._wire.messages.RangeRequest(
            key=span.start, range_end=span.end, limit=limit or self._options.page_size, revision=revision
        )
        answer = await self.call("KV", "Range", request)
        entries, leases = [(kv.key, kv.value) for kv in answer.kvs], [kv.lease for kv in answer.kvs]
        return RangePage(head_of(answer), entries, answer.more, leases)

    async def head(self, span: KeyRange) -> Head:
        """Asks the store whether it is there; it answers only while it has a majority."""
        request = self._wire.messages.RangeRequest(key=span.start, keys_only=True)
        return head_of(await self.call("KV", "Range", request))

    async def put(self, key: bytes, value: bytes) -> None:
        """Stores an entry."""
        await self.call("KV", "Put", self._wire.messages.PutRequest(key=key, value=value))

    async def delete(self, key: bytes) -> None:
        """Removes an entry."""
        await self.call("KV", "DeleteRange", self._wire.messages.DeleteRangeRequest(key=key))

    async def watch(self, span: KeyRange, *, start_revision: int) -> AsyncGenerator[WatchBatch | None, None]:
        """Every change from a revision on; None after a heartbeat's time without one. Ends only by raising."""
        messages = self._wire.messages
        create = messages.WatchCreateRequest(
            key=span.start, range_end=span.end, start_revision=start_revision, progress_notify=True
        )
        try:
            request = messages.WatchRequest(create_request=create)
            stream = await self._wire.watch(request, (*self._token, _REQUIRE_LEADER))
        except grpc.RpcError as exc:
            raise self._unavailable(exc) from exc
        reading: asyncio.Task[Any] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(stream.read())
                done, _ = await asyncio.wait({reading}, timeout=self._options.heartbeat_s)
                if not done:
                    yield None
                    continue
                answer, reading = reading.result(), None
                if answer is None:
                    raise StoreUnavailable(f"etcd {self._address} ended the watch")
                yield _batch(answer)
        except grpc.RpcError as exc:
            raise self._unavailable(exc) from exc
        finally:
            if reading:
                reading.cancel()
                await asyncio.wait({reading})
            stream.cancel()

    async def close(self) -> None:
        """Lets go of the channel."""
        await self._wire.close()

    async def call(self, service: str, method: str, request: Any, *, none_when: str | None = None) -> Any:
        """The answer to one request; None when etcd refuses it with the text `none_when`."""
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return await self._wire.call(service, method, request, self._token)
                except grpc.RpcError as exc:
                    if self._options.user is not None and _asks_for_login(exc):
                        await self.log_in()
                    elif not _has_met_a_change_of_users(exc):
                        raise
            return await self._wire.call(service, method, request, self._token)
        except grpc.RpcError as exc:
            if none_when is not None and none_when in _details(exc):
                return None
            raise self._unavailable(exc) from exc

    def _unavailable(self, exc: grpc.RpcError) -> StoreUnavailable:
        advice = _WHEN_FULL if _FULL in _details(exc) else ""
        return StoreUnavailable(f"etcd {self._address}: {exc.code().name}: {_details(exc)}{advice}")


async def all_pages(connection: EtcdConnection, span: KeyRange) -> list[RangePage]:
    """A whole range as it was at one revision."""
    pages = [await connection.page(span)]
    while pages[-1].more:
        rest = KeyRange(pages[-1].entries[-1][0] + b"\0", span.end)
        pages.append(await connection.page(rest, revision=pages[0].head.revision))
    return pages


def head_of(answer: Any) -> Head:
    """What the header of an answer tells."""
    return Head(answer.header.cluster_id, answer.header.revision)


def _asks_for_login(exc: grpc.RpcError) -> bool:
    """Tokens run out (5 min unused by default), and every change of users or roles makes them void."""
    return exc.code() is grpc.StatusCode.UNAUTHENTICATED or any(text in _details(exc) for text in _LOGIN_AGAIN)


def _has_met_a_change_of_users(exc: grpc.RpcError) -> bool:
    return any(text in _details(exc) for text in _USERS_CHANGED)


def _details(exc: grpc.RpcError) -> str:
    return exc.details() or "no details"


def _batch(answer: Any) -> WatchBatch:
    changes = [
        Change(event.kv.key, None if event.type == _REMOVED else event.kv.value, event.kv.mod_revision)
        for event in answer.events
    ]
    ended_because = None
    if answer.compact_revision:
        ended_because = f"the history before revision {answer.compact_revision} is compacted"
    elif answer.canceled:
        ended_because = answer.cancel_reason or "no reason given"
    return WatchBatch(head_of(answer), changes, ended_because)
