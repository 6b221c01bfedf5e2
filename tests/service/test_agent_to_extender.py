"""From an agent's column in a real etcd to the answers of the real extender: what is written here is heeded there."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from extender.app import build
from extender.logs import make_logger
from extender.reward_stores import node_state_source, reward_source
from extender.settings import Settings
from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.clients.rewards.etcd_column import EtcdColumnStore
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.model.node_state import NodeState
from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.column import Column
from kubesteer.rewards.learners import BetaLearner
from tests.builders import node, pod
from tests.rewards.conftest import etcd, prefix  # noqa: F401 - fixtures
from tests.rewards.etcd_server import EtcdServer
from tests.service.harness import START_S, Clock, GivenCluster, Service, on_free_ports, running
from tests.waiting import until

FRESH_S = 60.0
NAMES = ["node-1", "node-2"]


@dataclass
class Agent:
    """The half of node-1's agent that learns and writes."""

    store: EtcdColumnStore
    column: Column

    async def tell(self, *, at_s: float = START_S, rate: Any = None, limit: Any = None) -> None:
        await self.store.put_state(NodeState("node-1", at_s, rate or {}, limit or {}))

    async def learn(self, *values: float) -> None:
        """As many runs of type web as there are values, and what is believed after them written."""
        for run, value in enumerate(values):
            outcome = Outcome("web", "uid-1", "shop/web-1", "main", Stage.RUN, run, value, "Error", START_S)
            assert self.column.learn(outcome, START_S)
        batch = self.column.take_batch(10)
        await self.store.write(batch.puts, batch.deletes)


@pytest.fixture
async def agent(etcd: EtcdServer, prefix: str) -> AsyncIterator[Agent]:  # noqa: F811
    store = etcd_column(etcd.options(prefix), node="node-1", holder="agent-1", claim_ttl_s=30)
    await store.claim()
    here = Agent(store, Column("node-1", BetaLearner()))
    here.column.load(await store.load(), START_S)
    yield here
    await store.close()


@pytest.fixture
async def extender(etcd: EtcdServer, prefix: str) -> AsyncIterator[Service]:  # noqa: F811
    """Serves with two nodes of 10G and what that etcd holds."""
    choice = {"source": "etcd", "endpoints": [etcd.address], "prefix": prefix, "prior_mean": 0.5, "prior_evidence": 2.0}
    settings = Settings(**on_free_ports(rewards=choice, filter={"measured_fresh_s": FRESH_S}))
    cluster, clock, output = GivenCluster(synced=True), Clock(), io.StringIO()
    with contextlib.redirect_stdout(output):
        log = make_logger(as_json=True, level="debug")
    parts = build(
        settings,
        cluster,
        partial(reward_source, settings.rewards),
        log,
        node_states_into=partial(node_state_source, settings.rewards),
        unix_s=clock,
        clock=clock,
    )
    built = Service(parts, cluster, MemoryStore(), clock, output)
    for name in NAMES:
        built.put_node(node(name))
    async with running(built):
        await until(lambda: _is_synced(built))
        yield built


def _is_synced(built: Service) -> bool:
    states = built.parts.node_states_source
    return states is not None and states.status().synced and built.parts.rewards.status().synced


async def refusals(there: Service) -> dict[str, str]:
    answer = await there.filter(pod(egress="300M"), NAMES)
    return {**answer["FailedNodes"], **answer["FailedAndUnresolvableNodes"]}


async def told(there: Service, at_s: float = START_S) -> None:
    """What the agent said at this time has arrived."""
    await until(lambda: there.parts.node_states.newest_time_s == at_s)


async def test_a_dead_link_refuses_its_node_until_it_carries_again(extender: Service, agent: Agent) -> None:
    assert await refusals(extender) == {}
    await agent.tell(limit={"egress": 0, "ingress": 0})
    await told(extender)
    assert await refusals(extender) == {"node-1": "egress: wants 300M, the link carries 0 now"}
    await agent.tell(at_s=START_S + 1, limit={"egress": 9_500_000_000})
    await told(extender, START_S + 1)
    assert await refusals(extender) == {}


async def test_measured_traffic_counts_while_it_is_fresh(extender: Service, agent: Agent) -> None:
    """9.8G of 10G are in use: 300M more do not fit, until that is older than a minute, and again once it is told anew."""
    in_use = {"node-1": "egress: wants 300M, 9.8G of 10G measured in use"}
    await agent.tell(rate={"egress": 9.8e9, "ingress": 0.0})
    await told(extender)
    assert await refusals(extender) == in_use
    extender.clock.move(FRESH_S + 1)
    assert await refusals(extender) == {}
    await agent.tell(at_s=extender.clock(), rate={"egress": 9.8e9, "ingress": 0.0})
    await told(extender, extender.clock())
    assert await refusals(extender) == in_use


async def test_a_type_that_fails_on_a_node_is_sent_elsewhere_and_others_hardly(extender: Service, agent: Agent) -> None:
    """20 failures of web on node-1: (2 x 0.5 + 20 x 0) / 22. The node has one bad type only, which tells little."""
    web, other = pod("web-2", labels={"app": "web"}), pod("db-1", labels={"app": "db"})
    assert len(set((await extender.prioritize(web, NAMES)).values())) == 1
    await agent.learn(*[0.0] * 20)
    await until(lambda: len(extender.parts.reward_table) == 1)
    assert await extender.prioritize(web, NAMES) == {"node-1": 0, "node-2": 10}
    learned = (await extender.explain(web, NAMES))["node-1"]["learned"]
    assert (learned["mean"], learned["evidence"]) == (pytest.approx(1 / 22, abs=1e-3), 20)
    of_another_type = await extender.explain(other, NAMES)
    assert of_another_type["node-2"]["reward"] - of_another_type["node-1"]["reward"] < 0.2


@pytest.mark.parametrize("how", ["it stops", "it falls silent"])
async def test_what_the_node_told_ends_with_its_agent_and_what_was_learned_stays(
    extender: Service,
    agent: Agent,
    how: str,
    etcd: EtcdServer,  # noqa: F811
    prefix: str,  # noqa: F811
) -> None:
    """Stopping gives the claim back; the claim of a silent agent lapses. The column has its own lease."""
    await agent.tell(limit={"egress": 0})
    await agent.learn(*[0.0] * 20)
    await told(extender)
    await until(lambda: len(extender.parts.reward_table) == 1)
    assert list(await refusals(extender)) == ["node-1"]
    if how == "it stops":
        await agent.store.close()
    else:
        etcd.end_lease_of(claim_key(prefix, "node-1"))
    await until(lambda: len(extender.parts.node_states) == 0)
    assert await refusals(extender) == {}
    scores = await extender.prioritize(pod("web-2", labels={"app": "web"}), NAMES)
    assert scores == {"node-1": 0, "node-2": 10}
