"""Puts many objects into an API server, fast: bytes made beforehand, many requests in flight, over one event loop."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

IN_FLIGHT = 48
TELL_EVERY = 10_000
NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/default/pods"


class Loader:
    """A session with an API server, as the user of a kubeconfig that the test bed wrote. Use it in `async with`."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._url = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._token = config["users"][0]["user"]["token"]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=IN_FLIGHT),
            headers={"Authorization": f"Bearer {self._token}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create(self, path: str, things: Iterable[dict[str, Any]], *, tell: Callable[[int], None]) -> int:
        """POST every object; returns how many. `tell` hears of the count now and then."""
        todo = iter(things)
        done = 0

        async def work() -> None:
            nonlocal done
            for thing in todo:
                await self._send("POST", path, json.dumps(thing).encode(), "application/json")
                done += 1
                if done % TELL_EVERY == 0:
                    tell(done)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(work())
        return done

    async def delete_all(self, path: str) -> None:
        """Delete a whole collection at once."""
        body = json.dumps({"gracePeriodSeconds": 0}).encode()
        await self._send("DELETE", path, body, "application/json")

    async def patch_at_rate(self, names: list[str], *, per_s: int, for_s: float) -> float:
        """Change pods' annotations evenly, `per_s` in a second; returns the rate that was reached."""
        begun_s = time.monotonic()
        count = round(per_s * for_s)
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                wait_s = begun_s + number / per_s - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                body = json.dumps({"metadata": {"annotations": {"bench": str(number)}}}).encode()
                path = f"{PODS}/{names[number % len(names)]}"
                tasks.create_task(self._send("PATCH", path, body, "application/merge-patch+json"))
        return count / (time.monotonic() - begun_s)

    async def _send(self, method: str, path: str, body: bytes, content_type: str) -> None:
        headers = {"Content-Type": content_type}
        async with self._session.request(method, self._url + path, data=body, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
