"""set and reset while the node's agent runs: the operator's word is kept, and learning goes on from there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from random import Random

import pytest
from aetcd import rpc

from kubesteer.clients.kubernetes.backoff import Backoff
from kubesteer.clients.rewards import etcd_column as etcd_column_module
from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.column import Column
from kubesteer.rewards.learners import BetaLearner
from monitor_agent.column_writer import ColumnWriter, WriterPace
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics
from tests.cli.command import EtcdCase, FileCase, Result, run


class Agent:
    """The half of an agent that learns and writes."""

    def __init__(self, case: EtcdCase) -> None:
        self.column = Column("n1", BetaLearner(half_life_s=1e9))
        self.store = etcd_column(case.server.options(case.prefix), node="n1", holder="agent-1")
        self.writer = ColumnWriter(
            self.store,
            self.column,
            pace=WriterPace(flush_s=0.1, keep_s=1.0, claim_wait_s=1.0),
            backoff=Backoff(Random(1), asyncio.sleep),
            clock=time.monotonic,
            unix_clock=time.time,
            log=Log(logging.getLogger("test")),
            metrics=Metrics(),
        )

    async def learn(self, value: float, run_number: int, pod: str = "uid-1") -> None:
        outcome = Outcome("web", pod, f"shop/{pod}", "main", Stage.RUN, run_number, value, "Error", time.time())
        for _ in range(2):  # an agent judges all pods again and again
            self.column.learn(outcome, time.time())
            await self.writer.flush()


@pytest.fixture
async def agent(in_etcd: EtcdCase) -> AsyncIterator[Agent]:
    here = Agent(in_etcd)
    await here.store.claim()
    here.column.load(await here.store.load(), time.time())
    yield here
    await here.store.close()


async def by_hand(case: EtcdCase, *arguments: str) -> Result:
    return await asyncio.to_thread(run, "rewards", *arguments, *case.options)


async def test_a_reset_is_where_the_agent_learns_on_from(in_etcd: EtcdCase, agent: Agent) -> None:
    """Three failures, forgotten; then one success: mean 1, one run's worth. No failure is counted a second time."""
    for number in range(3):
        await agent.learn(0.0, number)
    assert in_etcd.held()["n1", "web"].evidence == pytest.approx(3.0, abs=1e-6)
    assert (await by_hand(in_etcd, "reset", "web", "n1", "--yes")).code == 0
    assert in_etcd.held()["n1", "web"].evidence == 0.0
    for number in range(3):
        await agent.learn(0.0, number)
    await agent.learn(1.0, 3)
    held = in_etcd.held()["n1", "web"]
    assert (held.mean, held.evidence) == (pytest.approx(1.0), pytest.approx(1.0, abs=1e-6))


async def test_a_set_is_where_the_agent_learns_on_from(in_etcd: EtcdCase, agent: Agent) -> None:
    """(0.9 x 9 + 0) / (9 + 1) = 0.81."""
    await agent.learn(0.0, 0)
    assert (await by_hand(in_etcd, "set", "web", "n1", "--mean", "0.9", "--evidence", "9")).code == 0
    await agent.learn(0.0, 1)
    held = in_etcd.held()["n1", "web"]
    assert (held.mean, held.evidence) == (pytest.approx(0.81, abs=1e-6), pytest.approx(10.0, abs=1e-6))


async def test_an_edit_counts_once(in_etcd: EtcdCase, agent: Agent) -> None:
    """A later touch of the claim, for another type, does not bring an old edit back."""
    await agent.learn(0.0, 0)
    await by_hand(in_etcd, "set", "web", "n1", "--mean", "0.9", "--evidence", "9")
    await agent.learn(0.0, 1)
    await by_hand(in_etcd, "set", "db", "n1", "--mean", "0.5", "--evidence", "1")
    await agent.learn(0.0, 2)
    assert in_etcd.held()["n1", "web"].evidence == pytest.approx(11.0, abs=1e-6)
    assert in_etcd.held()["n1", "db"].evidence == 1.0


async def test_an_edit_is_kept_when_the_agent_only_keeps_its_claim(in_etcd: EtcdCase, agent: Agent) -> None:
    await agent.learn(0.0, 0)
    await by_hand(in_etcd, "set", "web", "n1", "--mean", "0.9", "--evidence", "9")
    assert await agent.store.keep()
    await agent.learn(0.0, 1)
    assert in_etcd.held()["n1", "web"].evidence == pytest.approx(10.0, abs=1e-6)


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), asyncio.CancelledError()], ids=["away", "cancelled"])
async def test_an_edit_outlives_a_load_that_fails(
    in_etcd: EtcdCase, agent: Agent, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """The write that was refused for the edit is refused again, until the records have been read."""

    async def failing(*_: object) -> None:
        raise fault

    await agent.learn(0.0, 0)
    await by_hand(in_etcd, "set", "web", "n1", "--mean", "0.9", "--evidence", "9")
    with monkeypatch.context() as broken:
        broken.setattr(etcd_column_module, "all_pages", failing)
        with pytest.raises(type(fault)):
            await agent.learn(0.0, 1)
    assert in_etcd.held()["n1", "web"].evidence == 9.0
    await agent.learn(0.0, 1)
    held = in_etcd.held()["n1", "web"]
    assert (held.mean, held.evidence) == (pytest.approx(0.81, abs=1e-6), pytest.approx(10.0, abs=1e-6))


async def test_an_edit_made_while_the_claim_had_lapsed_is_kept(in_etcd: EtcdCase, agent: Agent) -> None:
    """As when the agent is cut off for longer than its claim lasts: (0.9 x 9 + 0) / 10."""
    await agent.learn(0.0, 0)
    claim = in_etcd.server.call(rpc.KVStub, "Range", rpc.RangeRequest(key=claim_key(in_etcd.prefix, "n1"))).kvs[0]
    in_etcd.server.call(rpc.LeaseStub, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=claim.lease))
    await by_hand(in_etcd, "set", "web", "n1", "--mean", "0.9", "--evidence", "9")
    await agent.learn(0.0, 1)
    held = in_etcd.held()["n1", "web"]
    assert (held.mean, held.evidence) == (pytest.approx(0.81, abs=1e-6), pytest.approx(10.0, abs=1e-6))


async def test_a_set_without_an_agent_says_that_nothing_ends_it(in_etcd: EtcdCase, agent: Agent) -> None:
    """n1 has an agent, whose lease outlives it. The second set of n2 finds a record without a lease, and says so again."""
    await agent.learn(0.0, 0)
    note = "note: no agent has claimed n2"
    says = [
        (await by_hand(in_etcd, "set", "web", node, "--mean", "0.9", "--evidence", "9")).out
        for node in ("n1", "n2", "n2")
    ]
    assert [note in said for said in says] == [False, True, True]
    await agent.store.close()
    assert "note:" not in (await by_hand(in_etcd, "set", "web", "n1", "--mean", "1", "--evidence", "9")).out


def test_a_set_in_a_file_says_nothing_of_agents(in_file: FileCase) -> None:
    in_file.fill([])
    assert "note:" not in run("rewards", "set", "web", "n1", "--mean", "1", "--evidence", "9", *in_file.options).out
