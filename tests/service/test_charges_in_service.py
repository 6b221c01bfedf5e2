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
async def test_asking_again_for_one_pod_gives_the_same_answer_and_one_promise(verb: str) -> None:
    there = five_nodes()
    first = await getattr(there, verb)(pod(**ASKS), NAMES)
    for _ in range(20):
        assert await getattr(there, verb)(pod(**ASKS), NAMES) == first
    assert len(there.parts.state.promises) == (verb == "prioritize")


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
    assert len(there.parts.state.promises) == 0
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
        assert len(there.parts.state.promises) == 0
        assert (await there.filter(annotated("b", "10G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_that_never_binds_leaves_no_trace_after_the_charge_time() -> None:
    there = service(node("only"), score={"charge_ttl_s": 10})
    await there.filter(annotated("a", "6G"), ["only"])
    there.clock.move(9.9)
    there.hear()
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == []
    there.clock.move(0.1)
    there.hear()
    assert there.metric("charges") == 0, "without a request that would sweep"
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == ["only"]


async def test_no_promise_ends_by_time_in_which_the_watch_was_deaf() -> None:
    """Three pods of 6G on 10G, 10.5 s apart, and not a word of the watch: only the first passes."""
    there = service(node("only"), score={"charge_ttl_s": 10})
    passed = []
    for name in ("a", "b", "c"):
        passed.append((await there.filter(annotated(name, "6G"), ["only"]))["NodeNames"])
        there.clock.move(10.5)
    assert passed == [["only"], [], []]


async def test_a_pod_that_is_already_on_a_node_is_not_charged_again() -> None:
    there = service(node("only"), pods=[pod("a", node="only", egress="1G")])
    await there.filter(pod("a", egress="1G"), ["only"])
    assert len(there.parts.state.promises) == 0


async def test_a_charge_time_of_zero_switches_charges_off() -> None:
    there = service(node("only"), score={"charge_ttl_s": 0})
    await there.filter(annotated("a", "6G"), ["only"])
    assert (await there.filter(annotated("b", "6G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_that_comes_back_after_its_short_list_gets_every_node_that_fits_however_soon() -> None:
    """kube-scheduler takes a pod out of back-off at once when its queue is empty."""
    there = five_nodes(filter={"shortlist": 1})
    assert len((await there.filter(pod(**ASKS), NAMES))["NodeNames"]) == 1
    assert (await there.filter(pod(**ASKS), NAMES))["NodeNames"] == NAMES


async def test_a_pod_that_came_back_is_explained_as_filter_answers_it() -> None:
    there = five_nodes(filter={"shortlist": 1})
    told = await there.explain(pod(**ASKS), NAMES)
    assert sum(one["offered"] for one in told.values()) == 1
    await there.filter(pod(**ASKS), NAMES)
    told = await there.explain(pod(**ASKS), NAMES)
    assert all(one["offered"] for one in told.values())


async def test_a_pod_that_is_offered_every_node_late_is_promised_to_all_of_them() -> None:
    """5G over five nodes: 1G on each, of 10G. The scheduler may have no prioritize verb that would tell more."""
    there = five_nodes(filter={"shortlist": 1}, limits={"deadline_ms": 0.0001})
    assert (await there.filter(annotated("late", "5G"), NAMES))["NodeNames"] == NAMES
    answer = await there.filter(annotated("next", "9500M"), NAMES)
    assert answer["FailedNodes"] == dict.fromkeys(NAMES, "egress: wants 9.5G, 9G of 10G left")


async def test_a_pod_that_no_longer_fits_anywhere_is_promised_nothing() -> None:
    there = service(node("only"))
    await there.filter(annotated("a", "6G"), ["only"])
    there.put_node(node("only", egress="5G"))
    assert (await there.filter(annotated("a", "6G"), ["only"]))["NodeNames"] == []
    assert len(there.parts.state.promises) == 0


async def test_what_an_annotation_was_promised_counts_against_an_extended_resource() -> None:
    """6G of 10G by annotation, which kube-scheduler does not see: 5G as a resource do not fit beside it, 4G do."""
    there = service(node("only"))
    await there.filter(annotated("a", "6G"), ["only"])
    answer = await there.filter(pod("b", egress="5G"), ["only"])
    assert answer["FailedNodes"] == {"only": "egress: wants 5G, 4G of 10G left"}
    assert (await there.filter(pod("c", egress="4G"), ["only"]))["NodeNames"] == ["only"]


async def test_what_kube_scheduler_counts_itself_is_not_held_against_an_extended_resource() -> None:
    """Two of 6G on 10G: the second is for kube-scheduler to refuse, which knows sooner when the first is not bound."""
    there = service(node("only"))
    await there.filter(pod("a", egress="6G"), ["only"])
    assert (await there.filter(pod("b", egress="6G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_pod_of_lower_priority_does_not_take_the_room_that_preemption_made() -> None:
    """10G; 6G are made free for a pod of priority 100 with nominatedNodeName. Of 6G more only it, or a higher, passes."""
    there = service(node("only"))
    high = annotated("high", "6G")
    high["spec"]["priority"] = 100
    there.put_pod({**high, "status": {"phase": "Pending", "nominatedNodeName": "only"}})
    answer = await there.filter(annotated("low", "6G"), ["only"])
    assert answer["FailedNodes"] == {"only": "egress: wants 6G, 4G of 10G left"}
    assert (await there.filter(high, ["only"]))["NodeNames"] == ["only"]
    there.put_pod({**high, "status": {"phase": "Pending"}})
    higher = annotated("higher", "6G")
    higher["spec"]["priority"] = 101
    there.put_pod({**high, "metadata": {**high["metadata"], "uid": "other"}, "status": {"nominatedNodeName": "only"}})
    there.parts.state.delete_pod("uid-high")
    assert (await there.filter(higher, ["only"]))["NodeNames"] == ["only"]


def failed(name: str, version: int, message: str) -> Any:
    """A pending pod with the condition that kube-scheduler writes after an attempt."""
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": "2026-12-01T10:00:00Z",
    }
    it = annotated(name, "6G")
    it["metadata"]["resourceVersion"] = str(version)
    return {**it, "status": {"phase": "Pending", "conditions": [condition]}}


async def test_a_promise_ends_when_the_watch_tells_that_its_attempt_failed() -> None:
    there = service(node("only"))
    await there.filter(annotated("a", "6G"), ["only"])
    there.put_pod(failed("a", 7, "0/1 nodes are available"))
    assert (await there.filter(annotated("b", "10G"), ["only"]))["NodeNames"] == ["only"]


async def test_a_promise_survives_what_is_told_of_an_earlier_attempt() -> None:
    """The scheduler knew version 9 when it asked: what it knew then, and what is older, is no news."""
    there = service(node("only"))
    await there.filter(failed("a", 9, "second"), ["only"])
    for old in (failed("a", 9, "second"), failed("a", 8, "first"), failed("a", 10, "second")):
        there.put_pod(old)
        assert len(there.parts.state.promises) == 1, old["metadata"]["resourceVersion"]
    there.put_pod(failed("a", 11, "third"))
    assert len(there.parts.state.promises) == 0


async def test_a_pod_that_came_and_went_between_two_lists_is_promised_nothing() -> None:
    there = service(node("only"))
    await there.filter(annotated("a", "6G"), ["only"])
    there.parts.state.pods_listed({"other"}, there.clock.now_s)
    assert len(there.parts.state.promises) == 1, "the list may be from before the pod"
    there.clock.move(0.1)
    there.parts.state.pods_listed({"other"}, there.clock.now_s)
    assert len(there.parts.state.promises) == 0


async def test_a_node_named_twice_is_one_node() -> None:
    """6G on one node, not 3G twice."""
    there = service(node("only"))
    await there.prioritize(annotated("a", "6G"), ["only", "only"])
    answer = await there.filter(annotated("b", "6G"), ["only"])
    assert answer["FailedNodes"] == {"only": "egress: wants 6G, 4G of 10G left"}


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
    assert len(there.parts.state.promises) == 0
