"""Bodies over the limit and slow clients are refused without reading on; the others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from tests.builders import node, pod
from tests.service.harness import (
    args,
    connected,
    http_post,
    nodes_args,
    on_free_ports,
    read_answer,
    running,
    service,
)
from tests.waiting import WITHIN_S, at_least, pass_time, until

SMALL = {"names_body_bytes": 4096, "nodes_body_bytes": 65_536}
GOOD = json.dumps(args(pod(), ["node-1"])).encode()


async def answers_at_once(port: int) -> bool:
    """Whether a well-behaved client is served now."""
    async with asyncio.timeout(WITHIN_S), connected(port) as (reader, writer):
        writer.write(http_post("filter", GOOD))
        status, _, body = await read_answer(reader)
        return status == 200 and json.loads(body)["NodeNames"] == ["node-1"]


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
async def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(verb: str) -> None:
    built = service(**on_free_ports(limits=SMALL))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        head = f"POST /{verb} HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"
        writer.write(head.encode())  # and not one byte of the body
        async with asyncio.timeout(WITHIN_S):
            status, headers, _ = await read_answer(reader)
            assert await reader.read() == b""  # closed: what is on its way is not read
        assert (status, headers["connection"]) == (413, "close")
        assert await answers_at_once(port)
    assert built.metric("errors_total", kind="body-too-large") == 1


async def test_a_chunked_body_is_refused_as_soon_as_it_is_over_the_limit() -> None:
    built = service(**on_free_ports(limits=SMALL))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(b"POST /filter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100 * 65_536 and not reader.at_eof():
                writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
                await writer.drain()
                sent += 4096
                await asyncio.sleep(0)
        assert sent < 50 * 65_536
        assert await answers_at_once(port)
    assert built.metric("errors_total", kind="body-too-large") == 1


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not() -> None:
    there = service(limits={"names_body_bytes": 2048, "nodes_body_bytes": 2048})
    assert (await there.response("filter", GOOD.ljust(2048))).status_code == 200
    assert (await there.response("filter", GOOD.ljust(2049))).status_code == 413


async def test_the_limit_for_names_is_its_own() -> None:
    there = service(limits=SMALL)
    names = await there.response("filter", GOOD.ljust(4097))
    assert names.status_code == 413
    assert "limits.names_body_bytes" in names.json()["Error"]
    full = json.dumps(nodes_args(pod(), [])).encode().ljust(4097)
    assert (await there.response("filter", full)).status_code == 200


async def test_the_refusal_names_the_limit_and_the_settings() -> None:
    there = service(limits=SMALL)
    error = (await there.response("filter", b" " * 65_537)).json()["Error"]
    assert "65536 bytes" in error
    assert "limits.nodes_body_bytes" in error


@pytest.mark.parametrize(
    ("nodes", "synced", "limits", "most"),
    [(2, True, {}, 1000), (600, True, {}, 1200), (2, False, {}, 100_000), (2, True, {"candidates": 7}, 7)],
)
async def test_a_request_names_at_most_twice_the_nodes_there_are(
    nodes: int, synced: bool, limits: dict[str, int], most: int
) -> None:
    there = service(*(node(f"node-{i}") for i in range(nodes)), synced=synced, limits=limits)
    assert (await there.response("filter", json.dumps(args(pod(), ["node-1"] * most)).encode())).status_code == 200
    refused = await there.response("filter", json.dumps(args(pod(), ["node-1"] * (most + 1))).encode())
    assert refused.status_code == 413
    assert f"send at most {most}, or raise limits.candidates" in refused.json()["Error"]


async def test_a_body_that_does_not_come_in_time_is_refused() -> None:
    built = service(**on_free_ports(limits={"body_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(http_post("filter", GOOD)[:-1])
        assert await answers_at_once(port)
        async with asyncio.timeout(WITHIN_S):
            status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (408, "close")
    assert built.metric("errors_total", kind="slow-client") == 1


async def test_a_body_that_drips_is_refused_in_the_same_time_however_often_a_byte_comes() -> None:
    built = service(**on_free_ports(limits={"body_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        request = http_post("filter", GOOD)
        writer.write(request[: -len(GOOD)])
        answer = asyncio.create_task(read_answer(reader))
        for byte in GOOD:
            writer.write(bytes([byte]))
            if answer.done():
                break
            await pass_time(0.02)
        assert (await answer)[0] == 408


@pytest.mark.parametrize(
    "head",
    [b"", b"PO", b"POST /filter HTTP/1.1\r\nHost: x\r\nX: ", b"\r\n\r\n"],
    ids=["nothing", "half a word", "half a header", "blank lines"],
)
async def test_a_connection_whose_head_does_not_come_in_time_is_closed(head: bytes) -> None:
    built = service(**on_free_ports(limits={"header_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(head)
        async with asyncio.timeout(WITHIN_S):
            assert await reader.read() == b""


@pytest.mark.parametrize("head", [b"POST /fil", b"\r\n"], ids=["half a word", "blank line"])
async def test_a_slow_second_head_on_a_kept_connection_is_closed_too(head: bytes) -> None:
    built = service(**on_free_ports(limits={"header_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(http_post("filter", GOOD))
        assert (await read_answer(reader))[0] == 200
        await pass_time(0.5)  # idle for longer than a head may take: that is keep-alive's business
        writer.write(http_post("filter", GOOD))
        assert (await read_answer(reader))[0] == 200
        writer.write(head)
        async with asyncio.timeout(WITHIN_S):
            assert await reader.read() == b""


async def test_dripping_headers_does_not_keep_a_connection() -> None:
    built = service(**on_free_ports(limits={"header_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(b"POST /filter HTTP/1.1\r\n")
        closed = asyncio.create_task(reader.read())
        for i in range(100):
            writer.write(f"X-{i}: y\r\n".encode())
            if closed.done():
                break
            await pass_time(0.02)
        with contextlib.suppress(OSError):
            assert await closed == b""
        assert closed.done()


async def test_many_idle_connections_leave_the_service_answering() -> None:
    built = service(**on_free_ports(limits={"connections": 600}))
    async with running(built) as (port, _), contextlib.AsyncExitStack() as open_ones:
        for _ in range(500):
            await open_ones.enter_async_context(connected(port))
        assert await answers_at_once(port)


async def test_a_flood_of_connections_does_not_take_the_one_that_is_there() -> None:
    built = service(**on_free_ports(limits={"connections": 20}))
    async with contextlib.AsyncExitStack() as flood, running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(http_post("filter", GOOD))
        assert (await read_answer(reader))[0] == 200
        others = [await flood.enter_async_context(connected(port)) for _ in range(40)]
        await until(lambda: sum(was_closed(other) for other, _ in others) == 40 + 1 - 20)
        writer.write(http_post("filter", GOOD))
        assert (await read_answer(reader))[0] == 200


def was_closed(reader: asyncio.StreamReader) -> bool:
    return reader.at_eof() or reader.exception() is not None


async def test_slow_bodies_of_many_clients_leave_the_service_answering() -> None:
    built = service(**on_free_ports())
    async with running(built) as (port, _), contextlib.AsyncExitStack() as slow:
        for _ in range(200):
            _, writer = await slow.enter_async_context(connected(port))
            writer.write(http_post("filter", GOOD)[:-5])
        assert await answers_at_once(port)


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_fault() -> None:
    built = service(**on_free_ports())
    async with running(built) as (port, _):
        async with connected(port) as (_, writer):
            writer.write(http_post("filter", GOOD)[:-5])
            await writer.drain()
        assert await answers_at_once(port)
        await until(lambda: built.metric("errors_total", kind="slow-client"))
    assert built.metric("errors_total", kind="fault") == 0


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\x00" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
async def test_what_is_no_http_is_turned_away_and_the_service_goes_on(junk: bytes) -> None:
    built = service(**on_free_ports(limits={"header_timeout_s": 0.3}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        writer.write(junk)
        async with asyncio.timeout(WITHIN_S):
            assert b"200" not in (await reader.read())[:20]
        assert await answers_at_once(port)


def _late(**groups: Any) -> Any:
    """Every call is past this deadline."""
    return service(limits={"deadline_ms": 0.0001}, **groups)


async def test_past_the_deadline_prioritize_answers_the_same_score_for_every_node() -> None:
    there = _late(pods=[pod("there", node="node-1", cpu="7")])
    asked = pod(cpu="1", memory="1Gi")
    assert await there.prioritize(asked, ["node-1", "node-2"]) == {"node-1": 0, "node-2": 0}
    assert there.metric("deadline_hits_total", verb="prioritize") == 1


async def test_past_the_deadline_filter_still_judges_but_makes_no_short_list() -> None:
    there = _late(filter={"shortlist": 1})
    answer = await there.filter(pod(egress="1G"), ["node-1", "node-2", "nobody"])
    assert answer["NodeNames"] == ["node-1", "node-2"]
    assert list(answer["FailedAndUnresolvableNodes"]) == ["nobody"]
    assert there.metric("deadline_hits_total", verb="filter") == 1


async def test_past_the_deadline_bad_quantities_are_still_named() -> None:
    there = _late()
    asked = pod(cpu="x")
    answer = await there.filter(asked, ["node-1"])
    assert "is not a quantity" in answer["FailedAndUnresolvableNodes"]["node-1"]


async def test_a_call_in_time_is_not_counted_as_late() -> None:
    there = service(limits={"deadline_ms": 60_000})
    await there.filter(pod(), ["node-1"])
    assert there.metric("deadline_hits_total", verb="filter") == 0


async def test_time_spent_on_a_slow_body_counts_against_the_deadline() -> None:
    built = service(**on_free_ports(limits={"deadline_ms": 200}))
    async with running(built) as (port, _), connected(port) as (reader, writer):
        request = http_post("prioritize", GOOD)
        writer.write(request[:-5])
        with at_least(0.2):
            await pass_time(0.3)
            writer.write(request[-5:])
            assert json.loads((await read_answer(reader))[2]) == [{"Host": "node-1", "Score": 0}]
    assert built.metric("deadline_hits_total", verb="prioritize") == 1
