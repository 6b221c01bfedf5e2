"""Counters of pods from a kubelet's /stats/summary, and what comes of it going wrong."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from kubesteer.clients.kubelet.summary import PodCounters, pod_counters
from kubesteer.clients.metrics_server import MetricsServer, ServerAccess
from kubesteer.model.errors import InvalidSettings, MetricsUnavailable, Unavailable
from tests.certificates import Authority
from tests.network_probes.fake_servers import FakeMetricsServer, pod_stats, summary

TWO = summary(
    pod_stats("web", sent_b=100, received_b=200), pod_stats("db", sent_b=2**63, received_b=0, namespace="data")
)
TIME_S = 1_795_387_267.0
"""2026-11-22T22:41:07Z"""


def saying(body: str, status: int = 200) -> FakeMetricsServer:
    return FakeMetricsServer(lambda _: (status, body))


async def ask(kubelet: FakeMetricsServer, **access: Any) -> list[PodCounters]:
    async with MetricsServer(ServerAccess(kubelet.url, **access)) as server:
        return await pod_counters(server)


async def test_pods_are_counted_by_their_identity() -> None:
    async with saying(TWO) as kubelet:
        assert await ask(kubelet) == [
            PodCounters("default", "web", "uid-web", sent_b=100, received_b=200, time_s=TIME_S),
            PodCounters("data", "db", "uid-db", sent_b=2**63, received_b=0, time_s=TIME_S),
        ]
        assert kubelet.asked[0].path == "/stats/summary"


@pytest.mark.parametrize(
    "network",
    [None, {}, {"time": None, "rxBytes": 1, "txBytes": 1}, {"time": "2026-11-22T22:41:07Z", "rxBytes": 1}],
    ids=["absent", "empty", "no time", "half"],
)
async def test_a_pod_that_is_not_measured_yet_is_left_out(network: Any) -> None:
    unmeasured = {**pod_stats("new", sent_b=0, received_b=0), "network": network}
    async with saying(summary(unmeasured, pod_stats("web", sent_b=1, received_b=2))) as kubelet:
        assert [each.name for each in await ask(kubelet)] == ["web"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "Unauthorized", "answered 401: Unauthorized"),
        (403, "Forbidden (user=x, verb=get, resource=nodes, subresource=stats)", "subresource=stats"),
        (500, "", "answered 500"),
        (302, "", "answered 302"),
        (200, "<html>", "not a summary"),
        (200, json.dumps({"pods": [{"podRef": {"name": "x"}}]}), "not a summary"),
        (
            200,
            json.dumps({"pods": [{**pod_stats("x", sent_b=0, received_b=0), "network": {"rxBytes": "many"}}]}),
            "rxBytes",
        ),
    ],
)
async def test_an_answer_that_cannot_be_used_is_told(status: int, body: str, told: str) -> None:
    async with saying(body, status) as kubelet:
        with pytest.raises(MetricsUnavailable, match=told) as raised:
            await ask(kubelet)
    assert kubelet.url in str(raised.value)
    assert isinstance(raised.value, Unavailable)


async def test_a_kubelet_that_is_silent_is_given_up_in_time() -> None:
    async with saying(TWO) as kubelet:
        kubelet.silent = True
        with pytest.raises(MetricsUnavailable, match=r"no answer in 0\.1 s"):
            await ask(kubelet, timeout_s=0.1)


async def test_a_kubelet_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with MetricsServer(ServerAccess(url)) as server:
            with pytest.raises(MetricsUnavailable, match=url):
                await pod_counters(server)


async def test_an_answer_that_is_too_large_is_refused() -> None:
    async with saying(TWO) as kubelet:
        with pytest.raises(MetricsUnavailable, match="larger than 100 bytes"):
            await ask(kubelet, most_b=100)


async def test_the_token_is_read_for_every_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with saying(TWO) as kubelet, MetricsServer(ServerAccess(kubelet.url, token_file=str(token))) as server:
        for text in ("first\n", "rotated\n"):
            token.write_text(text)
            await pod_counters(server)
        assert [asked.token for asked in kubelet.asked] == ["Bearer first", "Bearer rotated"]
        token.unlink()
        with pytest.raises(MetricsUnavailable, match="token"):
            await pod_counters(server)


async def test_a_certificate_is_checked_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(*ours.issue("kubelet"))
    async with FakeMetricsServer(lambda _: (200, TWO), tls=serving) as kubelet:
        assert len(await ask(kubelet, ca_file=str(ours.ca_file))) == 2
        assert len(await ask(kubelet, insecure=True)) == 2
        with pytest.raises(MetricsUnavailable, match="certificate verify failed"):
            await ask(kubelet, ca_file=str(others.ca_file))


@pytest.mark.parametrize(
    ("access", "told"),
    [
        ({"url": "127.0.0.1:10250"}, "url '127.0.0.1:10250' is no address"),
        ({"url": "https://x", "timeout_s": 0}, "timeout_s 0"),
    ],
)
def test_access_that_cannot_be_is_refused_by_name(access: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSettings, match=told):
        ServerAccess(**access)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidSettings, match=f"ca_file {file}"):
        await MetricsServer(ServerAccess("https://127.0.0.1:1", ca_file=str(file))).__aenter__()
