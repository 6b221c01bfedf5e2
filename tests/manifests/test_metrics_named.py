"""Every metric that an alert or the dashboard names is one that the services have, with the labels that are asked for."""

from __future__ import annotations

import asyncio
import json
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric

from kubesteer.clients import build_info, own_version
from tests.metrics_page import page, registries

from .written import MANIFESTS, ROOT, written

OTHERS = {
    "up": {"job"},
    "process_resident_memory_bytes": {"job", "namespace"},
    "process_cpu_seconds_total": {"job", "namespace"},
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
Told = Mapping[str, list[Metric]]


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


@pytest.fixture(scope="module")
def told() -> Told:
    """What the services and the keeper tell."""
    return asyncio.run(registries())


@pytest.fixture
def known(told: Told) -> Known:
    """Names of samples as they are scraped, and their labels."""
    found: dict[str, set[str]] = {}
    for sample in (sample for metrics in told.values() for metric in metrics for sample in metric.samples):
        found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_that_is_named_exists(known: Known) -> None:
    missing = {
        (where, name) for where, text in expressions() for name in metrics_in(text) if name not in {*known, *OTHERS}
    }
    assert missing == set()


def rated_in(text: str) -> set[str]:
    """Metrics whose growth is asked for."""
    return set(re.findall(r"\b(?:rate|irate|increase)\(\s*(\w+)", text))


def test_only_what_counts_up_is_asked_for_its_growth(told: Told) -> None:
    counters = {
        sample.name
        for metrics in told.values()
        for metric in metrics
        for sample in metric.samples
        if metric.type in {"counter", "histogram"}
    }
    pages = [(page.name, page.read_text()) for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    asked = {(where, name) for where, text in [*expressions(), *pages] for name in rated_in(text)}
    assert any(where == "operations.md" for where, _ in asked), "it has such an expression"
    of_others = {name for _, name in asked if not name.startswith("kubesteer_") and name.endswith("_total")}
    assert {(where, name) for where, name in asked if name not in counters | of_others} == set()


def test_a_metric_is_a_counter_just_when_its_name_says_so(told: Told) -> None:
    for metrics in told.values():
        for metric in metrics:
            for sample in metric.samples:
                if not sample.name.startswith("process_") and metric.type != "histogram":
                    assert sample.name.endswith(("_total", "_created")) == (metric.type == "counter"), sample.name


def test_what_only_grows_is_a_counter(told: Told) -> None:
    types = {metric.name: metric.type for metric in told["extender"]}
    grow = ("cluster_relists", "cluster_events", "rewards_resyncs", "log_lines_dropped")
    assert {types[f"kubesteer_{name}"] for name in grow} == {"counter"}
    assert {types[f"kubesteer_{name}"] for name in ("cluster_skipped", "rewards_skipped", "charges")} == {"gauge"}


def test_every_service_tells_what_it_was_built_from(told: Told) -> None:
    for service, metrics in told.items():
        [build] = [metric for metric in metrics if metric.name == "kubesteer_build_info"]
        [sample] = build.samples
        assert sample.labels == {"version": version("kubesteer"), "python": platform.python_version()}, service
        assert (sample.value, build.type) == (1, "gauge")


def test_docs_metrics_md_tells_what_the_services_tell(told: Told) -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page(told), "run `make docs`"


def test_every_label_that_is_asked_for_is_on_the_metric_or_added_by_the_scrape(known: Known) -> None:
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


def test_a_service_that_is_not_installed_but_run_from_its_folders_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(own_version, "version", nowhere)
    monkeypatch.setattr(build_info, "own_version", lambda: own_version.own_version(tmp_path))
    registry = CollectorRegistry()
    build_info.tell_build(registry)
    (family,) = registry.collect()
    assert family.samples[0].labels["version"] == "unknown"
