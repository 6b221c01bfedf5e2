"""An agent that runs in the test's own loop: real client, fake API server, a store of choice, time in the test's hand."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from kubesteer.clients.kubernetes.access import Access
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.errors import KubesteerError
from kubesteer.rewards.learners import Estimate
from monitor_agent.agent import Agent, Clients, Environment, build
from monitor_agent.app import work
from monitor_agent.logs import make_log
from monitor_agent.probes.links import LinkReading
from monitor_agent.settings import Settings
from tests.agent.builders import NODE, NOW_S
from tests.cluster_state.fake_api import FakeApi
from tests.waiting import WITHIN_S, until

_FASTER = 50
"""Waits of the agent take a fiftieth of their time."""
QUICK = {
    "store": {"claim_wait_s": 0.0, "flush_s": 0.5, "longest_wait_s": 2.0},
    "learning": {"judge_every_s": 1.0},
    "trouble": {"every_s": 0.1},
    "network": {"read_s": 1.0, "worse_after_s": 0.0, "better_after_s": 0.0},
    "others": {"every_s": 2.0},
}


@dataclass
class Time:
    """What the node's clock shows; only the test moves it."""

    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeLink:
    """The node's link, as the test wants it."""

    speed_bps: int | None = 10_000_000_000
    up: bool = True
    rate_bps: dict[str, float] = field(default_factory=lambda: {"egress": 0.0, "ingress": 0.0})
    interface: str = "eth0"

    def read(self, _now_s: float) -> tuple[LinkReading, Mapping[str, float]]:
        speed_bps = self.speed_bps if self.up else None
        why = "the test says so"
        return LinkReading(self.interface, (self.interface,), speed_bps, self.up, why), dict(self.rate_bps)


@dataclass
class Running:
    """An agent at work. log: its lines so far. waits: of all its loops."""

    agent: Agent
    task: asyncio.Task[None]
    time: Time
    link: FakeLink
    stop: asyncio.Event
    log: io.StringIO
    waits: Counter[str]

    def estimate(self, pod_type: str = "web") -> Estimate | None:
        return self.agent.column.estimate(pod_type)

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.log.getvalue().splitlines()) if line["event"] == event]

    async def turns(self) -> None:
        """Until the agent's loops have waited a hundred times more: what was still to come has come."""
        aim = self.waits["all"] + 100
        await until(lambda: self.waits["all"] > aim)

    async def kill(self) -> None:
        """As kill -9: no last write, and the claim is not given back."""
        self.agent.writer.close = _nothing  # type: ignore[method-assign]
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def end(self) -> KubesteerError | None:
        """Waits for it to end by itself; why it did."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.wait({self.task})
        error = self.task.exception()
        assert error is None or isinstance(error, KubesteerError)
        return error


async def _nothing() -> None:
    pass


def settings(changes: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    groups: dict[str, dict[str, Any]] = {group: dict(values) for group, values in QUICK.items()}
    for group, values in (changes or {}).items():
        groups[group] = {**groups.get(group, {}), **values}
    return msgspec.convert(groups, Settings)


@asynccontextmanager
async def agent_on(
    api: FakeApi,
    store: ColumnStore,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    time: Time | None = None,
    link: FakeLink | None = None,
    node: str = NODE,
    holder: str = "agent-1",
    replaced: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] | None = None,
    **outside: Any,
) -> AsyncIterator[Running]:
    """Runs until the block ends; an agent that is still at work then is told to stop and must end well.

    replaced: loops that the test gives, by name.
    """
    time, link, log = time or Time(), link or FakeLink(), io.StringIO()

    async def load() -> Access:
        async def authorization() -> None:
            return None

        return Access(api.url, authorization)

    waits: Counter[str] = Counter()

    async def sleep(delay_s: float) -> None:
        waits["all"] += 1
        await asyncio.sleep(delay_s / _FASTER)

    async with ApiServer(load, timeout_s=WITHIN_S) as server:
        env = Environment(Random(1), unix_clock=time, sleep=sleep)
        agent = build(
            settings(changes), node, holder, Clients(server, store, link, **outside), env, make_log("debug", log)
        )
        loops = tuple((name, (replaced or {}).get(name, loop)) for name, loop in agent.loops)
        agent = replace(agent, loops=loops)
        stop = asyncio.Event()
        task = asyncio.create_task(work(agent, stop, make_log("debug", log)))
        running = Running(agent, task, time, link, stop, log, waits)
        try:
            yield running
            if not task.done():
                stop.set()
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
