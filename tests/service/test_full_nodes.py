"""nodeCacheCapable: false. Capacity from the nodes in the request; what is promised on them from the cache, by name."""

from __future__ import annotations

from typing import Any

from tests.builders import node, pod
from tests.service.harness import nodes_args, service


async def passed(there: Any, asked: Any, *nodes: Any) -> list[str]:
    answer = await there.post("filter", nodes_args(asked, nodes))
    assert answer["Error"] == ""
    return [item["metadata"]["name"] for item in answer["Nodes"]["items"]]


async def test_capacity_is_that_of_the_request_and_not_of_the_cache() -> None:
    there = service(node("a", egress="1G"), node("b", egress="100G"))
    assert await passed(there, pod(egress="5G"), node("a", egress="10G"), node("b", egress="1G")) == ["a"]


async def test_what_is_promised_on_a_known_name_counts_against_the_capacity_of_the_request() -> None:
    there = service(node("a"), pods=[pod("there", node="a", egress="6G")])
    assert await passed(there, pod(egress="4G"), node("a", egress="10G")) == ["a"]  # 6 + 4 = 10
    assert await passed(there, pod(egress="5G"), node("a", egress="10G")) == []  # 6 + 5 > 10
    assert await passed(there, pod(egress="5G"), node("a", egress="12G")) == ["a"]  # 6 + 5 < 12


async def test_a_template_node_that_nobody_knows_is_empty() -> None:
    there = service(node("a"), pods=[pod("there", node="a", egress="10G")])
    template = node("template-node-for-group-1-5731", egress="10G", ready=None)
    assert await passed(there, pod(egress="10G"), template) == ["template-node-for-group-1-5731"]
    assert await passed(there, pod(egress="11G"), template) == []


async def test_simulating_with_template_nodes_leaves_no_trace() -> None:
    there = service()
    templates = [node(f"template-{i}") for i in range(3)]
    for verb in ("filter", "prioritize"):
        await there.post(verb, nodes_args(pod(cpu="1", egress="1G"), templates))
    await there.post("filter", nodes_args(pod(cpu="1", egress="1G"), templates[:1]))
    assert there.parts.state.table.node_count == 2
    assert there.parts.state.table.find(["template-0"]).tolist() == [-1]
    assert len(there.parts.state.promises) == 0


async def test_full_nodes_are_judged_before_the_first_sync_too() -> None:
    there = service(node("a"), synced=False)
    assert await passed(there, pod(egress="5G"), node("new", egress="1G"), node("newer", egress="10G")) == ["newer"]


async def test_an_emptier_node_of_the_request_gets_the_higher_score() -> None:
    # The pod asks for CPU only: on `tilted` CPU is already ahead of memory, so `even` stays better balanced.
    there = service(
        node("even"),
        node("tilted"),
        pods=[pod("there", node="tilted", cpu="6"), pod("same", node="even", memory="24Gi")],
    )
    answer = await there.post("prioritize", nodes_args(pod(cpu="1"), [node("even"), node("tilted")]))
    scores = {entry["Host"]: entry["Score"] for entry in answer}
    assert scores["even"] > scores["tilted"]


async def test_not_ready_nodes_of_the_request_fail() -> None:
    there = service()
    assert await passed(there, pod(), node("node-1", ready="False"), node("node-2", ready="True")) == ["node-2"]


async def test_scores_come_in_the_order_of_the_nodes_also_for_nodes_that_are_unknown() -> None:
    nodes = [node(f"n-{i}") for i in (3, 1, 2)]
    answer = await service().post("prioritize", nodes_args(pod(cpu="1"), nodes))
    assert [entry["Host"] for entry in answer] == ["n-3", "n-1", "n-2"]


async def test_a_short_list_gives_back_the_best_nodes_in_full() -> None:
    there = service(filter={"shortlist": 1})
    nodes = [node("small", egress="1G"), {**node("large", egress="25G"), "spec": {"providerID": "x"}}]
    answer = await there.post("filter", nodes_args(pod(cpu="1", memory="4Gi", egress="500M"), nodes))
    assert answer["Nodes"]["items"] == [nodes[1]]
