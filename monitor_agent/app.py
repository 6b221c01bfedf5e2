"""The composition root of the agent: opens what the settings name, runs the loops, and stops them in order.

Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from kubesteer.clients.kubernetes.access import from_kubeconfig, in_cluster
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.backoff import Backoff
from kubesteer.clients.kubernetes.reviews import Reviews
from kubesteer.clients.metrics_server import MetricsServer, ServerAccess
from kubesteer.clients.ops_pages import serving, serving_probes
from kubesteer.clients.ops_tls import server_tls
from kubesteer.clients.prometheus.measures import Measures
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.clients.tasks import end_of
from kubesteer.model.errors import InvalidSettings
from monitor_agent.agent import Agent, Clients, Environment, build
from monitor_agent.choices import holder_name, node_name
from monitor_agent.cluster import KubeletCounters
from monitor_agent.link import NodeLink
from monitor_agent.logs import Log
from monitor_agent.probes.links import LinkSettings
from monitor_agent.probes.rates import RateRules
from monitor_agent.settings import Settings, Store

if TYPE_CHECKING:
    from monitor_agent.certificate import CertificateFiles


async def run(settings: Settings, environ: Mapping[str, str], log: Log, lines_dropped: Callable[[], float]) -> None:
    """Work until SIGTERM or SIGINT. Raises InvalidSettings, ColumnClaimed, TaskEnded."""
    node = node_name(settings.node, environ)
    holder = holder_name(settings.node, environ, socket.gethostname(), os.getpid())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _outside(settings, environ, node, holder) as outside:
        agent = build(settings, node, holder, outside, Environment(Random(os.urandom(16))), log)  # noqa: S311
        agent.metrics.lines_dropped(lines_dropped)
        ops = settings.ops
        reviews = Reviews(outside.api, audiences=ops.audiences) if ops.auth == "kubernetes" else None
        tls = server_tls(ops.cert_file, ops.key_file)
        async with (
            serving_probes(ops.probes_host, ops.port, agent.health.report),
            serving(ops, agent.health.report, agent.metrics.registry, tls=tls, reviews=reviews) as url,
        ):
            log.info("started", node=node, holder=holder, ops=url)
            if ops.auth == "none" and not ip_address(urlsplit(url).hostname or "").is_loopback:
                log.warning(
                    "the ops port answers without authentication; set ops.auth: kubernetes, or ops.host: 127.0.0.1"
                )
            await work(agent, stop, log, before=_certificate(settings.store, node, outside.api, log))


async def work(
    agent: Agent, stop: asyncio.Event, log: Log, *, before: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Run the loops until told to stop, or until one of them ends; then write what is left and let go.

    before: a loop that the claim itself needs. No loop may end: what one raised is raised, or TaskEnded.
    """
    told: asyncio.Task[object] = asyncio.create_task(stop.wait(), name="stop")
    tasks = [told]
    if before is not None:
        tasks.append(asyncio.create_task(before(), name="before"))
    try:
        claiming = asyncio.create_task(agent.writer.try_claim(), name="claim")
        tasks.append(claiming)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if claiming.done() and not stop.is_set():
            claiming.result()
            tasks += [asyncio.create_task(loop(), name=name) for name, loop in agent.loops]
            await asyncio.wait([one for one in tasks if one is not claiming], return_when=asyncio.FIRST_COMPLETED)
    finally:
        log.info("stopping")
        agent.health.stopping = True
        ended = [one for one in tasks if one.done() and one is not told]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await agent.writer.close()
    for task in ended:
        if task is claiming and not task.cancelled() and task.exception() is None:
            continue  # it is the one that does end
        why = end_of(task)
        log.error("task ended by itself", task=task.get_name(), why=f"{type(why).__name__}: {why}")
        raise why


@contextlib.asynccontextmanager
async def _outside(settings: Settings, environ: Mapping[str, str], node: str, holder: str) -> AsyncIterator[Clients]:
    cluster, network, kubelet, measure = settings.cluster, settings.network, settings.kubelet, settings.measure
    service_account = Path(cluster.service_account)
    access = (
        in_cluster(environ, directory=service_account)
        if cluster.kubeconfig is None
        else from_kubeconfig(cluster.kubeconfig, context=cluster.context)
    )
    link = NodeLink(
        LinkSettings(interface=network.interface, trust_virtual=network.trust_virtual),
        RateRules(time_constant_s=network.smooth_s),
    )
    store = _store(settings.store, node, holder)
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer(access, timeout_s=cluster.timeout_s))
        counters = measures = None
        if kubelet.url is not None:
            token_file = service_account / "token"
            server = ServerAccess(
                kubelet.url,
                ca_file=kubelet.ca_file,
                insecure=kubelet.insecure,
                token_file=str(token_file) if token_file.exists() else None,
            )
            counters = KubeletCounters(await stack.enter_async_context(MetricsServer(server)))
        if measure.prometheus is not None:
            prometheus = await stack.enter_async_context(MetricsServer(ServerAccess(measure.prometheus)))
            measures = Measures(prometheus, measure.queries)
        yield Clients(api, store, link, counters, measures)


def _store(choice: Store, node: str, holder: str) -> ColumnStore:
    if choice.kind == "memory":
        from kubesteer.clients.rewards.memory import MemoryStore  # noqa: PLC0415 - as below
        from kubesteer.clients.rewards.memory_column import MemoryColumnStore  # noqa: PLC0415

        return MemoryColumnStore(MemoryStore(choice.prefix), node=node, holder=holder)
    from kubesteer.clients.rewards.etcd import etcd_column  # noqa: PLC0415 - gRPC is imported where it is used
    from kubesteer.clients.rewards.etcd_options import chosen_etcd  # noqa: PLC0415

    is_asked_for = choice.certificate == "request"
    there = msgspec.structs.replace(choice, cert_file=None, key_file=None) if is_asked_for else choice
    options = chosen_etcd(there, section="store.", endpoints=choice.endpoints, prefix=choice.prefix)
    if is_asked_for:
        files = _files(choice)
        options = dataclasses.replace(options, cert_file=files.cert, key_file=files.key)
    return etcd_column(
        options, node=node, holder=holder, claim_ttl_s=choice.claim_ttl_s, column_ttl_s=choice.column_ttl_s
    )


def _files(choice: Store) -> CertificateFiles:
    """Raises InvalidSettings."""
    from monitor_agent.certificate import CertificateFiles  # noqa: PLC0415 - few agents need it

    named = (choice.ca_file, choice.cert_file, choice.key_file)
    if not all(named):
        raise InvalidSettings("store.certificate 'request' needs store.ca_file, store.cert_file and store.key_file")
    return CertificateFiles(*(Path(name) for name in named if name))


def _certificate(choice: Store, node: str, api: ApiServer, log: Log) -> Callable[[], Coroutine[Any, Any, None]] | None:
    """Keeps the agent's own certificate; None where another component does."""
    if choice.kind != "etcd" or choice.certificate == "file":
        return None
    from monitor_agent.certificate import OwnCertificate  # noqa: PLC0415 - few agents need it

    backoff = Backoff(Random(os.urandom(16)), asyncio.sleep, first_s=1.0, longest_s=60.0)  # noqa: S311
    files = _files(choice)
    return OwnCertificate(api, node, files, backoff=backoff, unix_clock=time.time, sleep=asyncio.sleep, log=log).run
