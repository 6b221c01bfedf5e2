"""What agents tell of their nodes' networks: it reaches filter, and health and metrics tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.node_state import NodeState, encode_state, state_key
from tests.builders import node, pod
from tests.service.harness import START_S, Service, on_free_ports, running, service
from tests.waiting import until


def state(name: str = "node-1", *, age_s: float = 5.0, rate: Any = None, limit: Any = None) -> NodeState:
    return NodeState(name, START_S - age_s, rate or {}, limit or {})


async def refusals(there: Service, egress: str = "300M") -> dict[str, str]:
    return (await there.filter(pod(egress=egress), ["node-1", "node-2"]))["FailedAndUnresolvableNodes"]


async def test_a_node_whose_link_is_down_gets_no_pod_with_an_slo() -> None:
    there = service(node_states=[state(limit={"egress": 0})])
    assert await refusals(there) == {"node-1": "egress: wants 300M, the link carries 0 now"}
    assert there.metric("refused_nodes_total", cause="link") == 1
    assert await refusals(service(node_states=[state(limit={"egress": 0})], filter={"limit_fresh_s": 0})) == {}


async def test_a_state_ages_against_the_wall_clock() -> None:
    there = service(node_states=[state(age_s=290, limit={"egress": 0})])
    assert list(await refusals(there)) == ["node-1"]
    there.clock.move(11)
    assert await refusals(there) == {}


async def test_a_state_waits_for_its_node_and_outlives_it() -> None:
    there = service(node("node-2"), node_states=[state(limit={"egress": 0})])
    assert await refusals(there) == {"node-1": "node is unknown to kubesteer"}
    for _ in range(2):
        there.put_node(node("node-1"))
        assert await refusals(there) == {"node-1": "egress: wants 300M, the link carries 0 now"}
        there.parts.state.delete_node("node-1")
    there.parts.node_states.delete("node-1")
    there.put_node(node("node-1"))
    assert await refusals(there) == {}


async def test_directions_go_by_their_names_and_others_are_passed_over() -> None:
    there = service(
        node("node-1", ingress="10G"), node("node-2"), node_states=[state(limit={"ingress": 10**8, "sideways": 0})]
    )
    assert await refusals(there) == {}
    answer = await there.filter(pod(ingress="300M"), ["node-1"])
    assert answer["FailedAndUnresolvableNodes"] == {"node-1": "ingress: wants 300M, the link carries 100M now"}


async def test_measured_rates_come_from_the_agent() -> None:
    """9.8G of 10G in use: no 300M more. Where the agent measures another direction only, nothing is in use here."""
    fresh = {"filter": {"measured_fresh_s": 60}}
    there = service(node_states=[state(rate={"egress": 9.8e9})], **fresh)
    assert await refusals(there) == {"node-1": "egress: wants 300M, 9.8G of 10G measured in use"}
    assert await refusals(service(node_states=[state(rate={"ingress": 9.8e9})], **fresh)) == {}


async def test_a_figure_that_no_link_carries_does_no_harm() -> None:
    there = service(node_states=[state(limit={"egress": 1e300}, rate={"egress": 1e300})])
    assert await refusals(there) == {}
    assert there.parts.state.table.limit_bps[0].max() == 2**53


async def test_health_and_metrics_tell_how_many_and_how_old() -> None:
    there = service(node_states=[state(age_s=7), state("node-9", age_s=3), state("deleted-last-week", age_s=600_000)])
    told = (await there.ops("/readyz")).json()["nodeStates"]
    assert (told["kind"], told["synced"], told["nodes"], told["newest_age_s"]) == ("memory", True, 3, 3)
    assert (there.metric("node_states"), there.metric("node_states_age_seconds")) == (3, pytest.approx(3))
    # Of the nodes that exist, node-1 and node-2, only the first has one.
    assert there.metric("node_states_oldest_age_seconds") == pytest.approx(7)


async def test_states_are_followed_while_the_service_runs() -> None:
    built = service(**on_free_ports())
    key = state_key(built.store.prefix, "node-1")
    async with running(built):
        built.store.put_entry(key, encode_state(state(limit={"egress": 10**8})))
        await until(lambda: len(built.parts.node_states) == 1)
        assert list(await refusals(built)) == ["node-1"]
        built.store.remove_entry(key)
        await until(lambda: len(built.parts.node_states) == 0)
        assert await refusals(built) == {}
