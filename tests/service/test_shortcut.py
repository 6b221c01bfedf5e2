"""The way past FastAPI's routing: for POSTs to the very paths of the verbs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.responses import PlainTextResponse

from extender.routes.shortcut import Shortcut

if TYPE_CHECKING:
    from starlette.requests import Request


async def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"straight, {(await request.body()).decode()}")


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/x/filter", "straight, body"),
        ("POST", "/x/filter?pretty", "straight, body"),
        ("POST", "/filter", "by the routes"),
        ("POST", "/x/filter/", "by the routes"),
        ("GET", "/x/filter", "by the routes"),
    ],
)
async def test_only_posts_to_the_very_paths_go_straight(method: str, path: str, answer: str) -> None:
    app = Shortcut(PlainTextResponse("by the routes"), posts={"/x/filter": endpoint})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        assert (await client.request(method, path, content=b"body")).text == answer
