"""The extender's ops port over real sockets, with tokens and tricks: what is open, what is refused, and how."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extender.app import build
from extender.settings_file import load
from kubesteer.clients.kubernetes.reviews import ALLOWED_S, REFUSED_S, Reviews
from kubesteer.model.errors import InvalidSettings
from tests.builders import pod
from tests.certificates import Authority
from tests.ops_access.fake_reviews import FakeReviews
from tests.service.harness import Service, args, connected, on_free_ports, read_answer, running, service
from tests.waiting import WITHIN_S, until

EVERYTHING = (
    "/",
    "/metrics",
    "/version",
    "/docs",
    "/docs/verbs",
    "/openapi.json",
    "/static-offline-docs/swagger-ui.css",
)
RIGHTS = [
    *(("reader", "get", path) for path in EVERYTHING),
    ("reader", "post", "/explain"),
    ("scraper", "get", "/metrics"),
]
EXPLAIN = json.dumps(args(pod(), ["node-1"])).encode()


@pytest.fixture
def api() -> FakeReviews:
    found = FakeReviews(RIGHTS)
    for account in ("reader", "scraper", "nobody"):
        found.give(account, account)
    return found


def guarded(api: FakeReviews, **groups: Any) -> Service:
    """The service of the other tests, whose ops port asks this API server."""
    built = service(**on_free_ports(**groups))
    clock = built.clock
    parts = build(
        built.parts.settings,
        built.cluster,
        lambda _: built.parts.rewards,
        built.parts.log,
        reviews=Reviews(api, clock=clock),
        clock=clock,
    )
    return replace(built, parts=parts)


@asynccontextmanager
async def open_port(api: FakeReviews) -> AsyncIterator[tuple[Service, int]]:
    built = guarded(api)
    async with running(built) as (_, port):
        yield built, port


async def ask(
    port: int, head: bytes, body: bytes = b"", context: ssl.SSLContext | None = None
) -> tuple[int, Any, bytes]:
    """Status, headers and body. head: the request line and headers, without those that every request has."""
    async with asyncio.timeout(WITHIN_S), connected(port, ssl=context) as (reader, writer):
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        writer.write(head.rstrip(b"\r\n") + b"\r\nHost: x\r\n" + length + b"\r\n" + body)
        if head.startswith(b"HEAD"):
            text = await reader.readuntil(b"\r\n\r\n")
            return int(text.split()[1]), {}, b""
        return await read_answer(reader)


def token(name: str) -> bytes:
    return b"\r\nAuthorization: Bearer " + name.encode()


async def test_health_is_open_and_tells_no_details(api: FakeReviews) -> None:
    async with open_port(api) as (_, port):
        assert (await ask(port, b"GET /healthz HTTP/1.1"))[::2] == (200, b'{"status":"ok"}')
        assert (await ask(port, b"GET /readyz HTTP/1.1"))[::2] == (200, b'{"ready":true}')
        assert api.posted == []
        api.rights.add(("scraper", "get", "/readyz"))  # as every account has it
        assert (await ask(port, b"GET /readyz HTTP/1.1" + token("scraper")))[2] == b'{"ready":true}'
        api.rights.add(("reader", "get", "/readyz/details"))
        status, _, body = await ask(port, b"GET /readyz HTTP/1.1" + token("reader"))
        assert (status, json.loads(body)["cluster"]["table_nodes"]) == (200, 0)


async def test_health_answers_while_the_api_server_is_away(api: FakeReviews) -> None:
    api.down = True
    async with open_port(api) as (_, port):
        for path in (b"/healthz", b"/readyz"):
            for credentials in (b"", token("reader")):
                assert (await ask(port, b"GET " + path + b" HTTP/1.1" + credentials))[0] == 200


@pytest.mark.parametrize("path", EVERYTHING)
async def test_every_page_needs_a_token_that_may_get_it(api: FakeReviews, path: str) -> None:
    line = b"GET " + path.encode() + b" HTTP/1.1"
    async with open_port(api) as (_, port):
        status, headers, body = await ask(port, line)
        assert (status, headers["www-authenticate"], headers["connection"]) == (
            401,
            'Bearer realm="kubesteer"',
            "close",
        )
        assert "Authorization: Bearer" in json.loads(body)["error"]
        assert (await ask(port, line + token("wrong")))[0] == 401
        status, headers, body = await ask(port, line + token("nobody"))
        assert (status, "www-authenticate" in headers) == (403, False)
        assert json.loads(body)["error"].startswith(f"system:serviceaccount:monitoring:nobody may not get {path};")
        assert (await ask(port, line + token("reader")))[0] == 200


async def test_no_route_is_open_by_mistake(api: FakeReviews) -> None:
    """Every route that the application has, those of later days too."""
    built = guarded(api)
    routes = {getattr(route, "path", "") for route in built.parts.ops.routes}
    assert {"/metrics", "/explain", "/docs", "/openapi.json", "/version", "/static-offline-docs"} <= routes
    async with running(built) as (_, port):
        for path in routes - {"/healthz", "/readyz"}:
            for method in (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD"):
                assert (await ask(port, method + b" " + path.encode() + b" HTTP/1.1"))[0] == 401


async def test_explain_needs_the_right_to_post_it(api: FakeReviews) -> None:
    async with open_port(api) as (_, port):
        line = b"POST /explain HTTP/1.1"
        assert (await ask(port, line, EXPLAIN))[0] == 401
        assert (await ask(port, line + token("scraper"), EXPLAIN))[0] == 403
        assert (await ask(port, line + token("reader"), EXPLAIN))[0] == 200


async def test_a_refused_body_is_not_read(api: FakeReviews) -> None:
    """1 GB is announced; the refusal comes at once, and the connection ends."""
    async with open_port(api) as (_, port), connected(port) as (reader, writer):
        writer.write(b"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n")
        async with asyncio.timeout(WITHIN_S):
            assert (await read_answer(reader))[0] == 401
            assert await reader.read() == b""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        pytest.param(b"GET //metrics HTTP/1.1", 403, id="two slashes"),
        pytest.param(b"GET /metrics/ HTTP/1.1", 403, id="a slash at the end"),
        pytest.param(b"GET /%2fmetrics HTTP/1.1", 403, id="a slash encoded"),
        pytest.param(b"GET /%6detrics HTTP/1.1", 200, id="the very path, spelled otherwise"),
        pytest.param(b"GET /healthz/../metrics HTTP/1.1", 403, id="up from health"),
        pytest.param(b"GET /healthz/%2e%2e/metrics HTTP/1.1", 403, id="up from health, encoded"),
        pytest.param(b"GET /healthz;/metrics HTTP/1.1", 403, id="a parameter"),
        pytest.param(b"GET /healthz%00/metrics HTTP/1.1", 403, id="a null byte"),
        pytest.param(b"GET /healthz/ HTTP/1.1", 403, id="health and a slash"),
        pytest.param(b"GET /static-offline-docs/../metrics HTTP/1.1", 403, id="up from the assets"),
        pytest.param(b"GET http://x/metrics HTTP/1.1", 200, id="the whole address"),
        pytest.param(b"GET http://x/healthz/../metrics HTTP/1.1", 403, id="the whole address, up from health"),
        pytest.param(b"GET /metrics?path=/healthz HTTP/1.1", 200, id="a query"),
        pytest.param(b"GET /metrics#/healthz HTTP/1.1", 200, id="a fragment"),
        pytest.param(b"HEAD /metrics HTTP/1.1", 200, id="HEAD, which tells less than GET"),
        pytest.param(b"HEAD /docs HTTP/1.1", 403, id="HEAD of another page"),
        pytest.param(b"OPTIONS /metrics HTTP/1.1", 403, id="OPTIONS"),
        pytest.param(b"OPTIONS * HTTP/1.1", 403, id="OPTIONS *"),
        pytest.param(b"POST /metrics HTTP/1.1", 403, id="POST"),
        pytest.param(b"POST /healthz HTTP/1.1", 403, id="POST to health"),
        pytest.param(b"HEAD /healthz/ HTTP/1.1", 403, id="HEAD of health and a slash"),
    ],
)
async def test_a_trick_gets_a_scraper_no_more_than_its_right_and_others_nothing(
    api: FakeReviews, line: bytes, status: int
) -> None:
    async with open_port(api) as (_, port):
        assert (await ask(port, line + token("scraper")))[0] == status
        _, _, refused = await ask(port, line)
        assert b"kubesteer_ready" not in refused
        assert (await ask(port, line))[0] == 401


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(token("scraper") + token("scraper"), id="the header twice"),
        pytest.param(token("nobody") + token("scraper"), id="two tokens"),
        pytest.param(b"\r\nAuthorization: Basic c2NyYXBlcg==", id="Basic"),
        pytest.param(b"\r\nAuthorization: scraper", id="no scheme"),
        pytest.param(b"\r\nAuthorization: Bearer", id="no token"),
        pytest.param(b"\r\nX-Forwarded-User: admin\r\nX-Remote-User: system:admin", id="a proxy's headers"),
        pytest.param(b"\r\nImpersonate-User: system:admin", id="impersonation"),
        pytest.param(b"\r\nCookie: token=scraper", id="a cookie"),
        pytest.param(b"\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz", id="another path in a header"),
    ],
)
async def test_no_other_credentials_let_in(api: FakeReviews, credentials: bytes) -> None:
    async with open_port(api) as (_, port):
        assert (await ask(port, b"GET /metrics HTTP/1.1" + credentials))[0] == 401
        assert api.posted == []


@pytest.mark.parametrize("query", ["access_token=scraper", "token=scraper", "Authorization=Bearer%20scraper"])
async def test_a_token_in_the_query_is_none(api: FakeReviews, query: str) -> None:
    async with open_port(api) as (_, port):
        assert (await ask(port, f"GET /metrics?{query} HTTP/1.1".encode()))[0] == 401


async def test_one_connection_is_asked_for_each_request_anew(api: FakeReviews) -> None:
    """Who was let in once is not let in with no token the next time."""
    async with open_port(api) as (_, port), connected(port) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x" + token("scraper") + b"\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_answer(reader))[0] == 401


async def test_who_cannot_be_asked_about_is_told_so_and_the_log_tells_it_once(api: FakeReviews) -> None:
    async with open_port(api) as (built, port):
        line = b"GET /metrics HTTP/1.1" + token("scraper")
        assert (await ask(port, line))[0] == 200
        api.down = True
        assert (await ask(port, line))[0] == 200
        built.clock.move(ALLOWED_S)
        status, headers, body = await ask(port, line)
        assert (status, "www-authenticate" in headers) == (503, False)
        assert "try again" in json.loads(body)["error"]
        await until(lambda: [each for each in built.lines() if each.get("source") == "ops access"])
        api.down = False
        assert (await ask(port, line))[0] == 200
    assert "did not answer" in next(each["why"] for each in built.lines() if each.get("source") == "ops access")
    assert "scraper" not in built.output.getvalue()


async def test_a_revoked_token_is_refused_within_a_minute(api: FakeReviews) -> None:
    async with open_port(api) as (built, port):
        line = b"GET /metrics HTTP/1.1" + token("scraper")
        assert (await ask(port, line))[0] == 200
        del api.accounts["scraper"]
        built.clock.move(60)
        assert (await ask(port, line))[0] == 401
        assert REFUSED_S < 60


async def test_refusals_are_counted_by_status(api: FakeReviews) -> None:
    async with open_port(api) as (built, port):
        for credentials in (b"", b"", token("nobody")):
            await ask(port, b"GET /metrics HTTP/1.1" + credentials)
        assert [built.metric("ops_refused_total", status=str(status)) for status in (401, 403, 503)] == [2, 1, 0]


async def test_the_verbs_are_answered_as_before_while_the_api_server_is_silent(api: FakeReviews) -> None:
    api.hold = asyncio.Event()
    built = guarded(api)
    async with running(built) as (verbs_port, port):
        waiting = [asyncio.create_task(ask(port, b"GET /metrics HTTP/1.1" + token(f"t{i}"))) for i in range(50)]
        await until(lambda: len(api.posted) == 4)
        async with asyncio.timeout(WITHIN_S):
            status, _, _ = await ask(verbs_port, b"POST /filter HTTP/1.1", EXPLAIN)
        assert status == 200
        api.hold.set()
        assert {answer[0] for answer in await asyncio.gather(*waiting)} == {401}


async def test_the_port_is_served_with_the_wires_certificate_and_asks_for_none(
    api: FakeReviews, tmp_path: Path
) -> None:
    """The kubelet and Prometheus have no client certificate; the verbs ask for one all the same."""
    authority = Authority(tmp_path, "authority")
    cert_file, key_file = authority.issue("server")
    tls = {"cert_file": cert_file, "key_file": key_file, "client_ca_file": authority.ca_file, "reload_s": 0.05}
    built = guarded(api, tls=tls, ops={"port": 0, "tls": True})
    async with running(built) as (verbs_port, port):
        assert (await ask(port, b"GET /healthz HTTP/1.1", context=authority.client()))[0] == 200
        line = b"GET /metrics HTTP/1.1" + token("scraper")
        assert (await ask(port, line, context=authority.client()))[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(verbs_port, b"POST /filter HTTP/1.1", EXPLAIN, authority.client())
        async with connected(port) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in await reader.read()
        before = await _shown(port, authority)
        authority.issue("server")
        async with asyncio.timeout(WITHIN_S):
            while await _shown(port, authority) == before:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("host", "is_told"), [("0.0.0.0", True), ("127.0.0.1", False)])
async def test_a_port_that_is_open_to_everybody_is_told_of(host: str, is_told: bool) -> None:
    built = service(**on_free_ports(ops={"port": 0, "host": host}))
    async with running(built) as (_, port):
        assert (await ask(port, b"GET /metrics HTTP/1.1"))[0] == 200
    assert any("answers without authentication" in line["event"] for line in built.lines()) is is_told


async def _shown(port: int, authority: Authority) -> bytes:
    async with connected(port, ssl=authority.client()) as (_, writer):
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown


@pytest.mark.parametrize(
    ("groups", "rule"),
    [
        ({"ops": {"tls": True}}, "ops.tls is true and tls.cert_file is not given"),
        ({"ops": {"auth": "kubernetes"}}, "ops.auth is kubernetes and cluster.source is file"),
    ],
)
def test_settings_that_do_not_fit_together_stop_the_start(groups: dict[str, Any], rule: str, tmp_path: Path) -> None:

    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(groups))
    with pytest.raises(InvalidSettings, match=rule):
        load(file)
