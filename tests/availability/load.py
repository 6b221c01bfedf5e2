"""Work for the scheduler that never ends: some pods always wait, and the nodes stay nearly full.

Whenever pods are bound new ones are created, and when the nodes are full enough the oldest bound pods are deleted. It
runs over an event loop in a thread of its own, and tries again whatever the API server does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import random
import ssl
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from tests.availability.ledger import Promise
from tests.background import Background
from tests.e2e.scenario import EGRESS, EGRESS_ANNOTATION, quantity
from tools.cluster.objects import pod

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from tests.availability.ledger import Ledger

PODS = "/api/v1/namespaces/default/pods"
SLOS = ("10M", "20M", "50M")
ANNOTATED = 0.2
"""This part of the pods asks for its SLO by annotation."""
IN_FLIGHT = 24
TICK_S, AGAIN_S, SILENCE_S, END_EVERY_S = 0.01, 0.2, 10.0, 0.5
Json = dict[str, Any]


class Load(Background):
    """Use it in a `with`: it begins paused. `waiting` pods are kept waiting, `full` of the capacity promised."""

    def __init__(self, kubeconfig: Path, ledger: Ledger, *, waiting: int, full: float, seed: int = 1) -> None:
        super().__init__()
        self.ledger = ledger
        self.created: set[str] = set()
        """Pods that the API server has taken."""
        self.deleted: set[str] = set()
        """Those that were to be deleted again; each was bound before."""
        self._waiting = waiting
        self.full = full
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._asked = 0
        self._running = threading.Event()
        self._fault: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended_s = 0.0
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._url = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._token = config["users"][0]["user"]["token"]

    def resume(self, most_per_s: float = math.inf) -> None:
        """Create pods as fast as they are bound, or at most so many a second."""
        self._most_per_s, self._resumed_s, self._asked_before = most_per_s, time.monotonic(), self._asked
        self._running.set()

    def pause(self) -> None:
        """Nothing more is created. While pods wait, one pod ends now and then: kube-scheduler tries what was refused
        again when something changes, or after five minutes.
        """
        self._running.clear()

    def at_rest(self) -> bool:
        """All are bound, and nothing is under way."""
        return self.waiting() == 0 and not self._tasks

    def waiting(self) -> int:
        """Pods that are asked for and not bound yet. Raises what ended the load, if something did."""
        if self._fault is not None:
            raise RuntimeError("the load has ended") from self._fault
        return self._asked - len(self.ledger.bound_at_s)

    def _act(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=IN_FLIGHT + 1),
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=timeout,
            ) as self._session:
                following = asyncio.create_task(self._follow())
                await self._work(following)
        except BaseException as exc:
            self._fault = exc
            raise

    async def _work(self, following: asyncio.Task[None]) -> None:
        tasks = self._tasks
        while not self._over.is_set():
            if following.done():
                following.result()
            room = IN_FLIGHT - len(tasks)
            for work in self._due(room) if self._running.is_set() else self._ends():
                task = asyncio.create_task(work)
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(TICK_S)
        for task in (following, *tasks):
            task.cancel()
        await asyncio.gather(following, *tasks, return_exceptions=True)

    def _due(self, room: int) -> list[Coroutine[Any, Any, None]]:
        """What to begin now: old pods go first, so that new ones find room."""
        over_bps = self.ledger.promised_bps - self.full * self.ledger.capacity_bps
        due: list[Coroutine[Any, Any, None]] = []
        for promise in self.ledger.promises if over_bps > 0 else ():
            if over_bps <= 0 or len(due) >= room:
                break
            if promise.pod not in self.deleted:
                due.append(self._delete(promise.pod))
                self.deleted.add(promise.pod)
            over_bps -= promise.resource_bps + promise.annotated_bps
        allowed = self._asked_before + 1 + self._most_per_s * (time.monotonic() - self._resumed_s) - self._asked
        for _ in range(int(min(room - len(due), self._waiting - self.waiting(), allowed))):
            due.append(self._create(self._next()))
            self._asked += 1
        return due

    def _ends(self) -> list[Coroutine[Any, Any, None]]:
        now_s = time.monotonic()
        if self.waiting() == 0 or now_s < self._ended_s + END_EVERY_S:
            return []
        self._ended_s = now_s
        oldest = next((one.pod for one in self.ledger.promises if one.pod not in self.deleted), None)
        if oldest is None:
            return []
        self.deleted.add(oldest)
        return [self._delete(oldest)]

    def _next(self) -> Json:
        slo, name = self._chance.choice(SLOS), f"p{next(self._numbers):06}"
        asks: dict[str, Any] = (
            {"annotations": {EGRESS_ANNOTATION: slo}}
            if self._chance.random() < ANNOTATED
            else {"limits": {EGRESS: slo}}
        )
        requests = {"cpu": "10m", "memory": "16Mi"}
        return pod(name, requests=requests, labels={"podtype": "web"}, spec={"schedulerName": "kubesteer"}, **asks)

    async def _create(self, wanted: Json) -> None:
        name = wanted["metadata"]["name"]
        await self._until("POST", PODS, wanted, (HTTPStatus.CREATED, HTTPStatus.CONFLICT))
        self.created.add(name)

    async def _delete(self, name: str) -> None:
        await self._until("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0}, (HTTPStatus.OK, HTTPStatus.NOT_FOUND))

    async def _until(self, method: str, path: str, body: Json, good: tuple[int, ...]) -> None:
        """Again and again until the API server answers so."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.request(method, self._url + path, json=body) as answer:
                    await answer.read()
                    if answer.status in good:
                        return
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        """Keep the ledger: a list, then the watch from there, and a list again when the server has forgotten."""
        version = ""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                version = version or await self._list()
                version = await self._watch(version)
            await asyncio.sleep(AGAIN_S)

    async def _list(self) -> str:
        async with self._session.get(self._url + PODS) as answer:
            answer.raise_for_status()
            found = msgspec.json.decode(await answer.read())
        promises = (_promise(one) for one in found["items"])
        self.ledger.replace([one for one in promises if one is not None], time.monotonic())
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """The version reached; empty when the server knows it no more."""
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        silence = aiohttp.ClientTimeout(total=None, sock_read=None)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.get(self._url + PODS, params=params, timeout=silence) as answer:
                if answer.status == HTTPStatus.GONE:
                    return ""
                answer.raise_for_status()
                async for line in answer.content:
                    event = msgspec.json.decode(line)
                    if event["type"] == "ERROR":
                        return ""
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event["type"], event["object"])
        return version

    def _take(self, kind: str, thing: Json) -> None:
        if kind == "DELETED":
            self.ledger.gone(thing["metadata"]["name"])
        elif kind in ("ADDED", "MODIFIED") and (promise := _promise(thing)) is not None:
            self.ledger.bound(promise, time.monotonic())


def _promise(thing: Json) -> Promise | None:
    """Of a pod that is bound."""
    node = thing["spec"].get("nodeName")
    if not node:
        return None
    [container] = thing["spec"]["containers"]
    resource = container["resources"].get("limits", {}).get(EGRESS, "0")
    annotated = thing["metadata"].get("annotations", {}).get(EGRESS_ANNOTATION, "0")
    return Promise(thing["metadata"]["name"], node, quantity(resource), quantity(annotated))
