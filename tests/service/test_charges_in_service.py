"""What was just promised counts until the watch tells of it: once a pod, for a while, and without a trace after."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.builders import EGRESS_ANNOTATION, node, pod
from tests.service.harness import Service, args, client_of, service

NAMES = [f"node-{i}" for i in range(1, 6)]
ASKS = {"cpu": "1", "memory": "4Gi", "egress": "1G"}


def five_nodes(**groups: Any) -> Service:
    return service(*(node(name) for name in NAMES), **groups)


def annotated(name: str, egress: str) -> Any:
    """A pod whose SLO kube-scheduler does not count."""
    return pod(name, cpu="100m", annotations={EGRESS_ANNOTATION: egress})


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
async def test_asking_again_for_one_pod_gives_the_same_answer_and_one_charge(verb: str) -> None:
    there = five_nodes(filter={"shortlist": 1})
    first = await getattr(there, verb)(pod(**ASKS), NAMES)
    for _ in range(20):
        assert await getattr(there, verb)(pod(**ASKS), NAMES) == first
    assert len(there.parts.state.charges) == 1


async def test_a_burst_of_equal_pods_spreads_over_equal_nodes() -> None:
    # 20 pods over 5 nodes: 4 each, although the watch tells of none of them.
    there = five_nodes(filter={"shortlist": 1})
    chosen = Counter([(await there.filter(pod(f"p{i}", **ASKS), NAMES))["NodeNames"][0] for i in range(20)])
    assert sorted(chosen.values()) == [4, 4, 4, 4, 4]


async def test_what_was_just_promised_counts_in_the_scores_of_the_next_pod() -> None:
    # CPU and memory of a fresh node are even after the next pod: 1/8 and 4/32. With 6 CPUs promised they are not.
    there = five_nodes(score={"balance_rule": "upstream-1.22"})
    before = await there.prioritize(pod("next", cpu="1", memory="4Gi"), NAMES)
    await there.filter(pod("first", cpu="6"), ["node-1"])
    after = await there.prioritize(pod("next", cpu="1", memory="4Gi"), NAMES)
    assert set(before.values()) == {10}
    assert after["node-1"] < 10
    assert {after[name] for name in NAMES[1:]} == {10}


async def test_an_slo_by_annotation_is_never_promised_twice() -> None:
    # 10G of capacity, 6G promised to the first: the second finds 4G left, as nobody else counts annotations.
    there = service(node("only"))
    assert (await there.filter(annotated("a", "6G"), ["only"]))["NodeNames"] == ["only"]
    answer = await there.filter(annotated("b", "6G"), ["only"])
    assert answer["FailedNodes"] == {"only": "egress: wants 6G, 4G of 10G left"}
    assert (await there.filter(annotated("a", "6G"), ["only"]))["NodeNames"] == ["only"]


async def test_the_watch_that_shows_the_pod_takes_the_place_of_its_charge() -> None:
    there = service(node("only"))
    await there.filter(annotated("a", "6G"), ["only"])
    there.put_pod({**annotated("a", "6G"), "spec": {**annotated("a", "6G")["spec"], "nodeName": "only"}})
    assert len(there.parts.state.charges) == 0
    # Counted once: 6G of 10G are gone, not 12G.
    assert (await there.filter(annotated("b", "4G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_that_is_deleted_or_ends_gives_its_charge_back() -> None:
    for end in ("deleted", "ended"):
        there = service(node("only"))
        await there.filter(annotated("a", "6G"), ["only"])
        if end == "deleted":
            there.parts.state.delete_pod("uid-a")
        else:
            there.put_pod(pod("a", status={"phase": "Failed"}))
        assert len(there.parts.state.charges) == 0
        assert (await there.filter(annotated("b", "10G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_that_never_binds_leaves_no_trace_after_the_charge_time() -> None:
    there = service(node("only"), score={"charge_ttl_s": 10})
    await there.filter(annotated("a", "6G"), ["only"])
    there.clock.move(9.9)
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == []
    there.clock.move(0.2)
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == ["only"]
    there.clock.move(10)
    await there.filter(pod("c"), ["only"])
    assert there.metric("charges") == 1


async def test_a_pod_that_is_already_on_a_node_is_not_charged_again() -> None:
    there = service(node("only"), pods=[pod("a", node="only", egress="1G")])
    await there.filter(pod("a", egress="1G"), ["only"])
    assert len(there.parts.state.charges) == 0


async def test_a_charge_time_of_zero_switches_charges_off() -> None:
    there = service(node("only"), score={"charge_ttl_s": 0})
    await there.filter(annotated("a", "6G"), ["only"])
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_that_comes_back_after_its_short_list_gets_every_node_that_fits() -> None:
    there = five_nodes(filter={"shortlist": 1})
    assert len((await there.filter(pod(**ASKS), NAMES))["NodeNames"]) == 1
    there.clock.move(1.0)  # kube-scheduler's shortest back-off
    assert (await there.filter(pod(**ASKS), NAMES))["NodeNames"] == NAMES


async def test_a_pod_that_was_placed_and_made_anew_gets_a_short_list_again() -> None:
    there = five_nodes(filter={"shortlist": 1})
    await there.filter(pod(**ASKS), NAMES)
    there.put_pod(pod(node="node-1", **ASKS))
    there.parts.state.delete_pod("uid-p")
    there.clock.move(5)
    assert len((await there.filter(pod(**ASKS), NAMES))["NodeNames"]) == 1


async def test_a_short_list_gives_every_reason_where_none_fits() -> None:
    there = five_nodes(filter={"shortlist": 1})
    answer = await there.filter(pod(egress="11G"), NAMES)
    assert answer["NodeNames"] == []
    assert sorted(answer["FailedAndUnresolvableNodes"]) == NAMES


async def test_explaining_a_decision_takes_no_charge() -> None:
    there = five_nodes(filter={"shortlist": 1})
    async with client_of(there.parts.ops) as client:
        answer = await client.post("/explain", json=args(pod(**ASKS), NAMES))
    assert answer.status_code == 200
    assert len(there.parts.state.charges) == 0
