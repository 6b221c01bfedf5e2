"""set and reset while the node's agent runs: the operator's word is kept, and learning goes on from there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from random import Random

import pytest

from kubesteer.clients.kubernetes.backoff import Backoff
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.column import Column
from kubesteer.rewards.learners import BetaLearner
from monitor_agent.column_writer import ColumnWriter, WriterPace
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics
from tests.cli.command import EtcdCase, Result, run


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
