"""The way past FastAPI's routing: for POSTs to the very paths of the verbs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from extender.routes.shortcut import Shortcut
from tests.service.harness import client_of, service

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await Request(scope, receive).body()).decode()
    await PlainTextResponse(f"straight, {body}")(scope, receive, send)


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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/filter"),
        ("POST", "/scheduler/filter/"),
        ("PUT", "/scheduler/filter"),
        ("GET", "/nothing"),
    ],
)
async def test_a_wrong_path_is_counted_and_told_once_with_the_right_one(method: str, path: str) -> None:
    there = service(listen={"path_prefix": "/scheduler"})
    async with client_of(there.parts.verbs) as client:
        for _ in range(3):
            answer = await client.request(method, path, content=b"{}")
            assert answer.status_code in {404, 405}
            assert "POST /scheduler/filter and /scheduler/prioritize" in answer.json()["error"]
    assert there.metric("wrong_paths_total") == 3
    [line] = [line for line in there.lines() if "no verb" in line["event"]]
    assert (line["method"], line["path"]) == (method, path)
    assert "POST /scheduler/filter" in line["right"]


async def test_each_wrong_path_is_told_but_no_more_than_a_few() -> None:
    """A scanner's paths do not hide the scheduler's, nor fill the log."""
    there = service()
    async with client_of(there.parts.verbs) as client:
        for i in range(40):
            await client.post(f"/scan-{i % 20}", content=b"{}")
    assert there.metric("wrong_paths_total") == 40
    assert len([line for line in there.lines() if "no verb" in line["event"]]) == 16


async def test_a_person_who_looks_at_a_verb_is_no_wrong_path() -> None:
    there = service()
    async with client_of(there.parts.verbs) as client:
        assert (await client.get("/filter")).status_code == 200
    assert there.metric("wrong_paths_total") == 0
