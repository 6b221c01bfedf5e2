"""`python -m tests.metrics_page`: docs/metrics.md, from what a running extender, agent and keeper tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Metric

from kubesteer.cli.keeping.loop import Metrics as KeeperMetrics
from kubesteer.cli.keeping.loop import Round
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from tests.agent.builders import NODE
from tests.agent.harness import agent_on
from tests.cluster_state.fake_api import FakeApi
from tests.service.harness import service

_HEAD = """# Metrics

Written by `make docs` from what the services tell at `/metrics` of their ops ports. Names are as they are scraped; a
histogram has `_bucket` (with the label `le`), `_sum` and `_count`. A counter starts at 0 with its process: ask for it
with `rate()` or `increase()`. Those that begin with `process_` are Prometheus' usual ones of a process.
"""
_SERVICES = {
    "extender": "One for each replica.",
    "agent": "One for each node.",
    "keeper": "One in the cluster.",
}


def keeper_metrics() -> KeeperMetrics:
    """Of a keeper after a round of all its parts in which one certificate was there and one request was answered."""
    metrics, now = KeeperMetrics(), datetime(2026, 1, 1, tzinfo=UTC)
    metrics.lines_dropped(lambda: 0)
    ended = Round(done={}, faults={}, ends={"kubesteer-etcd-server": now + timedelta(days=60)})
    metrics.see_snapshot(now)
    metrics.see(ended, ("certificates", "etcd", "requests"), {"signed": 1}, now)
    return metrics


async def registries() -> Mapping[str, list[Metric]]:
    """What each service tells, by service."""
    tls = {name: f"/etc/kubesteer/server/tls.{end}" for name, end in (("cert_file", "crt"), ("key_file", "key"))}
    extender = service(tls=tls).parts.metrics.registry
    async with FakeApi() as api:
        store = MemoryColumnStore(MemoryStore("/kubesteer"), node=NODE, holder="agent-1")
        async with agent_on(api, store) as running:
            running.agent.metrics.lines_dropped(lambda: 0)
            agent = told(running.agent.metrics.registry)
    return {"extender": told(extender), "agent": agent, "keeper": told(keeper_metrics().registry)}


def told(registry: CollectorRegistry) -> list[Metric]:
    return sorted(registry.collect(), key=lambda metric: metric.name)


def page(told_by: Mapping[str, list[Metric]]) -> str:
    lines = [_HEAD]
    for name, metrics in told_by.items():
        lines += [f"## {name}", "", _SERVICES[name], "", "| name | type | labels | meaning |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in metrics]
        lines.append("")
    return "\n".join(lines)


def _row(metric: Metric) -> str:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    labels = sorted({label for sample in metric.samples for label in sample.labels} - {"le"})
    meaning = metric.documentation.replace("|", "\\|")
    return f"| `{name}` | {metric.type} | {' '.join(f'`{label}`' for label in labels)} | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write(page(asyncio.run(registries())))
