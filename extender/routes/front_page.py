"""GET / of both ports: what there is, and on which port. HEAD is answered as GET is. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def add_front_page(verbs: FastAPI, ops: FastAPI, *, verbs_port: int, ops_port: int) -> None:
    """The same page on both; the ports are those of the settings."""

    async def front_page() -> dict[str, Any]:
        return {
            "kubesteer": ops.version,
            "verbs": {"port": verbs_port, **_pages(verbs)},
            "ops": {"port": ops_port, **_pages(ops), "GET /docs": "These pages, described"},
        }

    for app in (verbs, ops):
        app.add_api_route("/", front_page, methods=["GET"], include_in_schema=False)


def _pages(app: FastAPI) -> dict[str, str]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {
        f"{method.upper()} {path}": str(page["summary"])
        for path, pages in paths.items()
        for method, page in pages.items()
    }


class HeadAsGet:
    """ASGI middleware: HEAD has the status and the headers of GET, and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, without_body)
