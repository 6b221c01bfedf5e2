"""An SLO that is nearly always a unit mistake: counted, logged, and told to the pod's owner by one Event."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubesteer.model.cluster import PodSummary
from kubesteer.model.errors import ClusterUnavailable
from tests.builders import EGRESS_ANNOTATION, node, pod, pod_summary
from tests.service.harness import Service, service
from tests.waiting import until


class Events:
    """Satisfies WarningSink: keeps what it was told; refuses for as long as it is `away`."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        self.away = False

    async def warn(self, pod: PodSummary, reason: str, message: str) -> None:
        if self.away:
            raise ClusterUnavailable("API server: connection refused")
        self.reasons.append(reason)
        self.told.append((pod.name, message))


async def sent(there: Service) -> None:
    """Let the queue run empty."""
    warnings = there.parts.warnings
    task = asyncio.create_task(warnings.run())
    # Only where it waits for the next one is the last one sent.
    await until(lambda: warnings._queue.empty() and warnings._queue._getters)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("egress", "said"),
    [
        ("100", "egress SLO is 100 bit/s, less than 0.0001"),
        ("400G", "egress SLO is 400G bit/s, more than any node has"),
    ],
)
async def test_a_suspect_slo_is_counted_and_told_once_a_pod_however_often_it_is_asked_for(
    egress: str, said: str
) -> None:
    events = Events()
    there = service(warning_sink=events)
    for _ in range(5):
        await there.filter(pod("a", egress=egress), ["node-1", "node-2"])
        await there.prioritize(pod("a", egress=egress), ["node-1", "node-2"])
    await sent(there)
    assert there.metric("suspect_units_total") == 1
    ((name, message),) = events.told
    assert name == "a"
    assert message.startswith(said)
    assert "100 Mbit/s is 100M" in message


@pytest.mark.parametrize("value", ["10Mbps", "", "unlimited", '{"rate":"10M"}', "-5M", "999", "0", "1001T", "1.1P"])
async def test_an_annotation_that_the_runtime_would_refuse_is_refused_by_every_node_in_words(value: str) -> None:
    """Answered as Error, an extender that is ignorable is skipped, and the pod's sandbox fails on whatever node."""
    events = Events()
    there = service(warning_sink=events)
    asked = pod("a", annotations={EGRESS_ANNOTATION: value})
    answer = await there.filter(asked, ["node-1", "node-2"])
    assert (answer["Error"], answer["NodeNames"], answer["FailedNodes"]) == ("", [], {})
    reasons = answer["FailedAndUnresolvableNodes"]
    assert list(reasons) == ["node-1", "node-2"]
    assert reasons["node-1"].startswith(f"pod: metadata.annotations[{EGRESS_ANNOTATION}]: '{value}' is ")
    await sent(there)
    assert events.reasons == ["InvalidNetworkSLO"]
    assert there.metric("invalid_pods_total") == 1
    (line,) = [line for line in there.lines() if line["event"] == "pod cannot be right"]
    assert line["pod"] == "default/a"


@pytest.mark.parametrize("value", ["1k", "1000", "999.5", "1P", "1e15", "1000T"])
async def test_the_runtimes_own_bounds_are_within(value: str) -> None:
    """999.5 bit/s are rounded up to 1,000; 1P is the most."""
    there = service(node("node-1", egress="2P"))
    assert (await there.filter(pod("a", annotations={EGRESS_ANNOTATION: value}), ["node-1"]))["NodeNames"] == ["node-1"]


async def test_each_pod_is_told_of_its_own() -> None:
    events = Events()
    there = service(warning_sink=events)
    for name in ("a", "b", "a"):
        await there.filter(pod(name, egress="100"), ["node-1"])
    await sent(there)
    assert [name for name, _ in events.told] == ["a", "b"]
    assert there.metric("suspect_units_total") == 2


@pytest.mark.parametrize("egress", [None, "1M", "10G"])
async def test_an_ordinary_slo_is_not_suspect(egress: Any) -> None:
    events = Events()
    there = service(warning_sink=events)
    await there.filter(pod("a", egress=egress), ["node-1"])
    await sent(there)
    assert (there.metric("suspect_units_total"), events.told) == (0, [])


async def test_the_suspicion_changes_no_verdict() -> None:
    there = service(node("node-1"))
    assert (await there.filter(pod("a", egress="100"), ["node-1"]))["NodeNames"] == ["node-1"]


async def test_an_api_server_that_is_away_loses_one_event_and_stops_nothing() -> None:
    events = Events()
    events.away = True
    there = service(warning_sink=events)
    await there.filter(pod("a", egress="100"), ["node-1"])
    await sent(there)
    assert any(line["event"] == "event not written" for line in there.lines())
    events.away = False
    await there.filter(pod("b", egress="100"), ["node-1"])
    await sent(there)
    assert [name for name, _ in events.told] == ["b"]


async def test_events_never_delay_an_answer_even_when_nobody_takes_them() -> None:
    there = service(warning_sink=Events())
    for i in range(1_500):
        there.parts.warnings.suspect(pod_summary(f"p{i}"), "why", "decision-1")
    assert (await there.filter(pod(), ["node-1"]))["NodeNames"] == ["node-1"]
    assert there.metric("suspect_units_total") == 1_500
