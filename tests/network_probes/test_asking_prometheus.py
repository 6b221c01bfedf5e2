"""Measures of pods from PromQL queries: a fake for its faults, and a real Prometheus that scrapes a real endpoint."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubesteer.clients.metrics_server import MetricsServer, ServerAccess
from kubesteer.clients.prometheus.measures import Measure, MeasuredPod, Measures
from kubesteer.model.errors import InvalidSettings, MetricsUnavailable
from tests.network_probes.fake_servers import FakeMetricsServer, vector
from tests.waiting import WITHIN_S, until

WEB = MeasuredPod("default", "web-1", "web")
OTHER = MeasuredPod("default", "web-2", "web")
OF_WEB = {"namespace": "default", "pod": "web-1"}
OF_OTHER = {"namespace": "default", "pod": "web-2"}


def saying(body: str, status: int = 200) -> FakeMetricsServer:
    return FakeMetricsServer(lambda _: (status, body))


async def ask(fake: FakeMetricsServer, queries: dict[str, str], *pods: MeasuredPod) -> dict[MeasuredPod, Measure]:
    async with MetricsServer(ServerAccess(fake.url, timeout_s=2.0)) as server:
        return await Measures(server, queries).of(pods)


async def test_one_query_for_all_pods_is_sent_once_and_told_apart_by_labels() -> None:
    async with saying(vector((OF_WEB, "0.25"), (OF_OTHER, "1"), ({"pod": "web-1"}, "7"))) as fake:
        assert await ask(fake, {"web": 'goodness{job="$type"}'}, WEB, OTHER) == {
            WEB: Measure(0.25),
            OTHER: Measure(1.0),
        }
        assert [(a.path, a.form) for a in fake.asked] == [("/api/v1/query", {"query": 'goodness{job="web"}'})]


async def test_a_query_that_names_the_pod_is_sent_for_each() -> None:
    async with saying(vector(({}, "0.5"))) as fake:
        found = await ask(fake, {"*": 'g{n="$namespace",p="$pod"}'}, WEB, OTHER)
        assert found == {WEB: Measure(0.5), OTHER: Measure(0.5)}
        assert {a.form["query"] for a in fake.asked} == {'g{n="default",p="web-1"}', 'g{n="default",p="web-2"}'}


async def test_a_type_without_a_query_is_not_asked_about() -> None:
    async with saying(vector()) as fake:
        assert await ask(fake, {"db": "x"}, WEB) == {}
        assert fake.asked == []


async def test_a_name_cannot_change_the_query() -> None:
    async with saying(vector()) as fake:
        await ask(fake, {"*": 'g{t="$type"}'}, MeasuredPod("default", "p", 'a"} or vector(1) #\\'))
        assert fake.asked[0].form["query"] == 'g{t="a\\"} or vector(1) #\\\\"}'


async def test_a_scalar_is_a_measure_of_the_pod_that_the_query_names() -> None:
    scalar = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "0.75"]}})
    async with saying(scalar) as fake:
        assert await ask(fake, {"web": 'scalar(g{pod="$pod"})'}, WEB) == {WEB: Measure(0.75)}


MATRIX = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}})
BAD_QUERY = json.dumps({"status": "error", "errorType": "bad_data", "error": "1:3: parse error: unexpected end"})


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (vector((OF_WEB, "2")), 200, r"gives 2\.0 for default/web-1; make it 0 \(worst\) to 1 \(best\)"),
        (vector((OF_WEB, "-0.01")), 200, r"gives -0\.01"),
        (vector((OF_WEB, "NaN")), 200, "gives nan"),
        (vector((OF_WEB, "+Inf")), 200, "gives inf"),
        (vector((OF_OTHER, "1")), 200, "gives no series for default/web-1"),
        (vector((OF_WEB, "1"), ({**OF_WEB, "container": "b"}, "1")), 200, "gives 2 series for default/web-1"),
        (MATRIX, 200, "gives a matrix"),
        (BAD_QUERY, 400, r"refuses the query 'goodness': 1:3: parse error"),
        (BAD_QUERY, 422, "refuses the query"),
    ],
)
async def test_a_value_that_is_no_measure_is_a_named_problem(body: str, status: int, problem: str) -> None:
    async with saying(body, status) as fake:
        found = (await ask(fake, {"web": "goodness"}, WEB))[WEB]
    assert found.value is None
    assert re.search(problem, found.problem), found.problem


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (
            json.dumps({"status": "error", "errorType": "timeout", "error": "query timed out"}),
            503,
            "503: query timed out",
        ),
        ("<html>Bad Gateway</html>", 502, "answered 502, which cannot be read"),
        (json.dumps({"error": "unauthorized"}), 401, "401: unauthorized"),
        (vector((OF_WEB, "a lot")), 200, "cannot be read"),
        ("{}", 200, "answered 200"),
    ],
)
async def test_an_answer_that_is_none_is_told(body: str, status: int, told: str) -> None:
    async with saying(body, status) as fake:
        with pytest.raises(MetricsUnavailable, match=told):
            await ask(fake, {"web": "goodness"}, WEB, OTHER)


async def test_a_silent_prometheus_is_given_up_after_one_time_out_for_all_pods() -> None:
    async with saying(vector()) as fake:
        fake.silent = True
        pods = [MeasuredPod("default", f"web-{n}", "web") for n in range(40)]
        async with MetricsServer(ServerAccess(fake.url, timeout_s=0.2)) as server:
            with pytest.raises(MetricsUnavailable, match="no answer"):
                await Measures(server, {"*": 'g{p="$pod"}'}).of(pods)
    assert len(fake.asked) < 40, "nobody is asked for the others"


@pytest.mark.parametrize(
    ("query", "told"),
    [('g{p="$name"}', r"\$name is not known; use \$namespace, \$pod, \$type"), ('g=~".*$"', "a lone")],
)
def test_a_query_with_another_variable_is_refused_at_the_start(query: str, told: str) -> None:
    with pytest.raises(InvalidSettings, match=told):
        Measures(MetricsServer(ServerAccess("http://x")), {"web": query})


METRICS = """\
app_good_total{namespace="default",pod="web-1"} 30
app_all_total{namespace="default",pod="web-1"} 40
app_good_total{namespace="default",pod="web-2"} 5
app_all_total{namespace="default",pod="web-2"} 0
"""


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[str]:
    """A real server that has scraped an application's endpoint."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with saying(METRICS) as application:
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {
                    "job_name": "web",
                    "honor_labels": True,
                    "static_configs": [{"targets": [application.url.removeprefix("http://")]}],
                }
            ],
        }
        file = tmp_path / "prometheus.yml"
        file.write_text(json.dumps(config))
        flags = [f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}"]
        process = await asyncio.create_subprocess_exec(binary, *flags, "--log.level=error")
        try:
            await _until_scraped(f"http://{address}")
            yield f"http://{address}"
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), WITHIN_S)


async def _until_scraped(url: str) -> None:
    async with MetricsServer(ServerAccess(url)) as server:

        async def is_scraped() -> bool:
            try:
                found = await Measures(server, {"*": 'app_good_total{pod="$pod"}'}).of([WEB])
            except MetricsUnavailable:
                return False
            return "gives 30.0" in found[WEB].problem

        await until(is_scraped, every_s=0.1)


async def test_a_real_prometheus_answers_each_kind_of_query(prometheus: str) -> None:
    queries: dict[str, Any] = {
        "web": "app_good_total / app_all_total",
        "named": 'app_good_total{namespace="$namespace",pod="$pod"} / 40',
        "scalar": 'scalar(app_good_total{pod="$pod"}) / 60',
        "broken": "app_good_total / ",
        "range": "app_good_total[1m]",
    }
    pods = {kind: MeasuredPod("default", "web-1", kind) for kind in queries}
    async with MetricsServer(ServerAccess(prometheus)) as server:
        found = await Measures(server, queries).of([*pods.values(), OTHER])
    # 30 / 40, 30 / 40 and 30 / 60
    assert [found[pods[kind]] for kind in ("web", "named", "scalar")] == [Measure(0.75), Measure(0.75), Measure(0.5)]
    assert "parse error" in found[pods["broken"]].problem
    assert "gives a matrix" in found[pods["range"]].problem
    assert "gives inf for default/web-2" in found[OTHER].problem  # 5 / 0
