"""Every metric that an alert or the dashboard names is one that the services have, with the labels that are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kubesteer.cli.keeping.loop import Metrics as KeeperMetrics
from kubesteer.cli.keeping.loop import Round
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from tests.agent.builders import NODE
from tests.agent.harness import agent_on
from tests.cluster_state.fake_api import FakeApi
from tests.service.harness import service

from .written import MANIFESTS, written

OTHERS = {
    "up": {"job"},
    "process_resident_memory_bytes": {"job", "namespace"},
    "process_cpu_seconds_total": {"job", "namespace"},
    "scheduler_schedule_attempts_total": {"profile", "result"},
    "etcd_server_has_leader": {"job"},
    "etcd_mvcc_db_total_size_in_bytes": {"job"},
    "etcd_server_quota_backend_bytes": {"job"},
}
"""Metrics that are not kubesteer's own, and what is asked of them."""
FROM_PROMETHEUS = {"pod", "namespace", "job", "instance", "node"}
"""Labels that a scrape adds."""
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "group_left", "group_right", "offset", "inf"}
PARTS = ("", "_bucket", "_count", "_sum", "_total")

Known = Mapping[str, set[str]]


def expressions() -> list[tuple[str, str]]:
    """Where each PromQL expression stands, and the expression."""
    [rule] = [each.object for each in written() if each.object["kind"] == "PrometheusRule"]
    found = [(each["alert"], each["expr"]) for group in rule["spec"]["groups"] for each in group["rules"]]
    board = json.loads((MANIFESTS / "components/monitoring/kubesteer.json").read_text())
    return found + [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    """Names that are no function (a bracket follows), no word of PromQL and no label."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)', " ", expression)
    return {name for name in re.findall(r"\b([a-z_][a-z0-9_]*)\b(?!\s*\()", bare) if name not in WORDS}


def labels_in(expression: str) -> set[str]:
    grouped = re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", expression)
    matched = re.findall(r"(\w+)\s*[!=]~?\s*\"", expression)
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)


def families(text: str) -> Iterator[tuple[str, set[str]]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, set(sample.labels)


def keeper_page() -> str:
    """Metrics of a keeper after a round in which one certificate was there."""
    metrics, now = KeeperMetrics(), datetime(2026, 1, 1, tzinfo=UTC)
    metrics.see(Round(done={}, faults={}, ends={"kubesteer-etcd-server": now + timedelta(days=60)}), {}, {}, now)
    return generate_latest(metrics.registry).decode()


@pytest.fixture
async def known() -> Known:
    """Names of samples as they are scraped from both services and the keeper, and their labels."""
    pages = [(await service().ops("/metrics")).text, keeper_page()]
    async with FakeApi() as api:
        store = MemoryColumnStore(MemoryStore("/kubesteer"), node=NODE, holder="agent-1")
        async with agent_on(api, store) as running:
            pages.append(generate_latest(running.agent.metrics.registry).decode())
    found: dict[str, set[str]] = {}
    for page in pages:
        for name, labels in families(page):
            found.setdefault(name, set()).update(labels)
    return found


async def test_every_metric_that_is_named_exists(known: Known) -> None:
    missing = {
        (where, name) for where, text in expressions() for name in metrics_in(text) if name not in {*known, *OTHERS}
    }
    assert missing == set()


async def test_every_label_that_is_asked_for_is_on_the_metric_or_added_by_the_scrape(known: Known) -> None:
    for where, text in expressions():
        on = {label for name in metrics_in(text) for label in {**known, **OTHERS}[name]}
        assert labels_in(text) <= on | FROM_PROMETHEUS, where


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ('sum by (le, verb) (rate(a_bucket{job="x", b!~"y"}[5m])) > 0.05', {"a_bucket"}, {"le", "verb", "job", "b"}),
        ("(count(a == 1) or vector(0)) < 0.95 * max(b_total)", {"a", "b_total"}, set()),
    ],
)
def test_expressions_are_read_as_prometheus_reads_them(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert (metrics_in(expression), labels_in(expression)) == (metrics, labels)


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    [rule] = [each.object for each in written() if each.object["kind"] == "PrometheusRule"]
    alerts: list[Any] = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    assert len({each["alert"] for each in alerts}) == len(alerts)
    for each in alerts:
        assert each["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(each["annotations"]) == {"summary", "description"}
        named = set(re.findall(r"\$labels\.(\w+)", str(each["annotations"])))
        kept = re.findall(r"\bby\s*\(([^)]*)\)", each["expr"])
        assert not kept or named <= {label.strip() for label in kept[0].split(",")}, each["alert"]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    board = json.loads((MANIFESTS / "components/monitoring/kubesteer.json").read_text())
    cells = [
        (x, y)
        for panel in board["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
