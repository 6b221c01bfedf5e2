"""A kubelet or a Prometheus that says what a test tells it to, over real HTTP or HTTPS, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]


@dataclass
class Asked:
    path: str
    token: str | None
    form: dict[str, str] = field(default_factory=dict)


class FakeMetricsServer:
    """`answer` makes (status, body) of each request; `silent` makes it wait instead."""

    def __init__(self, answer: Callable[[Asked], tuple[int, str]], *, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self._tls = answer, tls
        self.asked: list[Asked] = []
        self.silent = False
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = Asked(request.path, request.headers.get("Authorization"), form)
        self.asked.append(asked)
        if self.silent:
            await asyncio.get_running_loop().create_future()
        status, body = self.answer(asked)
        return web.Response(status=status, text=body, content_type="application/json")


def summary(*pods: Json) -> str:
    """A /stats/summary with more in it than anybody reads, as a kubelet's has."""
    return json.dumps(
        {"node": {"nodeName": "n", "cpu": {"usageNanoCores": 1}, "network": {"rxBytes": 9}}, "pods": pods}
    )


def pod_stats(
    name: str, *, sent_b: int, received_b: int, time: str = "2026-11-22T22:41:07Z", namespace: str = "default"
) -> Json:
    own = {"name": "eth0", "rxBytes": received_b, "rxErrors": 0, "txBytes": sent_b, "txErrors": 0}
    return {
        "podRef": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
        "startTime": "2026-11-22T22:00:00Z",
        "containers": [{"name": "main", "cpu": {"time": time}}],
        "network": {"time": time, **own, "interfaces": [own]},
    }


def vector(*series: tuple[dict[str, str], str]) -> str:
    """Prometheus' answer to an instant query: labels and the value as it writes it."""
    result = [{"metric": labels, "value": [1_795_390_867.1, value]} for labels, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
