"""The store or the API server goes away, agents die and come back: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.errors import ColumnClaimed, StoreUnavailable
from kubesteer.model.node_state import NodeState
from kubesteer.model.reward import RewardRecord
from tests.agent.builders import NODE, NOW_S, ended, node, pod, running, waiting
from tests.agent.harness import Running, agent_on
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.waiting import until

if TYPE_CHECKING:
    from tests.agent.conftest import Stores

OOM = ended(137, reason="OOMKilled")
NEVER_WRITES = {"store": {"flush_s": 100_000.0}}


def failing(name: str = "web-1", restarts: int = 0) -> dict[str, object]:
    return pod(name, waiting("CrashLoopBackOff"), last=OOM, restarts=restarts)


async def settled(agent: Running) -> None:
    await until(lambda: agent.agent.health.is_ready() and not agent.agent.column.dirty())


async def test_an_agent_killed_between_outcome_and_write_loses_nothing_and_counts_nothing_twice(
    api: FakeApi, stores: Stores
) -> None:
    """Run 0 failed: 1. The second agent, and the third which finds it written, count the same 1; run 1 makes it 2."""
    api.put(failing())
    async with agent_on(api, stores.column(), NEVER_WRITES) as first:
        await until(lambda: first.estimate() is not None and first.agent.column.is_loaded)
        await first.kill()
    assert await stores.records() == {}
    for _ in range(2):
        async with agent_on(api, stores.column()) as agent:
            await until(lambda: agent.estimate() is not None)
            await settled(agent)
            assert agent.estimate().evidence == 1
            await agent.kill()
        assert (await stores.records())["web"].extra["count"] == 1
    api.put(failing(restarts=1))
    async with agent_on(api, stores.column()) as agent:
        await until(lambda: agent.estimate() is not None and agent.estimate().evidence == 2)
    assert (await stores.records())["web"].extra["count"] == 2


async def test_an_agent_that_is_told_to_stop_writes_first_and_gives_the_claim_back(
    api: FakeApi, stores: Stores
) -> None:
    api.put(failing())
    async with agent_on(api, stores.column("agent-1"), NEVER_WRITES) as agent:
        await until(lambda: agent.estimate() is not None and agent.agent.column.is_loaded)
    assert (await stores.records())["web"].extra["count"] == 1
    async with agent_on(api, stores.column("agent-2"), holder="agent-2") as other:
        await until(other.agent.health.is_ready)


async def test_an_agent_that_comes_back_under_another_name_of_its_node_leaves_the_old_column_alone(
    api: FakeApi, stores: Stores
) -> None:
    """The node is renamed after one failed run: the old column keeps its 1, the new one counts its own node's 1."""
    api.put(failing())
    async with agent_on(api, stores.column()) as agent:
        await settled(agent)
        await until(lambda: agent.estimate() is not None and not agent.agent.column.dirty())
    old = await stores.records()
    api.delete(failing())
    api.put(pod("db-1", waiting("CrashLoopBackOff"), last=OOM, pod_type="db", on="renamed"))
    async with agent_on(api, stores.column(node="renamed"), node="renamed") as agent:
        await settled(agent)
        await until(lambda: agent.estimate("db") is not None and not agent.agent.column.dirty())
        assert agent.estimate("web") is None
    assert await stores.records() == old
    assert {name: one.extra["count"] for name, one in (await stores.records("renamed")).items()} == {"db": 1}


async def test_another_learner_drops_beliefs_and_says_how_many(api: FakeApi, memory: MemoryStore) -> None:
    api.put(failing())
    api.put(pod("db-1", waiting("CrashLoopBackOff"), last=OOM, pod_type="db"))
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.agent.column.counted == 2)
        await settled(agent)
        assert agent.lines("what another learner believed is dropped") == []
    ewma = {"learning": {"learner": "ewma"}}
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1"), ewma) as agent:
        await settled(agent)
        [line] = agent.lines("what another learner believed is dropped")
    assert (line["level"], line["records"], line["learner"], line["theirs"]) == ("warning", 2, "ewma", "beta")


async def test_readiness_names_who_holds_the_claim_that_is_waited_for(api: FakeApi, stores: Stores) -> None:
    patient = {"store": {"claim_wait_s": 100.0}}
    async with agent_on(api, stores.column("agent-1")) as first:
        await settled(first)
        async with agent_on(api, stores.column("agent-2"), patient, holder="agent-2") as second:
            await until(lambda: second.agent.writer.waits_for)
            told = second.agent.health.report()
            assert "claimed by 'agent-1'" in told["claim"]["waits_for"]
            assert any("claimed by 'agent-1'" in why for why in told["waitingFor"])
            first.stop.set()
            await until(second.agent.health.is_ready)
            assert second.agent.health.report()["claim"]["waits_for"] is None


async def test_what_happens_while_the_store_is_away_is_written_when_it_is_back(api: FakeApi, stores: Stores) -> None:
    """10 pods of 10 types fail meanwhile, one of them twice: 11 runs."""
    async with agent_on(api, stores.column()) as agent:
        await settled(agent)
        stores.go_away()
        for number in range(10):
            api.put(pod(f"p-{number}", waiting("CrashLoopBackOff"), last=OOM, pod_type=f"type-{number}"))
        await until(lambda: agent.agent.column.counted == 10)
        api.put(pod("p-0", waiting("CrashLoopBackOff"), last=OOM, pod_type="type-0", restarts=1))
        await until(lambda: agent.agent.column.counted == 11)
        await until(lambda: agent.agent.health.report()["store"]["last_error"])
        assert agent.agent.health.is_ready()
        stores.come_back()
        await settled(agent)
        assert agent.agent.health.report()["store"]["last_error"] is None
        records = await stores.records()
        assert {name: record.extra["count"] for name, record in records.items()} == {
            "type-0": 2,
            **{f"type-{number}": 1 for number in range(1, 10)},
        }
        assert len(agent.lines("the store is away; nothing is lost meanwhile")) >= 1


async def test_an_agent_that_starts_without_its_store_learns_at_once_and_counts_once_what_the_store_had(
    api: FakeApi, memory: MemoryStore
) -> None:
    """The store counts run 0 already. The agent sees runs 0 and 1 before it can read that: 2 in all."""
    api.put(failing())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await settled(agent)
        await until(lambda: agent.estimate() is not None and not agent.agent.column.dirty())
        await agent.kill()
    memory.go_away("the test said so")
    api.put(failing(restarts=1))
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.lines("outcome"))
        assert not agent.agent.health.is_ready()
        memory.come_back()
        await settled(agent)
        await until(lambda: agent.estimate() is not None and agent.estimate().evidence == 2)
        await settled(agent)
    [record] = await memory.list(NODE)
    assert record.extra["count"] == 2


async def test_a_store_that_is_full_is_told_once_though_it_answers(api: FakeApi, memory: MemoryStore) -> None:
    """As etcd without space: the claim can be kept, and nothing can be written."""
    full = asyncio.Event()

    class Filling(MemoryColumnStore):
        kept = 0

        async def keep(self) -> bool:
            self.kept += 1
            return await super().keep()

        async def write(self, puts: Sequence[RewardRecord], deletes: Sequence[str] = ()) -> None:
            if full.is_set():
                raise StoreUnavailable("database space exceeded")
            await super().write(puts, deletes)

    store = Filling(memory, node=NODE, holder="agent-1")
    async with agent_on(api, store) as agent:
        await settled(agent)
        full.set()
        api.put(failing())
        await until(lambda: agent.agent.writer.fault)
        before = store.kept
        while store.kept < before + 3:
            assert agent.agent.writer.fault == "database space exceeded"
            await asyncio.sleep(0.01)
        full.clear()
        await settled(agent)
        assert agent.agent.writer.fault is None
        assert len(agent.lines("the store is away; nothing is lost meanwhile")) == 1
        assert len(agent.lines("the store is back")) == 1


async def test_a_store_that_lost_everything_is_filled_again(api: FakeApi, memory: MemoryStore) -> None:
    api.put(failing())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.estimate() is not None)
        await settled(agent)
        memory.wipe()
        assert await memory.list(NODE) == []
        await until(lambda: agent.lines("the store has lost the column; it is written again"))
        await settled(agent)
    assert [record.extra["count"] for record in await memory.list(NODE)] == [1]


async def test_the_second_agent_of_a_node_refuses_to_start_and_says_who_holds_it(api: FakeApi, stores: Stores) -> None:
    async with agent_on(api, stores.column("kube-system/agent-x")) as first:
        await until(first.agent.health.is_ready)
        lists = len(api.asked("list"))
        async with agent_on(api, stores.column("agent-2"), holder="agent-2") as second:
            error = await second.end()
        assert isinstance(error, ColumnClaimed)
        assert "'kube-system/agent-x'" in str(error)
        assert NODE in str(error)
        assert len(api.asked("list")) == lists
        api.put(failing())
        await until(lambda: first.estimate() is not None)
        await settled(first)
        assert (await stores.records())["web"].extra["count"] == 1


async def test_the_claim_of_an_agent_that_was_killed_is_waited_for(api: FakeApi) -> None:
    now_s = 0.0
    memory = MemoryStore(clock=lambda: now_s)
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="old", claim_ttl_s=15.0)) as old:
        await until(old.agent.health.is_ready)
        await old.kill()
    waits = {"store": {"claim_wait_s": 3600.0}}
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="new"), waits, holder="new") as new:
        await until(lambda: new.lines("waiting for another agent's claim"))
        await new.turns()
        assert not new.agent.health.is_ready()
        now_s = 15.0
        await until(new.agent.health.is_ready)
        assert len(new.lines("waiting for another agent's claim")) == 1


async def test_an_agent_whose_claim_was_taken_over_stops_and_writes_nothing_more(
    api: FakeApi, memory: MemoryStore
) -> None:
    mine = MemoryColumnStore(memory, node=NODE, holder="agent-1")
    async with agent_on(api, mine, NEVER_WRITES) as agent:
        await until(agent.agent.health.is_ready)
        api.put(failing())
        await until(lambda: agent.estimate() is not None)
        other = MemoryColumnStore(memory, node=NODE, holder="agent-2")
        await mine.close()
        await other.claim()
        mine._claim = memory.grant(15.0)
        error = await agent.end()
    assert isinstance(error, ColumnClaimed)
    assert error.holder == "agent-2"
    assert await memory.list(NODE) == []


@pytest.mark.parametrize("fault", ["cut", "compacted", "restarted", "refused"])
async def test_what_happens_while_the_api_server_is_away_is_learned_once_when_it_is_back(
    api: FakeApi, memory: MemoryStore, fault: str
) -> None:
    """web-1 failed before, and once more while nobody watched; web-2 is new: 3 runs."""
    api.put(failing())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.estimate() is not None)
        if fault == "restarted":
            await api.stop()
        api.put(failing(restarts=1))
        api.put(failing("web-2"))
        match fault:
            case "cut":
                api.cut()
            case "compacted":
                api.compact()
                api.cut()
            case "restarted":
                await until(lambda: agent.agent.health.report()["watch"]["last_error"])
                await api.start()
            case "refused":
                api.refusals["list"].extend(Refusal(status) for status in (500, 429, 503))
                api.cut()
        await until(lambda: agent.estimate().evidence == 3)
        await agent.turns()
        await settled(agent)
    [record] = await memory.list(NODE)
    assert record.extra["count"] == 3


async def test_a_pod_that_cannot_be_decoded_does_not_hide_the_others(api: FakeApi, memory: MemoryStore) -> None:
    api.raw_items["pods"] = ['{"metadata":{"name":"odd","uid":"odd"},"spec":7}']
    api.put(failing())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.estimate() is not None)
        told = agent.agent.health.report()["watch"]
    assert told["skipped"] == 1
    assert "odd" in told["last_error"]


async def test_an_agent_with_no_word_from_the_store_says_what_it_waits_for(api: FakeApi, memory: MemoryStore) -> None:
    memory.go_away("closed on Sundays")
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.agent.health.report()["watch"]["age_s"] is not None)
        told = agent.agent.health.report()
        assert told["ready"] is False
        assert told["claim"]["held"] is False
        assert any("closed on Sundays" in reason for reason in told["waitingFor"])


class LosesEveryAnswer(MemoryColumnStore):
    """What is asked is done, and every other answer is lost on the way."""

    lost = 0

    async def write(self, *args: object) -> None:
        await super().write(*args)  # type: ignore[arg-type]
        self.lost += 1
        if self.lost % 2:
            raise StoreUnavailable("the answer was lost")


async def test_a_write_that_was_done_and_not_confirmed_is_repeated_without_harm(
    api: FakeApi, memory: MemoryStore
) -> None:
    store = LosesEveryAnswer(memory, node=NODE, holder="agent-1")
    async with agent_on(api, store) as agent:
        for number in range(4):
            api.put(failing(f"web-{number}"))
            await until(lambda number=number: (agent.estimate() or [0, 0])[1] == number + 1)
            await settled(agent)
    assert store.lost >= 2
    [record] = await memory.list(NODE)
    assert (record.evidence, record.extra["count"]) == (4.0, 4)


async def test_a_node_made_anew_is_a_new_node_with_the_same_column(api: FakeApi, memory: MemoryStore) -> None:
    api.put(node(uid="first"))
    api.put(failing())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await until(lambda: agent.estimate() is not None and agent.agent.health.report()["node"]["found"])
        api.delete(node(uid="first"))
        api.delete(failing())
        await until(lambda: not agent.agent.health.report()["node"]["found"])
        api.put(node(uid="second"))
        await until(lambda: agent.lines("the node was made anew"))
        assert agent.estimate().evidence == 1


async def test_the_state_of_the_node_goes_with_its_agent(api: FakeApi, memory: MemoryStore) -> None:
    states: dict[str, NodeState] = {}

    class Sink:
        def put(self, state: NodeState) -> None:
            states[state.node] = state

        def delete(self, name: str) -> None:
            states.pop(name, None)

        def replace(self, all_states: object) -> None:
            pass

    from kubesteer.clients.rewards.memory import MemoryNodeStates

    source = MemoryNodeStates(memory, Sink(), clock=lambda: 0.0)
    following = asyncio.create_task(source.run())
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")):
        await until(lambda: NODE in states)
        assert states[NODE].limit_bps == {"egress": 9_500_000_000, "ingress": 9_500_000_000}
        assert states[NODE].time_s == NOW_S
    assert states == {}
    following.cancel()


async def test_a_hundred_pods_that_restart_at_once_are_all_counted(api: FakeApi, memory: MemoryStore) -> None:
    for number in range(110):
        api.put(pod(f"p-{number}", running(NOW_S - 1), pod_type=f"type-{number % 5}"))
    async with agent_on(api, MemoryColumnStore(memory, node=NODE, holder="agent-1")) as agent:
        await settled(agent)
        for number in range(110):
            api.put(pod(f"p-{number}", running(NOW_S), last=OOM, restarts=1, pod_type=f"type-{number % 5}"))
        await until(lambda: agent.agent.column.counted == 110)
        await settled(agent)
    assert sorted(record.extra["count"] for record in await memory.list(NODE)) == [22] * 5


@pytest.mark.parametrize("loop", ["learning", "network", "warnings"])
async def test_a_loop_that_returns_ends_the_agent_with_a_reason(api: FakeApi, stores: Stores, loop: str) -> None:
    """Its process must not look as if it had been told to stop."""

    async def return_at_once() -> None:
        return

    async with agent_on(api, stores.column(), replaced={loop: return_at_once}) as agent:
        assert f"task '{loop}' ended by itself (it returned)" in str(await agent.end())
        (line,) = agent.lines("task ended by itself")
    assert line["task"] == loop


async def test_an_agent_told_to_stop_at_the_moment_of_its_claim_ends_well(api: FakeApi, stores: Stores) -> None:
    async with agent_on(api, stores.column()) as agent:
        agent.stop.set()
        assert await agent.end() is None
