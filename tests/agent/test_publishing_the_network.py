"""What an agent tells of its node's link: to the API server on its own node only, and to the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.node_state import NodeState
from monitor_agent.link import NodeLink
from monitor_agent.probes.links import LinkSettings
from monitor_agent.probes.rates import RateRules
from tests.agent.builders import NODE, NOW_S, node, pod, running
from tests.agent.harness import FakeLink, Running, agent_on
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.network_probes.fake_sys import FakeMachine
from tests.waiting import until

EGRESS = "kubesteer.io/egress-bps"
G = 1_000_000_000
TAINT = {"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"}


class Column(MemoryColumnStore):
    """Remembers every state that was written."""

    def __init__(self, memory: MemoryStore) -> None:
        super().__init__(memory, node=NODE, holder="agent-1")
        self.states: list[NodeState] = []

    async def put_state(self, state: NodeState) -> None:
        await super().put_state(state)
        self.states.append(state)


@pytest.fixture
def store(memory: MemoryStore) -> Column:
    return Column(memory)


@asynccontextmanager
async def publishing(
    api: FakeApi, store: Column, link: FakeLink | None = None, **network: Any
) -> AsyncIterator[Running]:
    async with agent_on(api, store, {"network": network}, link=link) as agent:
        yield agent


def amounts(api: FakeApi, name: str = NODE) -> tuple[int, int]:
    """Capacity and allocatable of egress; -1 where there is none."""
    status = api.objects["nodes"][f"/{name}"]["status"]
    return tuple(int(status[part].get(EGRESS, -1)) for part in ("capacity", "allocatable"))  # type: ignore[return-value]


def reasons(api: FakeApi) -> list[str]:
    return [event["reason"] for _, event in api.posted]


async def rounds(agent: Running, count: int = 3) -> None:
    """Lets the loop read the link a few times more."""
    reads = 0
    original = agent.link.read

    def read(now_s: float) -> Any:
        nonlocal reads
        reads += 1
        return original(now_s)

    agent.link.read = read  # type: ignore[method-assign]
    await until(lambda: reads > count)


async def test_the_speed_less_the_reserve_is_published_on_the_own_node_and_no_other(
    api: FakeApi, store: Column
) -> None:
    """10 Gbit/s less 5 % is 9.5 Gbit/s."""
    api.put(node())
    api.put(node("node-2", uid="other"))
    async with publishing(api, store) as agent:
        await until(lambda: amounts(api) == (9_500_000_000, 9_500_000_000))
        await agent.turns()  # the watch has told the agent of it
        published = len(api.patched)
        await rounds(agent)
        assert len(api.patched) == published
    assert {name for name, _, _ in api.patched} == {NODE}
    assert amounts(api, "node-2") == (-1, -1)


async def test_a_speed_that_changes_is_published_again_with_an_event(api: FakeApi, store: Column) -> None:
    api.put(node())
    async with publishing(api, store) as agent:
        await until(lambda: amounts(api)[0] == 9_500_000_000)
        agent.link.speed_bps = 25 * G
        await until(lambda: amounts(api) == (23_750_000_000, 23_750_000_000))
        await until(lambda: "NetworkSpeedChanged" in reasons(api))
    about = api.posted[0][1]["involvedObject"]
    assert about == {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "uid-node"}


async def test_a_lost_link_never_takes_away_what_pods_were_promised(api: FakeApi, store: Column) -> None:
    """300M are promised: the node publishes 300M instead of 0, and 0 once the pod has left. The store is told 0."""
    api.put(node())
    here = pod("web-1", running(NOW_S - 10), egress="300M")
    api.put(here)
    async with publishing(api, store) as agent:
        await until(lambda: amounts(api)[0] == 9_500_000_000)
        agent.link.up = False
        await until(lambda: amounts(api) == (300_000_000, 300_000_000))
        await until(lambda: "NetworkLinkLost" in reasons(api))
        await until(lambda: store.states[-1].limit_bps == {"egress": 0, "ingress": 0})
        api.delete(here)
        await until(lambda: amounts(api) == (0, 0))
        agent.link.up = True
        await until(lambda: amounts(api)[0] == 9_500_000_000)
        await until(lambda: "NetworkLinkBack" in reasons(api))


async def test_nothing_is_published_before_the_pods_are_known(api: FakeApi, store: Column) -> None:
    """A link of 100M at the start would be published as 95M, below the feet of pods that were promised 300M."""
    api.put(node(**{EGRESS: "9500M"}))
    api.put(pod("web-1", running(NOW_S - 10), egress="300M"))
    api.refusals["list"].extend([Refusal(500)] * 4)
    async with publishing(api, store, FakeLink(speed_bps=100_000_000)):
        await until(lambda: api.patched)
    assert [change["status"]["capacity"][EGRESS] for _, _, change in api.patched] == ["300000000"]


async def test_a_kubelet_that_registers_its_node_anew_is_published_for_again(api: FakeApi, store: Column) -> None:
    """It sets extended resources to 0; and a node that was deleted and made anew has none."""
    api.put(node())
    async with publishing(api, store) as agent:
        await until(lambda: amounts(api)[0] == 9_500_000_000)
        api.put(node(**{EGRESS: "0"}))
        await until(lambda: amounts(api) == (9_500_000_000, 9_500_000_000))
        api.delete(node())
        await until(lambda: not agent.agent.health.report()["node"]["found"])
        api.put(node(uid="second"))
        await until(lambda: amounts(api) == (9_500_000_000, 9_500_000_000))


async def test_a_node_that_is_not_there_is_not_written_to(api: FakeApi, store: Column) -> None:
    api.put(node("node-2"))
    async with publishing(api, store) as agent:
        await until(lambda: store.states)
        await rounds(agent)
        assert agent.agent.health.report()["node"] == {"name": NODE, "found": False}
    assert api.patched == []


async def test_what_the_api_server_refuses_is_tried_again_and_told_once(api: FakeApi, store: Column) -> None:
    api.put(node())
    api.refusals["patch"].extend([Refusal(403, message="not allowed to patch nodes/status")] * 3)
    async with publishing(api, store) as agent:
        await until(lambda: amounts(api)[0] == 9_500_000_000)
        assert len(agent.lines("node not written; tried again")) == 1
        await rounds(agent)
        assert agent.agent.health.report()["network"]["last_error"] is None


async def test_an_unknown_speed_publishes_nothing_and_says_what_to_do(api: FakeApi, store: Column) -> None:
    api.put(node())
    async with publishing(api, store, FakeLink(speed_bps=None)) as agent:
        await until(lambda: "NetworkSpeedUnknown" in reasons(api))
        await rounds(agent)
    assert api.patched == []
    assert reasons(api) == ["NetworkSpeedUnknown"]


async def test_a_mistyped_interface_takes_nothing_away_and_is_told_with_its_setting(
    api: FakeApi, store: Column, tmp_path: Path
) -> None:
    api.put(node(**{EGRESS: "9500M"}))
    link = NodeLink(LinkSettings("eht0", root=FakeMachine(tmp_path).nic("eth0").root), RateRules())
    async with publishing(api, store, link, interface="eht0") as agent:  # type: ignore[arg-type]
        await until(lambda: "NetworkSpeedUnknown" in reasons(api))
        await rounds(agent)
        assert len(agent.lines("network")) == 1
    assert "network.interface: there is no 'eht0'" in api.posted[0][1]["message"]
    assert (api.patched, len(api.posted), store.states[-1].limit_bps) == ([], 1, {})


async def test_a_mistyped_interface_with_a_speed_in_the_settings_is_logged_once(
    api: FakeApi, store: Column, tmp_path: Path
) -> None:
    """The speed is published all the same: it needs no link to be read."""
    api.put(node())
    link = NodeLink(LinkSettings("eht0", root=FakeMachine(tmp_path).nic("eth0").root), RateRules())
    direction = {"direction": "egress", "resource_names": [EGRESS], "speed_bps": "1G"}
    async with publishing(api, store, link, directions=[direction]) as agent:  # type: ignore[arg-type]
        await until(lambda: amounts(api) == (950_000_000, 950_000_000))
        await rounds(agent)
        assert ["there is no 'eht0'" in line["why"] for line in agent.lines("no traffic is measured")] == [True]


async def test_a_speed_in_the_settings_is_published_with_its_overcommit(api: FakeApi, store: Column) -> None:
    """1 Gbit/s less 10 %, twice: 1.8 Gbit/s."""
    api.put(node())
    direction = {"direction": "egress", "resource_names": [EGRESS], "speed_bps": G, "overcommit": 2.0}
    async with publishing(api, store, FakeLink(speed_bps=None), reserve=0.1, directions=[direction]):
        await until(lambda: amounts(api) == (1_800_000_000, 1_800_000_000))


async def test_a_degraded_link_is_marked_where_the_settings_want_it(api: FakeApi, store: Column) -> None:
    api.put(node())
    async with publishing(api, store, mark="both") as agent:
        await until(lambda: _condition(api) == ("False", "LinkAsPromised"))
        agent.link.up = False
        await until(lambda: _condition(api) == ("True", "LinkLost"))
        await until(lambda: api.objects["nodes"][f"/{NODE}"]["spec"].get("taints") == [TAINT])
        agent.link.up = True
        await until(lambda: api.objects["nodes"][f"/{NODE}"]["spec"].get("taints") == [])
        await until(lambda: _condition(api) == ("False", "LinkAsPromised"))


def _condition(api: FakeApi) -> tuple[str, str]:
    conditions = api.objects["nodes"][f"/{NODE}"]["status"].get("conditions", [])
    return next(
        ((c["status"], c["reason"]) for c in conditions if c["type"] == "kubesteer.io/NetworkDegraded"), ("", "")
    )


async def test_an_agent_that_is_not_to_publish_measures_all_the_same(api: FakeApi, store: Column) -> None:
    api.put(node())
    async with publishing(api, store, publish=False) as agent:
        await until(lambda: store.states)
        await rounds(agent)
    assert api.patched == []
    assert store.states[0].limit_bps["egress"] == 9_500_000_000


async def test_the_state_is_written_when_traffic_moves_by_a_share_of_the_link_or_time_has_passed(
    api: FakeApi, store: Column
) -> None:
    """5 % of 9.5 Gbit/s are 475 Mbit/s: 400 Mbit/s are no news, 500 Mbit/s are."""
    async with publishing(api, store) as agent:
        await until(lambda: store.states)
        agent.link.rate_bps["egress"] = 0.4 * G
        await rounds(agent)
        assert len(store.states) == 1
        agent.link.rate_bps["egress"] = 0.5 * G
        await until(lambda: len(store.states) == 2)
        assert store.states[1].rate_bps["egress"] == 0.5 * G
        await rounds(agent)
        assert len(store.states) == 2
        agent.time.now_s += 30
        await until(lambda: len(store.states) == 3)
        agent.time.now_s -= 3600
        await until(lambda: len(store.states) == 4)


async def test_a_store_that_does_not_answer_holds_up_nothing_that_is_published(
    api: FakeApi, memory: MemoryStore
) -> None:
    silent = asyncio.Event()

    class Silent(Column):
        async def put_state(self, state: NodeState) -> None:
            if silent.is_set():
                await asyncio.get_running_loop().create_future()
            await super().put_state(state)

    store = Silent(memory)
    api.put(node())
    async with publishing(api, store) as agent:
        await until(lambda: store.states and amounts(api)[0] == 9_500_000_000)
        silent.set()
        agent.time.now_s += 30
        await rounds(agent)
        agent.link.up = False
        await until(lambda: amounts(api) == (0, 0))


async def test_an_api_server_that_keeps_refusing_is_asked_less_and_less(api: FakeApi, store: Column) -> None:
    """Attempts at the 1st, 2nd, 4th, 8th, 16th, 32nd, 48th and 64th reading: 8, or one less where the count began late."""
    api.put(node())
    api.refusals["patch"].extend(Refusal(403) for _ in range(100))
    async with publishing(api, store) as agent:
        await until(lambda: len(api.refusals["patch"]) < 100)
        await rounds(agent, 64)
        assert 7 <= 100 - len(api.refusals["patch"]) <= 8
        api.refusals["patch"].clear()
        await until(lambda: amounts(api)[0] == 9_500_000_000)


async def test_a_store_that_was_away_gets_the_newest_state(api: FakeApi, store: Column, memory: MemoryStore) -> None:
    async with publishing(api, store) as agent:
        await until(lambda: store.states)
        memory.go_away("the test said so")
        agent.link.rate_bps["egress"] = 5.0 * G
        await rounds(agent)
        agent.link.rate_bps["egress"] = 6.0 * G
        await rounds(agent)
        memory.come_back()
        await until(lambda: len(store.states) == 2)
        assert store.states[1].rate_bps["egress"] == 6.0 * G
