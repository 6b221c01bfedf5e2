"""Access to the ops port: health is open; for all else the API server decides. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from kubesteer.clients.kubernetes.reviews import CHALLENGE, READINESS_DETAILS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from kubesteer.clients.kubernetes.reviews import Reviews

HEALTH, READINESS = "/healthz", "/readyz"
"""The kubelet's probes carry no token."""
DETAILS = "kubesteer.details"
"""In the scope of a request for readiness: whether its sender may know why."""


class AccessMiddleware:
    """ASGI middleware, before routing: what is asked about is the very path that will be routed."""

    def __init__(self, app: ASGIApp, reviews: Reviews, on_refused: Callable[[int], None]) -> None:
        """on_refused is told the status of each refusal."""
        self._app = app
        self._reviews = reviews
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            raise RuntimeError(f"ops: {scope['type']} is not served here")
        method, path = scope["method"], scope["path"]
        if method == "GET" and path == HEALTH:
            await self._app(scope, receive, send)
            return
        authorization = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        is_readiness = method == "GET" and path == READINESS
        about = READINESS_DETAILS if is_readiness else path
        permit = await self._reviews.ask(authorization, method.lower(), about)
        if is_readiness:
            scope[DETAILS] = permit.status == 200
        elif permit.status != 200:
            self._on_refused(permit.status)
            # Closed: its body, of any length, has not been read.
            headers = {"Connection": "close", **({"WWW-Authenticate": CHALLENGE} if permit.status == 401 else {})}
            refusal = JSONResponse({"error": permit.why}, status_code=permit.status, headers=headers)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
