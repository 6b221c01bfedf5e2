"""What an agent tells of the API server that it follows, and of a node that is not there."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from tests.agent.builders import NODE, node
from tests.agent.harness import Running, agent_on
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.waiting import until

AWAY = "the API server cannot be followed; tried again"
BACK = "the API server is followed again"
NO_NODE = "no node of this name in the cluster; is node.name or NODE_NAME right?"


@pytest.fixture
def column(memory: MemoryStore) -> MemoryColumnStore:
    return MemoryColumnStore(memory, node=NODE, holder="agent-1")


def told(agent: Running, event: str) -> list[str]:
    return [line["what"] for line in agent.lines(event)]


async def test_an_api_server_that_goes_away_is_told_once_and_so_is_its_return(
    api: FakeApi, column: MemoryColumnStore
) -> None:
    api.put(node())
    async with agent_on(api, column) as agent:
        await until(agent.agent.health.is_ready)
        assert agent.agent.watches.failing() == 0
        await api.stop()
        await until(lambda: sorted(told(agent, AWAY)) == ["node", "pods"])
        assert "did not answer" in agent.lines(AWAY)[0]["why"]
        assert agent.agent.watches.failing() == 2
        await agent.turns()
        assert told(agent, BACK) == []
        await api.start()
        await until(lambda: sorted(told(agent, BACK)) == ["node", "pods"])
        await agent.turns()
        assert (len(told(agent, AWAY)), len(told(agent, BACK)), agent.agent.watches.failing()) == (2, 2, 0)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_list_that_is_refused_is_told_with_what_was_asked(
    api: FakeApi, column: MemoryColumnStore, status: int
) -> None:
    why = "User agent cannot list resource pods"
    api.refusals["list"].extend([Refusal(status, message=why)] * 1000)
    async with agent_on(api, column) as agent:
        await until(lambda: len(told(agent, AWAY)) == 2)
        line = next(line for line in agent.lines(AWAY) if line["what"] == "pods")
        assert line["why"] == f"GET /api/v1/pods: the API server answered {status}: {why}"
        assert "watches_failing 2.0" in _metrics(agent)


async def test_a_watch_that_is_refused_while_lists_are_not_is_told_too(api: FakeApi, column: MemoryColumnStore) -> None:
    why = "User agent cannot watch resource"
    api.refusals["watch"].extend([Refusal(403, message=why)] * 1000)
    async with agent_on(api, column) as agent:
        await until(lambda: sorted(set(told(agent, AWAY))) == ["node", "pods"])
        assert agent.lines(AWAY)[0]["why"].endswith(f"answered 403: {why}")


async def test_a_node_that_is_not_in_the_cluster_is_told_once(api: FakeApi, column: MemoryColumnStore) -> None:
    api.put(node("node-2"))
    async with agent_on(api, column) as agent:
        await until(lambda: agent.lines(NO_NODE))
        await agent.turns()
        assert [(line["level"], line["node"]) for line in agent.lines(NO_NODE)] == [("warning", NODE)]


async def test_a_node_that_is_there_is_not_missed(api: FakeApi, column: MemoryColumnStore) -> None:
    api.put(node())
    async with agent_on(api, column) as agent:
        await until(agent.agent.health.is_ready)
        await agent.turns()
        api.delete(node())
        await until(lambda: agent.lines("the node is gone"))
        await agent.turns()
        assert agent.lines(NO_NODE) == []


def _metrics(agent: Running) -> str:
    return generate_latest(agent.agent.metrics.registry).decode()
