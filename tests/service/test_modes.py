"""Mode observe and what pods and namespaces choose, as kube-scheduler and an operator see it."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.cluster import PodSummary
from kubesteer.model.reward import RewardRecord
from tests.builders import EGRESS_ANNOTATION, Json, node, pod
from tests.service.harness import START_S, Service, client_of, service

OBSERVE = {"mode": "observe"}
NAMES = ["small", "large"]


def two_nodes(**groups: Any) -> Service:
    """1G and 10G of egress."""
    return service(node("small", egress="1G"), node("large", egress="10G"), **groups)


def placed(api_object: Json, on: str) -> Json:
    return {**api_object, "spec": {**api_object["spec"], "nodeName": on}, "status": {"phase": "Running"}}


WAYS = {
    "all": ({"placement": OBSERVE}, {}),
    "the namespace": ({"placement": {"namespaces": {"default": OBSERVE}}}, {}),
    "the pod": ({}, {"annotations": {"kubesteer.io/mode": "observe"}}),
}
observed_ways = pytest.mark.parametrize(("groups", "asks"), WAYS.values(), ids=WAYS)


@observed_ways
async def test_an_observed_pod_passes_every_node_with_the_same_score(groups: Any, asks: Any) -> None:
    there = two_nodes(**groups)
    asked = pod("p", egress="5G", **asks)
    answer = await there.filter(asked, [*NAMES, "unknown"])
    assert (answer["NodeNames"], answer["Error"]) == ([*NAMES, "unknown"], "")
    assert answer["FailedNodes"] == answer["FailedAndUnresolvableNodes"] == {}
    assert await there.prioritize(asked, NAMES) == {"small": 0, "large": 0}


@observed_ways
async def test_what_would_have_been_decided_is_in_the_metrics_and_not_among_decisions(groups: Any, asks: Any) -> None:
    there = two_nodes(**groups)
    await there.filter(pod("p", egress="5G", **asks), NAMES)
    await there.filter(pod("q", egress="50G", **asks), NAMES)
    # 5G: refused by `small`. 50G: refused by both, and nothing would have been left.
    assert there.metric("observed_refused_nodes_total", cause="too-small") == 3
    assert there.metric("observed_none_fit_total") == 1
    assert there.metric("refused_nodes_total", cause="too-small") == 0
    assert there.metric("none_fit_total") == 0


@observed_ways
async def test_where_an_observed_pod_goes_is_compared_with_what_would_have_been_decided(groups: Any, asks: Any) -> None:
    there = two_nodes(**groups)
    for name, on in (("p", "large"), ("q", "small")):
        asked = pod(name, egress="5G", **asks)
        await there.filter(asked, NAMES)
        await there.prioritize(asked, NAMES)
        there.put_pod(placed(asked, on))
    for verb in ("filter", "prioritize"):
        assert there.metric("observed_placements_total", verb=verb, agrees="yes") == 1
        assert there.metric("observed_placements_total", verb=verb, agrees="no") == 1
    lines = [line for line in there.lines() if line["event"] == "observed placement"]
    assert [(line["pod"], line["node"], line["favoured"]) for line in lines] == [("default/q", "small", ["large"])] * 2
    assert lines[0]["why"] == "kubesteer's filter would have refused the node"


async def test_an_enforced_pod_is_compared_with_nothing() -> None:
    there = two_nodes()
    asked = pod("p", egress="5G")
    await there.filter(asked, NAMES)
    there.put_pod(placed(asked, "large"))
    assert not [line for line in there.lines() if line["event"] == "observed placement"]


@observed_ways
async def test_an_observed_pod_on_a_node_counts_there_as_any_other(groups: Any, asks: Any) -> None:
    """8G of 10G are taken by it, so that 5G are refused to a pod whose answers decide."""
    there = two_nodes(**groups)
    there.put_pod(placed(pod("p", egress="8G", **asks), "large"))
    other = pod("q", egress="5G", annotations={"kubesteer.io/mode": "enforce"})
    answer = await there.filter(other, ["large"])
    assert answer["FailedNodes"] == {"large": "egress: wants 5G, 2G of 10G left"}


@observed_ways
async def test_an_observed_pod_on_its_way_is_promised_to_all_nodes_that_it_may_go_to(groups: Any, asks: Any) -> None:
    """6G by annotation, over 2 nodes: 3G on each. Of 10G, 7G are left for a pod whose answers decide."""
    there = two_nodes(**groups)
    annotations = {EGRESS_ANNOTATION: "6G", **asks.get("annotations", {})}
    await there.filter(pod("p", annotations=annotations), NAMES)
    other = {EGRESS_ANNOTATION: "8G", "kubesteer.io/mode": "enforce"}
    answer = await there.filter(pod("q", annotations=other), ["large"])
    assert answer["FailedNodes"] == {"large": "egress: wants 8G, 7G of 10G left"}


async def test_an_observed_pod_gets_no_short_list() -> None:
    there = two_nodes(placement=OBSERVE, filter={"shortlist": 1})
    assert (await there.filter(pod("p"), NAMES))["NodeNames"] == NAMES


async def test_a_workload_is_enforced_alone_while_all_others_are_observed() -> None:
    there = two_nodes(placement=OBSERVE)
    answer = await there.filter(pod("p", egress="5G", annotations={"kubesteer.io/mode": "enforce"}), NAMES)
    assert answer["NodeNames"] == ["large"]
    assert there.metric("refused_nodes_total", cause="too-small") == 1


async def test_explain_tells_the_mode_and_what_would_be_decided() -> None:
    there = two_nodes(placement=OBSERVE)
    told = await there.explain(pod("p", egress="5G"), NAMES)
    assert {name: one["fits"] for name, one in told.items()} == {"small": False, "large": True}
    async with client_of(there.parts.ops) as client:
        page = (await client.post("/explain", json={"Pod": pod("p"), "NodeNames": NAMES})).json()
    assert page["mode"] == "observe"
    assert (await there.ops("/readyz")).json()["mode"] == "observe"


@pytest.mark.parametrize(
    ("groups", "annotations"),
    [
        ({}, {"kubesteer.io/reward-weight": "0"}),
        ({"placement": {"namespaces": {"default": {"reward_weight": 0}}}}, {}),
    ],
    ids=["the pod", "the namespace"],
)
async def test_a_pod_or_its_namespace_chooses_how_much_rewards_weigh(groups: Any, annotations: Any) -> None:
    """Two equal nodes, and web did badly on node-1. Without weight that says nothing, and both are best."""
    learned = [RewardRecord("node-1", "web", 0.1, 50, START_S), RewardRecord("node-2", "web", 0.9, 50, START_S)]
    there = service(rewards=learned, **groups)
    labels = {"podtype": "web"}
    chosen = pod("p", labels=labels, annotations=annotations, cpu="1", memory="4Gi")
    assert await there.prioritize(chosen, ["node-1", "node-2"]) == {"node-1": 10, "node-2": 10}
    usual = pod("q", labels=labels, annotations={"kubesteer.io/reward-weight": "0.7"}, cpu="1", memory="4Gi")
    assert (await there.prioritize(usual, ["node-1", "node-2"]))["node-1"] < 10


class Sink:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def warn(self, pod: PodSummary, reason: str, message: str) -> None:
        self.told.append((reason, message))


async def test_a_choice_that_is_none_is_passed_over_and_the_owner_is_told() -> None:
    there = two_nodes(warning_sink=Sink())
    asked = pod("p", egress="5G", annotations={"kubesteer.io/mode": "observ"})
    assert (await there.filter(asked, NAMES))["NodeNames"] == ["large"]
    [line] = [line for line in there.lines() if line["event"] == "annotation passed over"]
    assert line["why"] == "metadata.annotations[kubesteer.io/mode]: 'observ' is no mode; write enforce or observe"
