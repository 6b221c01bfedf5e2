"""An API server for nodes, pods and events: pages, watches with history, bookmarks, patches, and every way in which one
can fail.

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
    selector: str
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
        self.patched: list[tuple[str, str, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []
        self.refusals: dict[str, deque[Refusal]] = {
            "list": deque(),
            "page": deque(),
            "watch": deque(),
            "patch": deque(),
            "events": deque(),
        }
        self.accepted_token: str | None = None
        self.error_events_for_gone = True
        self.raw_items: dict[str, list[str]] = {"nodes": [], "pods": []}
        self.watches: list[Watch] = []
        self._history: list[tuple[int, str, dict[str, Any] | None, dict[str, Any] | None]] = []
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
        app.router.add_get("/api/v1/namespaces/{namespace}/events", self._get_events)
        app.router.add_get("/api/v1/nodes/{name}", self._get_node)
        app.router.add_patch("/api/v1/nodes/{name}", self._patch_node)
        app.router.add_patch("/api/v1/nodes/{name}/{subresource}", self._patch_node)
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
        """Create or change; an object that is no longer selected by a watch is deleted for that watch."""
        resource, key = self._place(obj)
        self.version += 1
        before = self.objects[resource].get(key)
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[resource][key] = stored
        self._tell(resource, before, stored)

    def delete(self, obj: dict[str, Any]) -> None:
        resource, key = self._place(obj)
        self.version += 1
        gone = self.objects[resource].pop(key)
        self._tell(resource, gone, None)

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

    def _tell(self, resource: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        self._history.append((self.version, resource, before, after))
        for watch in self.of(resource):
            if self.version > watch.since:
                _send_change(watch, self.version, before, after)

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
            chosen = [o for o in self.objects[resource].values() if _selected(params.get("fieldSelector", ""), o)]
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
        watch = Watch(resource, since, params.get("fieldSelector", ""))
        if gone:
            watch.send(_line("ERROR", {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}))
            watch.outbox.put_nowait(None)
        for version, name, before, after in self._history:
            if version > since and name == resource:
                _send_change(watch, version, before, after)
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

    async def _get_events(self, request: web.Request) -> web.Response:
        self.requests.append(("events", dict(request.query)))
        if self.refusals["events"]:
            refusal = self.refusals["events"].popleft()
            return _status(refusal.status, refusal.message)
        namespace, selector = request.match_info["namespace"], request.query.get("fieldSelector", "")
        chosen = [
            event
            for event in self.events
            if event["metadata"]["namespace"] == namespace and _selected(selector, {**event, "source": _writer(event)})
        ][: int(request.query["limit"])]
        return web.json_response({"kind": "EventList", "metadata": {}, "items": chosen})

    async def _get_node(self, request: web.Request) -> web.Response:
        node = self.objects["nodes"].get(f"/{request.match_info['name']}")
        return web.json_response(node) if node else _status(404, "node not found")

    async def _patch_node(self, request: web.Request) -> web.Response:
        """Lists are replaced, but conditions, which a strategic merge joins by their type."""
        name, change = request.match_info["name"], await request.json()
        if self.refusals["patch"]:
            refusal = self.refusals["patch"].popleft()
            return _status(refusal.status, refusal.message)
        node = self.objects["nodes"].get(f"/{name}")
        if node is None:
            return _status(404, f'nodes "{name}" not found')
        wanted = change.get("metadata", {}).pop("resourceVersion", None)
        if wanted not in (None, node["metadata"]["resourceVersion"]):
            return _status(409, "the object has been modified")
        self.patched.append((name, request.match_info.get("subresource", ""), change))
        if request.headers["Content-Type"] == "application/strategic-merge-patch+json":
            types = [condition["type"] for condition in change["status"]["conditions"]]
            kept = [one for one in node.get("status", {}).get("conditions", []) if one["type"] not in types]
            change = {"status": {"conditions": [*kept, *change["status"]["conditions"]]}}
        self.put(_merged(node, change))
        return web.json_response(self.objects["nodes"][f"/{name}"])


def _kind(params: dict[str, str]) -> str:
    return "watch" if "watch" in params else "page" if "continue" in params else "list"


def _writer(event: dict[str, Any]) -> str:
    """What the real server selects by as `source`."""
    return str(event.get("source", {}).get("component") or event.get("reportingComponent", ""))


def _selected(selector: str, obj: dict[str, Any]) -> bool:
    """Field selectors: a.b=c and a.b!=c, joined by commas."""
    for term in filter(None, selector.split(",")):
        path, is_not, wanted = term.partition("!=") if "!=" in term else term.partition("=")
        value: Any = obj
        for part in path.split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        if (value == wanted) == (is_not == "!="):
            return False
    return True


def _send_change(watch: Watch, version: int, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """As the real server: what comes to be selected is added, what ceases to be is deleted."""
    was = before is not None and _selected(watch.selector, before)
    now = after is not None and _selected(watch.selector, after)
    event = {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get((was, now))
    obj = after or before
    if event is not None and obj is not None:
        watch.send(_line(event, {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}))


def _merged(into: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, dict):
        return change
    base = into if isinstance(into, dict) else {}
    merged = {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}
    return {key: value for key, value in merged.items() if value is not None}


def _line(event: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": event, "object": obj}, separators=(",", ":")).encode() + b"\n"


def _status(code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "message": message}
    return web.json_response(body, status=code, headers=headers)
