"""What metrics and logs tell, and what they never do: a label or a line by node, a line that somebody else wrote."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extender.logs import make_logger
from kubesteer.model.reward import RewardRecord
from tests.builders import node, pod
from tests.service.harness import START_S, Service, args, service

WANTED = {
    "kubesteer_request_seconds", "kubesteer_candidates", "kubesteer_refused_nodes", "kubesteer_none_fit",
    "kubesteer_deadline_hits", "kubesteer_errors", "kubesteer_suspect_units", "kubesteer_unsynced_decisions",
    "kubesteer_build_info", "kubesteer_ready", "kubesteer_cluster_age_seconds", "kubesteer_cluster_relists", "kubesteer_cluster_events",
    "kubesteer_cluster_skipped", "kubesteer_rewards_age_seconds", "kubesteer_reward_newest_age_seconds",
    "kubesteer_rewards_neutral", "kubesteer_rewards_skipped", "kubesteer_rewards_resyncs", "kubesteer_nodes",
    "kubesteer_pods", "kubesteer_rewards", "kubesteer_charges", "process_resident_memory_bytes",
    "kubesteer_reward_types", "kubesteer_reward_parents_age_seconds", "kubesteer_node_states",
    "kubesteer_task_restarts", "kubesteer_log_lines_dropped", "kubesteer_node_states_age_seconds", "kubesteer_node_states_oldest_age_seconds",
}  # fmt: skip
NASTY = 'web\n{"event":"listening","level":"info"}\r\x1b[2Jlevel=error\u2028x'


async def page(there: Service) -> dict[str, Any]:
    response = await there.ops("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(response.text)}


async def test_every_promised_metric_is_there_from_the_start_with_a_meaning() -> None:
    families = await page(service())
    assert families.keys() >= WANTED
    assert all(families[name].documentation for name in WANTED)


async def test_no_label_ever_names_a_node_or_a_pod() -> None:
    there = service(node("a"), node("b", egress="1G"))
    for i in range(20):
        await there.filter(pod(f"p{i}", egress="5G"), ["a", "b", f"unknown-{i}"])
        await there.prioritize(pod(f"p{i}"), ["a", "b"])
        await there.post("filter", b"{")
    families = await page(there)
    labels = {name for family in families.values() for sample in family.samples for name in sample.labels}
    values = {value for family in families.values() for sample in family.samples for value in sample.labels.values()}
    assert labels == {"version", "python", "verb", "le", "cause", "kind", "status", "task", "agrees"}
    assert not values & {"a", "b", "p1", "default/p1", "uid-p1", "unknown-1"}


async def test_the_number_of_series_does_not_grow_with_what_is_asked() -> None:
    there = service()
    before = sum(len(family.samples) for family in (await page(there)).values())
    for i in range(10):
        await there.filter(pod(f"p{i}", labels={"app": f"type-{i}"}, egress="20G"), [f"n-{i}", "node-1"])
    assert sum(len(family.samples) for family in (await page(there)).values()) == before


async def test_calls_candidates_and_refusals_are_counted() -> None:
    there = service(node("big"), node("small", egress="1G"), node("down", ready="False"))
    await there.filter(pod(egress="5G"), ["big", "small", "down", "nobody"])
    await there.filter(pod(egress="5G"), ["small"])
    await there.prioritize(pod(), ["big"])
    assert there.metric("request_seconds_count", verb="filter") == 2
    assert there.metric("request_seconds_count", verb="prioritize") == 1
    assert there.metric("candidates_sum", verb="filter") == 5
    assert there.metric("refused_nodes_total", cause="too-small") == 2
    assert there.metric("refused_nodes_total", cause="not-ready") == 1
    assert there.metric("refused_nodes_total", cause="unknown-node") == 1
    assert there.metric("none_fit_total") == 1


async def test_the_tables_and_ages_are_told() -> None:
    record = RewardRecord("node-1", "web", mean=0.9, evidence=5.0, time_s=START_S - 40)
    there = service(pods=[pod("a", node="node-1")], rewards=[record])
    assert (there.metric("nodes"), there.metric("pods"), there.metric("rewards")) == (2, 1, 1)
    assert there.metric("reward_newest_age_seconds") == pytest.approx(40)
    assert (there.metric("ready"), there.metric("rewards_neutral")) == (1, 0)


async def test_each_line_of_a_decision_has_its_id_and_ids_differ() -> None:
    there = service()
    await there.filter(pod(), ["node-1"])
    await there.prioritize(pod(), ["node-1"])
    await there.post("filter", b"{")
    ids = [line["decision"] for line in there.lines()]
    assert len(ids) == len(set(ids)) == 3


async def test_the_line_of_a_suspicion_names_its_decision_too() -> None:
    there = service()
    await there.filter(pod(egress="1"), ["node-1"])
    suspicion, decision = there.lines()
    assert suspicion["event"] == "suspect units"
    assert suspicion["decision"] == decision["decision"]


async def test_two_starts_give_different_ids() -> None:
    ids = set()
    for _ in range(2):
        there = service()
        await there.filter(pod(), ["node-1"])
        ids.add(there.lines()[0]["decision"])
    assert len(ids) == 2


async def test_a_decision_over_many_nodes_is_one_line_and_names_none_of_them() -> None:
    names = [f"node-{i}" for i in range(500)]
    there = service(*(node(name, egress="1G" if i % 2 else "10G") for i, name in enumerate(names)))
    await there.filter(pod(egress="5G"), names)
    await there.prioritize(pod(egress="5G"), names)
    assert len(there.lines()) == 2
    assert "node-4" not in there.output.getvalue()


async def test_decisions_are_told_at_debug_only_and_say_what_became_of_the_pod() -> None:
    there = service(node("big"), node("small", egress="1G"), filter={"shortlist": 1})
    await there.filter(pod(egress="5G"), ["big", "small"])
    (line,) = there.lines()
    assert line["level"] == "debug"
    assert (line["pod"], line["fitting"], line["offered"], line["refused"]) == ("default/p", 1, 1, 1)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_name_with_line_ends_and_escapes_stays_in_one_line(as_json: bool) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        make_logger(as_json=as_json, level="debug").warning("request refused", pod=NASTY, error=f"Pod {NASTY}")
    lines = output.getvalue().splitlines()
    assert len(lines) == 1
    assert "\x1b[2J" not in lines[0]


async def test_a_pod_that_is_named_like_a_log_line_is_one_line() -> None:
    there = service()
    await there.filter(pod(NASTY, egress="1"), ["node-1", NASTY])
    await there.filter(pod(NASTY, cpu=NASTY), ["node-1"])
    await there.post(
        "prioritize", args(pod(NASTY, containers=[{"name": NASTY, "resources": {"requests": {"cpu": NASTY}}}]), [])
    )
    lines = there.output.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        "suspect units",
        "filter",
        "filter",
        "prioritize",
    ]


async def test_a_line_stays_short_whatever_is_sent() -> None:
    there = service()
    huge = "x" * 1_000_000
    await there.post(
        "filter", args(pod(huge, containers=[{"name": huge, "resources": {"requests": {"cpu": huge}}}]), [])
    )
    assert max(map(len, there.output.getvalue().splitlines())) < 10_000


def test_below_the_level_nothing_is_written() -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        log = make_logger(as_json=True, level="warning")
        log.info("quiet")
        log.warning("loud")
    assert [json.loads(line)["event"] for line in output.getvalue().splitlines()] == ["loud"]
