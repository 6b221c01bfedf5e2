"""The agent's pages: health, readiness, metrics, and what is no request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from kubesteer.clients.ops_pages import serving
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.errors import InvalidSettings
from monitor_agent.settings import Ops
from tests.agent.builders import NODE, NOW_S, ended, node, pod, waiting
from tests.agent.harness import agent_on
from tests.cluster_state.fake_api import FakeApi
from tests.waiting import until


@pytest.fixture
def told() -> dict[str, Any]:
    return {"ready": True}


@pytest.fixture
async def url(told: dict[str, Any]) -> AsyncIterator[str]:
    registry = CollectorRegistry()
    Counter("kubesteer_test", "A test's.", registry=registry).inc(3)
    async with serving(Ops(port=0), lambda: told, registry) as address:
        yield address


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def raw(url: str, request: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_readiness_is_a_status_and_its_reasons(url: str, told: dict[str, Any]) -> None:
    assert await get(f"{url}/readyz") == (200, '{"ready":true}')
    told.update(ready=False, waitingFor=["the column"])
    status, text = await get(f"{url}/readyz?verbose")
    assert (status, json.loads(text)) == (503, {"ready": False, "waitingFor": ["the column"]})


async def test_metrics_and_health_have_pages(url: str) -> None:
    assert await get(f"{url}/healthz") == (200, "ok\n")
    status, text = await get(f"{url}/metrics")
    assert status == 200
    assert "kubesteer_test_total 3.0" in text


async def test_head_has_the_status_and_the_headers_of_get_and_no_body(url: str) -> None:
    answer = await raw(url, b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Content-Length: 3\r\nConnection: close\r\n\r\n"), "3: of `ok` and its newline"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /secrets HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /healthz", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"", b"400"),
    ],
)
async def test_what_is_no_request_for_a_page_gets_an_answer_all_the_same(
    url: str, request_: bytes, status: bytes
) -> None:
    assert (await raw(url, request_)).startswith(b"HTTP/1.1 " + status)
    assert (await get(f"{url}/healthz"))[0] == 200


async def test_an_address_that_is_taken_is_an_error(url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(InvalidSettings, match=r"ops\.port: \d+ is in use at 127\.0\.0\.1; stop what listens there"):
        async with serving(Ops(port=port), dict, CollectorRegistry()):
            pass


async def test_an_address_that_is_not_the_nodes_is_told_with_its_setting() -> None:
    with pytest.raises(InvalidSettings, match=r"ops\.host, ops\.port: 192\.0\.2\.1:0 cannot be listened at"):
        async with serving(Ops(host="192.0.2.1", port=0), dict, CollectorRegistry()):
            pass


async def test_metrics_tell_of_outcomes_and_traffic_and_name_no_pod(api: FakeApi, memory: MemoryStore) -> None:
    api.put(node())
    api.put(pod("web-1", waiting("CrashLoopBackOff"), last=ended(1)))
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.agent.health.is_ready() and agent.estimate() and not agent.agent.column.dirty())
        await until(lambda: api.patched)
        health, metrics = agent.agent.health, agent.agent.metrics
        async with serving(Ops(port=0), health.report, metrics.registry) as url:
            _, text = await get(f"{url}/metrics")
            status, _ = await get(f"{url}/readyz")
    assert status == 200
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines["kubesteer_agent_outcomes_total"] == lines["kubesteer_agent_failures_total"] == "1.0"
    assert lines["kubesteer_agent_published_total"] == "1.0"
    assert lines['kubesteer_agent_link_bps{direction="egress"}'] == "9.5e+09"
    assert lines["kubesteer_agent_unwritten_records"] == "0.0"
    assert float(lines["kubesteer_agent_store_age_seconds"]) < 60 < NOW_S
    assert "web-1" not in text
    assert "shop" not in text


async def test_answers_that_fail_take_no_connection_from_later_ones(told: dict[str, Any], url: str) -> None:
    """33 faults, of 32 connections at once."""
    told.clear()
    for _ in range(33):
        assert await raw(url, b"GET /readyz HTTP/1.1\r\n\r\n") == b""
    told["ready"] = True
    assert (await get(f"{url}/readyz"))[0] == 200
