"""The keeper's HTTP server: /healthz, /readyz with the last round, /metrics. Nothing can be changed through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from kubesteer.cli.keeping.loop import Keeper
from kubesteer.cli.keeping.settings import Ops
from kubesteer.model.errors import InvalidSettings


@asynccontextmanager
async def serving(settings: Ops, keeper: Keeper) -> AsyncIterator[str]:
    """Serves while the block runs; gives the URL. Raises InvalidSettings where the address cannot be had."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        report = keeper.report()
        return web.json_response(report, status=200 if report["ready"] else 503)

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(keeper.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as exc:
            raise InvalidSettings(f"ops: {settings.host}:{settings.port} cannot be listened at: {exc}") from exc
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()
