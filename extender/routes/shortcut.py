"""The verbs' application: POSTs to the verbs go straight to them; FastAPI describes them and answers everything else.

Its middleware and routing would take a fifth of a verb's time. Nothing is parsed or decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from fastapi import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Endpoint = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class Straight(Response):
    """A route's answer that an endpoint gives by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        await self._endpoint(scope, receive, send)


class Shortcut:
    """ASGI application: a POST to one of these very paths goes straight to its endpoint, all else to the routes."""

    def __init__(
        self, app: ASGIApp, posts: Mapping[str, Endpoint], on_wrong_path: Callable[[str, str], bytes] | None = None
    ) -> None:
        """on_wrong_path is told method and path of what is neither a verb nor another route, and gives the answer."""
        self._app = app
        self._posts = posts
        self._on_wrong_path = on_wrong_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._posts.get(scope["path"])
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return

        answer: bytes | None = None

        async def told(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start" and message["status"] in {404, 405} and self._on_wrong_path:
                answer = self._on_wrong_path(scope["method"], scope["path"])
                headers = [one for one in message["headers"] if one[0] not in {b"content-length", b"content-type"}]
                headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body" and answer is not None:
                message = {"type": "http.response.body", "body": answer}
            await send(message)

        await self._app(scope, receive, told)
