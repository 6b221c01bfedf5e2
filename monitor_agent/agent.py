"""One agent, built from its parts and not running: what tells what to whom. No part is chosen here, and no I/O is done.

app.py chooses the parts for a process, a test chooses its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.backoff import Backoff, Sleep
from kubesteer.clients.kubernetes.objects import ObjectT
from kubesteer.clients.kubernetes.own_node import OwnNode, own_node
from kubesteer.clients.kubernetes.pod_runs import pods_of_node
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.resource import Resource
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.runs import PodRuns
from kubesteer.rewards import judging, kuberl
from kubesteer.rewards.column import Column
from kubesteer.rewards.judging import JudgingContext, wants_events
from kubesteer.rewards.learners import in_range
from monitor_agent.choices import capacity_rules, judging_rules, learner_of, network_of, require_sense
from monitor_agent.cluster import ClusterEvents
from monitor_agent.column_writer import ColumnWriter, WriterPace
from monitor_agent.health import Health
from monitor_agent.learning import Judge, Learning
from monitor_agent.logs import Log
from monitor_agent.measures import MeasuredPods, MeasureSource
from monitor_agent.metrics import Metrics
from monitor_agent.network import Link, NetworkLoop, NetworkPace
from monitor_agent.node import NodeBook
from monitor_agent.others import OtherNodes
from monitor_agent.pod_values import PodValues
from monitor_agent.pods import PodBook
from monitor_agent.settings import Settings
from monitor_agent.traffic import Kubelet, TrafficOfPods
from monitor_agent.troubles import Troubles
from monitor_agent.warnings import Warnings
from monitor_agent.watches import Watches

_TRAFFIC_STEP = 0.05
_MEASURE_STEP = 0.02
_CLAIMS_PER_TTL = 3
_LOOK_AT_WATCHES_S = 1.0


@dataclass(frozen=True, slots=True)
class Environment:
    """Time and chance of a process. clock is monotonic, unix_clock is unix time, both in seconds."""

    random: Random
    clock: Callable[[], float] = time.monotonic
    unix_clock: Callable[[], float] = time.time
    sleep: Sleep = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of an agent. kubelet and measures are None where the settings name none."""

    api: ApiServer
    store: ColumnStore
    link: Link
    kubelet: Kubelet | None = None
    measures: MeasureSource | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """The parts that others look at. loops: each runs until it is cancelled, or raises what ends the agent."""

    column: Column
    writer: ColumnWriter
    learning: Learning
    book: PodBook
    network: NetworkLoop
    troubles: Troubles
    others: OtherNodes
    watches: Watches
    health: Health
    metrics: Metrics
    loops: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...]


def build(settings: Settings, node: str, holder: str, outside: Clients, env: Environment, log: Log) -> Agent:
    """Join the parts. Two agents in one process share nothing. Raises InvalidSettings for what cannot work together."""
    metrics = Metrics()

    def unix_clock() -> float:
        """A time that can be stored, even where the node's clock is wrong."""
        return in_range(env.unix_clock())

    require_sense(settings.measure)
    network = network_of(settings.network)
    rules = judging_rules(settings.learning)
    column = Column(node, learner_of(settings.learning), max_types=settings.learning.types)
    events = ClusterEvents(outside.api, node, unix_clock)
    warnings = Warnings(events, log=log, metrics=metrics)
    writer = ColumnWriter(
        outside.store,
        column,
        pace=WriterPace(
            flush_s=settings.store.flush_s,
            keep_s=settings.store.claim_ttl_s / _CLAIMS_PER_TTL,
            claim_wait_s=settings.store.claim_wait_s,
        ),
        learner=settings.learning.learner,
        backoff=Backoff(env.random, env.sleep, longest_s=settings.store.longest_wait_s),
        clock=env.clock,
        unix_clock=unix_clock,
        log=log,
        metrics=metrics,
    )
    others = OtherNodes(node, outside.store, records=settings.others.records, unix_clock=unix_clock, log=log)

    def see(pod: PodRuns) -> None:
        learning.see(pod)

    achieved, measured = PodValues(see, step=_TRAFFIC_STEP), PodValues(see, step=_MEASURE_STEP)
    book = PodBook(network, on_change=see, on_gone=warnings.forget)

    def surroundings(pod: PodRuns) -> JudgingContext:
        usual = others.of(pod.pod_type)
        return JudgingContext(
            usual_startup_s=usual.startup_s,
            usual_duration_s=usual.duration_s,
            startup_s=column.startup_of(pod.uid),
            achieved=achieved.of(pod.uid),
            measure=measured.of(pod.uid),
            events=troubles.of(pod.uid),
            pull_fails_elsewhere=usual.pull_fails,
        )

    judge: Judge = kuberl.judge if settings.learning.learner == "ewma" else judging.judge
    learning = Learning(
        column, judge, rules, surroundings, warnings.bad_measure, unix_clock=unix_clock, log=log, metrics=metrics
    )
    troubles = Troubles(
        book,
        lambda pod, now_s: wants_events(pod, rules, now_s),
        events,
        see,
        every_s=settings.trouble.every_s,
        at_once=settings.trouble.pods,
        clock=env.clock,
        unix_clock=unix_clock,
        log=log,
        metrics=metrics,
    )
    node_book = NodeBook(node, log)
    link_loop = NetworkLoop(
        outside.link,
        node_book,
        book.promised,
        writer.put_state,
        OwnNode(outside.api, node),
        events,
        rules=capacity_rules(settings.network),
        pace=NetworkPace(
            read_s=settings.network.read_s,
            write_s=settings.network.write_s,
            write_change=settings.network.write_change,
            publish=settings.network.publish,
        ),
        clock=env.clock,
        unix_clock=unix_clock,
        sleep=env.sleep,
        log=log,
        metrics=metrics,
    )
    pods = _followed(outside.api, pods_of_node(node, put=book.put, delete=book.delete), env)
    own = _followed(outside.api, own_node(node, put=node_book.put, delete=node_book.delete), env)
    watches = Watches({"pods": pods, "node": own}, node_book, log)
    health = Health(pods, own, node_book, column, writer, link_loop, holder=holder, clock=env.clock)

    def judge_all() -> None:
        if pods.synced:
            learning.step(book.runs)

    again = partial(_again, env.sleep)
    every = settings.learning.judge_every_s
    loops: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [
        ("pods", pods.run),
        ("node", own.run),
        ("watches", lambda: again(watches.look, _LOOK_AT_WATCHES_S)),
        ("writer", writer.run),
        ("keep-alive", writer.run_keeping),
        ("learning", lambda: again(judge_all, every)),
        ("troubles", lambda: again(troubles.step, every)),
        ("warnings", warnings.run),
        ("network", lambda: link_loop.run(lambda: pods.synced)),
        ("state", link_loop.run_telling),
    ]
    if settings.others.records:
        loops.append(("others", lambda: again(others.step, settings.others.every_s)))
    if outside.kubelet is not None:
        traffic = TrafficOfPods(book, outside.kubelet, network, achieved, smooth_s=settings.network.smooth_s, log=log)
        loops.append(("traffic", lambda: again(traffic.step, settings.kubelet.every_s)))
    if outside.measures is not None:
        asked = MeasuredPods(
            book,
            outside.measures,
            measured,
            warnings.bad_measure,
            settled_s=rules.success_after_s,
            unix_clock=unix_clock,
            log=log,
        )
        loops.append(("measures", lambda: again(asked.step, settings.measure.every_s)))
    agent = Agent(column, writer, learning, book, link_loop, troubles, others, watches, health, metrics, tuple(loops))
    _add_gauges(agent)
    return agent


async def _again(sleep: Sleep, step: Callable[[], Awaitable[None] | None], every_s: float) -> None:
    """One step every so often, until cancelled."""
    while True:
        waited_for = step()
        if waited_for is not None:
            await waited_for
        await sleep(every_s)


def _followed(api: ApiServer, resource: Resource[ObjectT], env: Environment) -> Reflector[ObjectT]:
    return Reflector(api, resource, pace=Pace(), random=env.random, clock=env.clock, sleep=env.sleep)


def _add_gauges(agent: Agent) -> None:
    gauge, health, column, nan = agent.metrics.gauge, agent.health, agent.column, float("nan")

    def age(age_s: float | None) -> float:
        return nan if age_s is None else age_s

    gauge("ready", "1 when fit to learn.", lambda: float(health.is_ready()))
    gauge("claimed", "1 while this agent holds its node's column.", lambda: float(agent.writer.is_claimed))
    gauge("store_age_seconds", "Since the store last confirmed something.", lambda: age(health.store_age_s()))
    gauge("watch_age_seconds", "Since the API server was last heard of.", lambda: age(health.watch_age_s()))
    gauge("watches_failing", "Watches of the API server that have a fault now.", agent.watches.failing)
    gauge("pods", "Pods on the node, those that have ended too.", lambda: len(agent.book.runs))
    gauge("types", "Pod types with a record.", lambda: len(column))
    gauge("folded_types", "Types that were put together with others.", lambda: column.folded)
    gauge("unwritten_records", "Records that wait to be written.", column.dirty)
