"""The composition root of the extender: builds every part from the settings, and runs them until told to stop.

Nothing is decided here, and no other module builds parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING

from fastapi import FastAPI

from extender.arrivals import Arrivals
from extender.decisions import Decisions
from extender.explaining.process import ProcessWorker, ThreadWorker, Worker
from extender.faults import Faults
from extender.gauges import add_gauges
from extender.health import Health
from extender.metrics import Metrics
from extender.node_states import NodeStates
from extender.observing import teller
from extender.parents import FreshParents
from extender.repairs import Repairs
from extender.reward_stores import node_state_source, reward_source
from extender.rewards import RewardView
from extender.routes.access import AccessMiddleware
from extender.routes.front_page import HeadAsGet, add_front_page
from extender.routes.ops import ops_app
from extender.routes.shortcut import Shortcut
from extender.routes.verbs import Verbs
from extender.server.servers import bind, drain, ops_server, verbs_server
from extender.server.tls import fresh_tls, keep_tls_fresh
from extender.tasks import Tasks
from extender.warnings import PodWarnings, WarningSink
from extender.wire.arguments import MOST_NODES
from extender.wire.names import finder
from kubesteer.clients.kubernetes.backoff import Backoff
from kubesteer.clients.kubernetes.cluster_file import ClusterFileSource
from kubesteer.clients.kubernetes.reviews import Reviews
from kubesteer.clients.own_version import own_version
from kubesteer.clients.tasks import end_of
from kubesteer.placement.cluster_state import ClusterState
from kubesteer.placement.engine import Engine
from kubesteer.placement.flow import DecisionFlow
from kubesteer.rewards.table import RewardTable

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from extender.settings import Settings, Tls
    from kubesteer.clients.kubernetes.api import ApiServer
    from kubesteer.clients.kubernetes.port import ClusterSource
    from kubesteer.clients.rewards.port import NodeStateSink, RewardSink, RewardSource
    from kubesteer.model.cluster import PodSummary


_LONGEST_RESTART_S = 60.0


@dataclass(frozen=True, slots=True)
class Parts:
    """One extender, built and not running. verbs and ops are its two applications."""

    settings: Settings
    cluster: ClusterSource
    rewards: RewardSource
    reward_table: RewardTable
    parents: FreshParents
    node_states: NodeStates
    node_states_source: RewardSource | None
    state: ClusterState
    arrivals: Arrivals
    decisions: Decisions
    health: Health
    metrics: Metrics
    warnings: PodWarnings
    verbs: Shortcut
    ops: FastAPI
    reviews: Reviews | None
    log: FilteringBoundLogger
    tasks: Tasks
    worker: Worker


def build(
    settings: Settings,
    cluster: ClusterSource,
    rewards_into: Callable[[RewardSink], RewardSource],
    log: FilteringBoundLogger,
    *,
    node_states_into: Callable[[NodeStateSink], RewardSource | None] = lambda _: None,
    warning_sink: WarningSink | None = None,
    reviews: Reviews | None = None,
    worker: Worker | None = None,
    lines_dropped: Callable[[], float] = lambda: 0,
    unix_s: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> Parts:
    """Join the parts. Two extenders in one process share nothing.

    rewards_into makes the source that fills a reward table; node_states_into that of the agents' node states, or None.
    reviews: who may read the ops port; None lets everybody.
    worker: does what must not hold up the verbs; None does it in a thread.
    lines_dropped: of the log, since the start.
    """
    policy = settings.policy()
    metrics = Metrics()
    repairs = Repairs(unix_s)
    state = ClusterState(
        len(policy.network),
        charge_ttl_s=settings.score.charge_ttl_s,
        on_observed=teller(metrics, log),
        on_node=repairs.told,
    )
    table = RewardTable(settings.rewards.belief())
    parents = FreshParents(table, unix_s=unix_s)
    rewards = rewards_into(parents)
    node_states = NodeStates(state.table, policy.network)
    node_states_source = node_states_into(node_states)
    view = RewardView(
        table,
        rewards,
        state.table,
        stale_after_s=settings.rewards.stale_after_s,
        sample_seed=settings.rewards.sample_seed if settings.rewards.choice == "thompson" else None,
        probation=settings.rewards.probation(),
        repaired_s=repairs.seen_s,
    )
    tasks = Tasks(
        log,
        backoff=lambda: Backoff(Random(secrets.randbits(64)), asyncio.sleep, longest_s=_LONGEST_RESTART_S),  # noqa: S311
        on_restart=lambda task: metrics.task_restarts[task].inc(),
        clock=time.monotonic,
    )
    health = Health(
        cluster,
        view,
        state,
        node_states,
        node_states_source,
        tasks.standing,
        mode=policy.mode,
        cluster_stale_after_s=settings.cluster.stale_after_s,
        rewards_wait_s=settings.rewards.startup_wait_s,
        unix_s=unix_s,
        clock=clock,
    )
    decisions = Decisions(
        DecisionFlow(Engine(policy), state, view, shortlist=settings.filter.shortlist),
        is_synced=health.cluster_synced,
        unix_s=unix_s,
        clock=clock,
    )
    warnings = PodWarnings(metrics, log, warning_sink)
    documented = FastAPI(
        title="kubesteer extender: verbs' port",
        version=own_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send clients to the Host that they name
    )
    most_nodes = partial(_most_nodes, settings.limits.candidates, health, state)
    routes = Verbs(
        decisions,
        metrics,
        log,
        settings.limits,
        boot_id=secrets.token_hex(4),
        warnings=warnings,
        most_nodes=most_nodes,
        find=finder(state.table),
    )
    prefix = settings.listen.path_prefix
    documented.include_router(routes.router(prefix))
    verbs = Shortcut(HeadAsGet(documented), routes.endpoints(prefix), partial(routes.wrong_path, prefix=prefix))
    worker = worker or ThreadWorker()
    ops = ops_app(
        decisions,
        health,
        metrics,
        settings.limits,
        policy,
        own_version(),
        documented,
        most_nodes=most_nodes,
        worker=worker,
        log=log,
    )
    if reviews is not None:
        ops.add_middleware(
            AccessMiddleware, reviews=reviews, on_refused=lambda status: metrics.ops_refused[status].inc()
        )
    ops.add_middleware(HeadAsGet)  # last, so that the right to get a page is enough
    add_front_page(documented, ops, verbs_port=settings.listen.port, ops_port=settings.ops.port)
    parts = Parts(
        settings,
        cluster,
        rewards,
        table,
        parents,
        node_states,
        node_states_source,
        state,
        Arrivals(state, settings.cluster.schedulers),
        decisions,
        health,
        metrics,
        warnings,
        verbs,
        ops,
        reviews,
        log,
        tasks,
        worker,
    )
    metrics.counter("log_lines_dropped", "Lines of the log that found no room.", lines_dropped)
    add_gauges(parts, view, unix_s)
    return parts


def _most_nodes(most: int | None, health: Health, state: ClusterState) -> int:
    """The most nodes that one request may name: about twice as many as there are."""
    if most is None:
        return max(1000, 2 * state.table.node_count) if health.cluster_synced() else MOST_NODES
    return most


async def run(
    settings: Settings,
    log: FilteringBoundLogger,
    on_start: Callable[[str, str], None],
    lines_dropped: Callable[[], float] = lambda: 0,
    on_synced: Callable[[Parts], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT. on_start is told both addresses once they listen. Raises TaskEnded.

    on_synced is told the parts once the cluster is known.
    """
    async with _cluster_source(settings) as (cluster, sink, reviews):
        parts = build(
            settings,
            cluster,
            partial(reward_source, settings.rewards),
            log,
            node_states_into=partial(node_state_source, settings.rewards),
            warning_sink=sink,
            reviews=reviews,
            worker=ProcessWorker(),
            lines_dropped=lines_dropped,
        )
        await serve(parts, on_start, on_synced)


async def serve(
    parts: Parts, on_start: Callable[[str, str], None], on_synced: Callable[[Parts], None] = lambda _: None
) -> None:
    """Run the sources and both servers until told to stop; then drain. Raises TaskEnded where a task made it stop."""
    settings, log, tasks = parts.settings, parts.log, parts.tasks
    verbs, ops = verbs_server(parts.verbs, settings), ops_server(parts.ops, settings)
    verbs_socket = bind("listen", settings.listen.host, settings.listen.port)
    ops_socket = bind("ops", settings.ops.host, settings.ops.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.push_async_callback(tasks.end)
        cleanup.push_async_callback(parts.worker.end)
        tasks.need("cluster", partial(parts.cluster.run, parts.arrivals), stop)
        tasks.keep("rewards", parts.rewards.run)
        tasks.keep("parents", parts.parents.run)
        tasks.keep("warnings", parts.warnings.run)
        tasks.keep("faults", _faults(parts).run)
        if parts.node_states_source is not None:
            tasks.keep("node-states", parts.node_states_source.run)
        for name, server, tls in (("tls", verbs, settings.tls), ("ops-tls", ops, settings.ops_tls())):
            if tls.cert_file is not None:
                fresh = fresh_tls(tls, connections=settings.limits.connections)
                server.use(fresh)
                tasks.keep(name, partial(keep_tls_fresh, fresh, tls, log))
        serving = [
            asyncio.create_task(server.serve(sockets=[listening]), name=name)
            for name, server, listening in (("server", verbs, verbs_socket), ("ops-server", ops, ops_socket))
        ]
        await asyncio.gather(verbs.wait_started(serving[0]), ops.wait_started(serving[1]))
        on_start(
            f"{_scheme(settings.tls)}://{_address(verbs_socket)}{settings.listen.path_prefix}",
            f"{_scheme(settings.ops_tls())}://{_address(ops_socket)}",
        )
        tasks.once("freeze", partial(_freeze_once_synced, parts, on_synced))
        if settings.ops.auth == "none" and not ip_address(ops_socket.getsockname()[0]).is_loopback:
            log.warning("the ops port answers without authentication; set ops.auth: kubernetes, or ops.host: 127.0.0.1")
        if settings.placement.mode == "observe":
            log.warning("observing: no decision is enforced, but for what placement.namespaces and pods choose")
        await _told_to_stop(stop, serving)
        log.info("stopping", drain_s=settings.listen.drain_s)
        parts.health.draining = True
        await drain(verbs, ops, settings.listen)
        await asyncio.gather(*serving)
    if tasks.fatal is not None:
        raise tasks.fatal


def _scheme(tls: Tls) -> str:
    return "http" if tls.cert_file is None else "https"


def _address(listening: socket.socket) -> str:
    """host:port as a client on this machine writes it."""
    host, port = listening.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{local}]:{port}" if ":" in local else f"{local}:{port}"


def _faults(parts: Parts) -> Faults:
    told: dict[str, Callable[[], str | None]] = {
        "cluster": lambda: parts.cluster.status().last_error,
        "rewards": lambda: parts.rewards.status().last_error,
    }
    if parts.reviews is not None:
        told["ops access"] = parts.reviews.fault
    return Faults(told, parts.log)


async def _freeze_once_synced(parts: Parts, on_synced: Callable[[Parts], None]) -> None:
    """Objects loaded by then stay for good: freezing them keeps the collector's pauses out of the answers."""
    while not parts.health.cluster_synced():  # noqa: ASYNC110 - the sources tell how they stand, not when it changes
        await asyncio.sleep(0.05)
    gc.collect()
    gc.freeze()
    parts.log.info("synced", nodes=parts.state.table.node_count, pods=parts.state.table.pod_count)
    on_synced(parts)


async def _told_to_stop(stop: asyncio.Event, serving: list[asyncio.Task[None]]) -> None:
    """Raises what ended a server before."""
    told = asyncio.create_task(stop.wait())
    await asyncio.wait((told, *serving), return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        told.cancel()
        raise end_of(next(server for server in serving if server.done()))


@contextlib.asynccontextmanager
async def _cluster_source(
    settings: Settings,
) -> AsyncIterator[tuple[ClusterSource, WarningSink | None, Reviews | None]]:
    """The source that the settings name, the writer of Events on pods, and the reviewer of tokens."""
    choice, network = settings.cluster, settings.policy().network
    if choice.source == "file":
        yield ClusterFileSource(choice.file, network, interval_s=choice.poll_s), None, None
        return
    from kubesteer.clients.kubernetes.access import from_kubeconfig, in_cluster  # noqa: PLC0415 - see below
    from kubesteer.clients.kubernetes.api import ApiServer  # noqa: PLC0415
    from kubesteer.clients.kubernetes.source import KubernetesSource  # noqa: PLC0415 - file users do not pay for these

    access = (
        in_cluster(os.environ)
        if choice.kubeconfig is None
        else from_kubeconfig(str(choice.kubeconfig), context=choice.context)
    )
    async with ApiServer(access) as api:
        source = KubernetesSource(api, network, random=Random(secrets.randbits(64)))  # noqa: S311
        reviews = Reviews(api, audiences=settings.ops.audiences) if settings.ops.auth == "kubernetes" else None
        yield source, _PodEvents(api), reviews


class _PodEvents:
    """Warning Events through the API server."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def warn(self, pod: PodSummary, reason: str, message: str) -> None:
        from kubesteer.clients.kubernetes.events import PodReference, create_event  # noqa: PLC0415

        reference = PodReference(pod.namespace, pod.name, pod.uid)
        await create_event(self._api, reference, reason=reason, message=message, now=datetime.now(UTC))
