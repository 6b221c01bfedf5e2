"""An API server for nodes and pods: pages, watches with history, bookmarks, and every way in which one can fail.

Versions, continue tokens, selectors and 410 behave as the real one's (1.37); storage is a dictionary.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

RESOURCES = {"nodes": "Node", "pods": "Pod"}
ENDED = ("Succeeded", "Failed")
LIVE = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass
class Refusal:
    """An answer to give instead of the true one: a Status with the message, or the body as it is."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "refused by the test"
    body: str | None = None


@dataclass
class Watch:
    """An open watch; the test may end it in the middle of a line, or let it go silent.

    One from a version of the future is silent until that version has come, as the real server's is (1.37).
    """

    resource: str
    since: int
    live_only: bool
    outbox: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    frozen: bool = False

    def send(self, line: bytes) -> None:
        if not self.frozen:
            self.outbox.put_nowait(line)


class FakeApi:
    """Use it in an `async with`. `requests` holds (resource, parameters) of each GET in order."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"nodes": {}, "pods": {}}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.refusals: dict[str, deque[Refusal]] = {"list": deque(), "page": deque(), "watch": deque()}
        self.accepted_token: str | None = None
        self.error_events_for_gone = True
        self.raw_items: dict[str, list[str]] = {"nodes": [], "pods": []}
        self.watches: list[Watch] = []
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._oldest = 100
        self._snapshots: dict[str, tuple[int, list[str], int]] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Start, on the port of the last start if there was one."""
        app = web.Application()
        app.router.add_get("/api/v1/{resource}", self._get)
        app.router.add_post("/api/v1/namespaces/{namespace}/events", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every connection."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What happens in the cluster

    def put(self, obj: dict[str, Any]) -> None:
        """Create or change; a pod that ends leaves the watches that select live pods."""
        resource, key = self._place(obj)
        self.version += 1
        before = self.objects[resource].get(key)
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[resource][key] = stored
        self._tell("ADDED" if before is None else "MODIFIED", resource, stored)

    def delete(self, obj: dict[str, Any]) -> None:
        resource, key = self._place(obj)
        self.version += 1
        gone = self.objects[resource].pop(key)
        self._tell(
            "DELETED", resource, {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
        )

    def compact(self) -> None:
        """Forget the history: older versions are 410 from now on, and so are the continue tokens."""
        self.version += 1
        self._oldest = self.version
        self._history.clear()
        self._snapshots.clear()

    def restore(self, version: int) -> None:
        """Go back in time, as after an etcd restored from a backup."""
        self.version = self._oldest = version
        self._history.clear()

    # What happens to the watches

    def bookmark(self) -> None:
        for watch in self.watches:
            meta = {"resourceVersion": str(self.version), "creationTimestamp": None}
            empty = {"kind": RESOURCES[watch.resource], "metadata": meta, "spec": {"containers": None}, "status": {}}
            watch.send(_line("BOOKMARK", empty))

    def send(self, line: str, *, resource: str) -> None:
        """Send any line to the watches of a resource."""
        for watch in self.of(resource):
            watch.send(line.encode() + b"\n")

    def freeze(self) -> None:
        """Nothing more comes out of the open watches, and they do not end."""
        for watch in self.watches:
            watch.frozen = True

    def cut(self, half_a_line: str = "") -> None:
        """End the open watches; what is being sent stops in the middle of a line."""
        for watch in self.watches:
            watch.outbox.put_nowait(half_a_line.encode())
            watch.outbox.put_nowait(None)

    def of(self, resource: str) -> list[Watch]:
        return [watch for watch in self.watches if watch.resource == resource]

    def asked(self, kind: str, resource: str = "pods") -> list[dict[str, str]]:
        """Parameters of the lists, further pages or watches that were asked for."""
        return [params for name, params in self.requests if name == resource and _kind(params) == kind]

    def _tell(self, event: str, resource: str, obj: dict[str, Any]) -> None:
        self._history.append((self.version, event, resource, obj))
        for watch in self.of(resource):
            if self.version > watch.since:
                watch.send(_line(_seen_by(watch.live_only, event, obj), obj))

    def _place(self, obj: dict[str, Any]) -> tuple[str, str]:
        meta = obj["metadata"]
        return f"{obj['kind'].lower()}s", f"{meta.get('namespace', '')}/{meta['name']}"

    async def _get(self, request: web.Request) -> web.StreamResponse:
        resource, params = request.match_info["resource"], dict(request.query)
        self.requests.append((resource, params))
        self.headers.append(dict(request.headers))
        if self.accepted_token is not None and request.headers.get("Authorization") != f"Bearer {self.accepted_token}":
            return _status(401, "Unauthorized")
        refusals = self.refusals[_kind(params)]
        if refusals:
            refusal = refusals.popleft()
            if refusal.body is not None:
                return web.Response(status=refusal.status, text=refusal.body)
            return _status(refusal.status, refusal.message, refusal.headers)
        if "watch" in params:
            return await self._watch(request, resource, params)
        return self._list(resource, params)

    def _list(self, resource: str, params: dict[str, str]) -> web.Response:
        if token := params.get("continue"):
            if token not in self._snapshots:
                return _status(410, "The provided continue parameter is too old")
            version, items, start = self._snapshots[token]
        else:
            live_only = params.get("fieldSelector") == LIVE
            chosen = [o for o in self.objects[resource].values() if not (live_only and _ended(o))]
            version, items, start = self.version, [*map(json.dumps, chosen), *self.raw_items[resource]], 0
        end = start + int(params["limit"])
        meta = {"resourceVersion": str(version)}
        if end < len(items):
            meta["continue"] = f"t{len(self._snapshots)}-{version}-{end}"
            self._snapshots[meta["continue"]] = (version, items, end)
        head = {"kind": f"{RESOURCES[resource]}List", "apiVersion": "v1", "metadata": meta}
        body = json.dumps(head, separators=(",", ":"))[:-1] + ',"items":[' + ",".join(items[start:end]) + "]}"
        return web.Response(text=body, content_type="application/json")

    async def _watch(self, request: web.Request, resource: str, params: dict[str, str]) -> web.StreamResponse:
        since = int(params["resourceVersion"])
        gone = since < self._oldest
        if gone and not self.error_events_for_gone:
            return _status(410, "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        watch = Watch(resource, since, live_only=params.get("fieldSelector") == LIVE)
        if gone:
            watch.send(_line("ERROR", {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}))
            watch.outbox.put_nowait(None)
        for version, event, name, obj in self._history:
            if version > since and name == resource:
                watch.send(_line(_seen_by(watch.live_only, event, obj), obj))
        self.watches.append(watch)
        try:
            while (line := await watch.outbox.get()) is not None:
                await response.write(line)
            if request.transport is not None and not gone:
                request.transport.close()
        except ConnectionError:
            pass
        finally:
            self.watches.remove(watch)
        return response

    async def _post(self, request: web.Request) -> web.Response:
        if self.refusals["list"]:
            refusal = self.refusals["list"].popleft()
            return _status(refusal.status, refusal.message)
        self.posted.append((request.match_info["namespace"], await request.json()))
        return web.json_response({}, status=201)


def _kind(params: dict[str, str]) -> str:
    return "watch" if "watch" in params else "page" if "continue" in params else "list"


def _ended(obj: dict[str, Any]) -> bool:
    return obj.get("status", {}).get("phase") in ENDED


def _seen_by(live_only: bool, event: str, obj: dict[str, Any]) -> str:
    return "DELETED" if live_only and _ended(obj) else event


def _line(event: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": event, "object": obj}, separators=(",", ":")).encode() + b"\n"


def _status(code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code, headers=headers)
