"""List and watch of one resource: the sink follows the API server, and no delete is ever lost.

The order of things: a list in pages at one version, then a watch from that version, resumed from the last version
seen for as long as the server knows it, else a new list. Objects that a list lacks are deleted from the sink.
Objects are put as they come instead of in one replacement at the end: 50,000 at once would stop the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Generic, NoReturn

import msgspec

from kubesteer.clients.kubernetes.api import GONE, ApiRefused, ApiServer
from kubesteer.clients.kubernetes.backoff import Backoff, Sleep
from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import (
    Added,
    Bookmark,
    Deleted,
    Failure,
    Metadata,
    Modified,
    ObjectT,
    WatchEvent,
)
from kubesteer.clients.kubernetes.resource import (
    LineSplitter,
    LineTooLong,
    Resource,
    continue_token,
    decode_page,
    full_name,
    listed_version,
    named,
)
from kubesteer.clients.kubernetes.unreadable import UNREADABLE, event_type, metadata_of
from kubesteer.model.errors import ClusterUnavailable, InvalidQuantity

_SLICE = 100
"""Objects between two turns of the event loop: about 2 ms."""
_ALL_THERE_IS_B = 65536
"""A chunk from this size on may have more behind it: the connection stops reading when its buffer is full."""
_PAGE_ATTEMPTS = 3
"""Attempts at a further page before the list begins anew: its continue token may be what is wrong."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Sizes and limits.

    silence_s: without a byte for so long, a watch is taken for dead. The server sends a bookmark about once a minute.
    watch_s: shortest time after which the server is asked to end a watch; the longest is twice that.
    """

    page: int = 500
    silence_s: float = 90.0
    watch_s: float = 300.0
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0


class ListAnew(ClusterUnavailable):
    """The version we stand at, or the page that we ask for, is of no use any more."""


class Reflector(Generic[ObjectT]):
    """Keeps one kind of object in the sink. Counters are for the status; only `run` changes them."""

    def __init__(
        self,
        api: ApiServer,
        resource: Resource[ObjectT],
        *,
        pace: Pace,
        random: Random,
        clock: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        self.synced = False
        self.lists = 0
        self.events = 0
        self.heard_at_s: float | None = None
        self.fault: str | None = None
        self.known: set[str] = set()
        self.skipped: dict[str, str] = {}
        self._api = api
        self._resource: Resource[ObjectT] = resource
        self._pace = pace
        self._random = random
        self._clock = clock
        self._backoff = Backoff(random, sleep, pace.first_wait_s, pace.longest_wait_s)
        self._version = ""
        self._list_is_proven = True

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            wait_s = 0.0
            try:
                if self._version:
                    await self._check_version()
                else:
                    await self._list()
                await self._watch()
            except ListAnew as exc:
                self.fault, self._version = str(exc), ""
                if self._list_is_proven:
                    self._backoff.reset()
            except UNREADABLE as exc:
                self.fault = f"{self._resource.path}: the answer is no list: {exc}"
            except ClusterUnavailable as exc:
                self.fault = str(exc)
                wait_s = _wait_asked_for_s(exc)
            await self._backoff.pause(at_least_s=wait_s)

    async def _list(self) -> None:
        """Every page; the next one is asked for before this one is decoded, so that both sides work at once."""
        seen: set[str] = set()
        odd: set[str] = set()
        ahead: asyncio.Task[bytes] | None = None
        asked_s = self._clock()
        try:
            body = await self._page("")
            while True:
                token = continue_token(body)
                ahead = asyncio.create_task(self._page(token)) if token else None
                await asyncio.sleep(0)
                version = await self._take_page(body, seen, odd)
                if ahead is None:
                    break
                body = await ahead
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        # One of those that it seems to lack may be the object whose name cannot be read.
        is_whole = "" not in seen
        if is_whole:
            await self._forget(list(self.known - seen))
        for key in self.skipped.keys() - odd:
            del self.skipped[key]
        self._version = version
        self._list_is_proven = False
        self.lists += 1
        self.synced = True
        if is_whole and self._resource.listed is not None:
            self._resource.listed(seen, asked_s)

    async def _page(self, token: str) -> bytes:
        params = {"limit": str(self._pace.page), **self._resource.selector}
        if token:
            params["continue"] = token
        attempt = 1
        while True:
            try:
                body = await self._api.get(self._resource.path, params)
            except ClusterUnavailable as exc:
                if _is_gone(exc):
                    raise ListAnew(str(exc)) from exc
                if not token or attempt == _PAGE_ATTEMPTS:
                    raise
                self.fault = str(exc)
                await self._backoff.pause(at_least_s=_wait_asked_for_s(exc))
                attempt += 1
            else:
                self._heard()
                return body

    async def _take_page(self, body: bytes, seen: set[str], odd: set[str]) -> str:
        metadata, items, undecodable = decode_page(body, self._resource)
        if not metadata.resource_version:
            raise ClusterUnavailable(f"{self._resource.path}: the answer is no list: it has no resourceVersion")
        for key, (name, why) in undecodable.items():
            self._skip(key, name, why)
            seen.add(key)
            odd.add(key)
        for start in range(0, len(items), _SLICE):
            for item in items[start : start + _SLICE]:
                key = self._resource.key(item.metadata)
                seen.add(key)
                if not self._take(key, item):
                    odd.add(key)
            await asyncio.sleep(0)
        return metadata.resource_version

    async def _check_version(self) -> None:
        """A restored etcd is behind the version that we know, and a watch from there would be silent for long."""
        body = await self._api.get(self._resource.path, {"limit": "1"})
        self._heard()
        now = listed_version(body)
        if _is_older(now, self._version):
            raise ListAnew(f"{self._resource.path}: the server went back from version {self._version} to {now}")

    async def _watch(self) -> None:
        """Until the stream ends. Raises ListAnew or ClusterUnavailable."""
        seconds = self._random.uniform(self._pace.watch_s, 2 * self._pace.watch_s)
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, int(seconds))),
            **self._resource.selector,
        }
        split, opened_s = LineSplitter(), self._clock()
        before_s: float | None = None
        try:
            async with aclosing(
                self._api.stream(self._resource.path, params, silence_s=self._pace.silence_s)
            ) as chunks:
                async for chunk in chunks:
                    self._heard()
                    arrived_s, lines = self._clock(), split.feed(chunk)
                    for number, line in enumerate(lines, start=1):
                        self._apply(line)
                        self._proven()
                        if number % _SLICE == 0:
                            await asyncio.sleep(0)
                    if len(chunk) < _ALL_THERE_IS_B:
                        # What a half line tells is still to come: only what came before it has been applied.
                        self._tell_heard(lines, arrived_s if split.is_empty else before_s)
                        before_s = arrived_s if chunk else None
        except LineTooLong as exc:
            raise ListAnew(f"{self._resource.path}: {exc}") from exc
        except ApiRefused as exc:
            if _is_gone(exc):
                raise ListAnew(str(exc)) from exc
            raise
        finally:
            if self._clock() - opened_s > self._pace.longest_wait_s:
                self._proven()

    def _tell_heard(self, lines: Sequence[bytes], at_s: float | None) -> None:
        if lines and at_s is not None and self._resource.heard is not None:
            self._resource.heard(at_s)

    def _apply(self, line: bytes) -> None:
        """One event; the version moves only when it has been dealt with."""
        try:
            event = self._resource.event.decode(line)
        except UNREADABLE as exc:
            metadata = self._skip_event(line, exc)
        else:
            if isinstance(event, Failure):
                self._fail(event)
            metadata = event.object.metadata
            if isinstance(event, (Added, Modified)):
                self._take(self._resource.key(metadata), event.object)
            elif isinstance(event, Deleted):
                self._delete(self._resource.key(metadata))
            if not isinstance(event, Bookmark):
                self.events += 1
        if not metadata.resource_version:
            raise ListAnew(f"{self._resource.path}: an event of the watch has no resourceVersion")
        self._version = metadata.resource_version

    def _skip_event(self, line: bytes, exc: Exception) -> Metadata:
        """A changed object that cannot be read: what is known of it stays. A delete needs a list."""
        metadata = _metadata_in(line)
        if event_type(line) not in ("ADDED", "MODIFIED") or not metadata.resource_version:
            raise ListAnew(f"{self._resource.path}: an event of the watch cannot be read: {exc}") from exc
        self._skip(self._resource.key(metadata), full_name(metadata), told(exc, line))
        return metadata

    def _fail(self, event: Failure) -> NoReturn:
        status = event.object
        message = f"{self._resource.path}: the watch ended with {status.code}: {status.message or status.reason}"
        if status.code == GONE:
            raise ListAnew(message)
        raise ClusterUnavailable(message)

    def _take(self, key: str, item: ObjectT) -> bool:
        name = full_name(item.metadata)
        try:
            fault = self._resource.put(item)
        except InvalidQuantity as exc:
            self._skip(key, name, str(exc))
            return False
        self.known.add(key)
        if fault is None:
            self.skipped.pop(key, None)
        else:
            self.skipped[key] = f"{self._resource.kind} {name}: {fault}; it takes no pod"
        return fault is None

    def _skip(self, key: str, name: str, why: str) -> None:
        kept = "; its last good state counts" if key in self.known else "; it is not counted"
        self.skipped[key] = f"{self._resource.kind} {name or 'without a name'}: {why}{kept}"

    def _delete(self, key: str) -> None:
        self._resource.delete(key)
        self.known.discard(key)
        self.skipped.pop(key, None)

    async def _forget(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _SLICE):
            for key in keys[start : start + _SLICE]:
                self._delete(key)
            await asyncio.sleep(0)

    def _proven(self) -> None:
        """The watch works: waits are short again. One list after another without a watch between stays slow."""
        self._list_is_proven = True
        self._backoff.reset()

    def _heard(self) -> None:
        self.heard_at_s = self._clock()
        self.fault = None


def _metadata_in(line: bytes) -> Metadata:
    try:
        return named(msgspec.json.decode(line, type=WatchEvent).object)
    except UNREADABLE:
        return metadata_of(line)


def _is_older(version: str, known: str) -> bool:
    """Versions are whole numbers of any length, and int() refuses long ones."""
    if not all(each.isascii() and each.isdecimal() for each in (version, known)):
        return False
    return (len(version), version) < (len(known), known)


def _is_gone(exc: ClusterUnavailable) -> bool:
    return isinstance(exc, ApiRefused) and exc.status == GONE


def _wait_asked_for_s(exc: ClusterUnavailable) -> float:
    return exc.retry_after_s if isinstance(exc, ApiRefused) else 0.0
