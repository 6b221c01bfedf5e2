"""An API server for Secrets, workloads and answers to requests: versions and conflicts as the real one has them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from kubesteer.clients.kubernetes.api import CONFLICT, NOT_FOUND, ApiRefused
from kubesteer.model.errors import ClusterUnavailable


class FakeServer:
    """`objects` by path. Each call lets others run first, so that two keepers interleave."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.is_away = False
        self.goes_after_writes: int | None = None
        self.writes: list[str] = []
        self._version = 0

    async def get(self, path: str) -> bytes:
        await self._arrive()
        return json.dumps(self._found(path)).encode()

    async def post(self, path: str, body: bytes) -> bytes:
        await self._arrive()
        thing = json.loads(body)
        own = f"{path.partition('?')[0]}/{thing['metadata']['name']}"
        if own in self.objects:
            raise ApiRefused("already exists", status=CONFLICT)
        return self._stored(own, thing)

    async def patch(self, path: str, body: bytes, *, content_type: str) -> bytes:
        await self._arrive()
        assert content_type == "application/merge-patch+json"
        own, patch = path.partition("?")[0], json.loads(body)
        for subresource in ("/approval", "/status"):
            own = own.removesuffix(subresource)
        before = self._found(own)
        version = patch.get("metadata", {}).get("resourceVersion")
        if version is not None and version != before["metadata"]["resourceVersion"]:
            raise ApiRefused("changed meanwhile", status=CONFLICT)
        return self._stored(own, merged(before, patch))

    def put(self, path: str, thing: dict[str, Any]) -> None:
        self._stored(path, thing)

    async def _arrive(self) -> None:
        await asyncio.sleep(0)
        if self.is_away or len(self.writes) == self.goes_after_writes:
            raise ClusterUnavailable("the test says so")

    def _found(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise ApiRefused("not found", status=NOT_FOUND)
        return self.objects[path]

    def _stored(self, path: str, thing: dict[str, Any]) -> bytes:
        self._version += 1
        metadata = {**thing.get("metadata", {}), "resourceVersion": str(self._version)}
        self.objects[path] = {**thing, "metadata": metadata}
        self.writes.append(path.rpartition("/")[2])
        return json.dumps(self.objects[path]).encode()


def merged(before: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    if not (isinstance(before, dict) and isinstance(patch, dict)):
        return patch
    found = {name: value for name, value in before.items() if name not in patch or patch[name] is not None}
    return found | {name: merged(before.get(name, {}), value) for name, value in patch.items() if value is not None}
