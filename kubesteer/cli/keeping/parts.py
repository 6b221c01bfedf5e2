"""The keeper's composition root: opens what the settings name, joins the parts, and runs them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kubesteer.certificates.issuing import Maker, issue_authority
from kubesteer.certificates.pems import cert_pem, key_pem
from kubesteer.certificates.planning import signer
from kubesteer.certificates.values import ETCD, wanted
from kubesteer.cli.keeping.access import AccessKeeper
from kubesteer.cli.keeping.certificates import CertificateKeeper
from kubesteer.cli.keeping.loop import Keeper, Log, Round
from kubesteer.cli.keeping.requests import RequestKeeper
from kubesteer.cli.keeping.settings import KeeperSettings
from kubesteer.cli.keeping.snapshots import Snapshots
from kubesteer.clients.kubernetes.access import from_kubeconfig, in_cluster
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.certificate_requests import RequestAnswers, requests_to
from kubesteer.clients.kubernetes.objects import Object, ObjectT
from kubesteer.clients.kubernetes.reflector import Pace, Reflector
from kubesteer.clients.kubernetes.resource import NODES, Resource, by_name, resource
from kubesteer.clients.kubernetes.reviews import Reviews
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.clients.ops_pages import serving
from kubesteer.clients.ops_tls import server_tls
from kubesteer.clients.tasks import end_of
from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.etcd_users import AGENT, AGENT_SIGNER

_SYNC_WITHIN_S = 30.0
_UNSIGNED_LASTS = timedelta(days=3650)
_MAKER = Maker(lambda: ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number)


async def keep(
    settings: KeeperSettings, environ: Mapping[str, str], log: Log, lines_dropped: Callable[[], float]
) -> None:
    """Rounds until SIGTERM or SIGINT. Raises InvalidSettings, and what ended a task that must not end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ops = settings.ops
    async with AsyncExitStack() as stack:
        keeper, following, api = await stack.enter_async_context(opened(settings, environ, log))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubesteer-keeper-ops-")))
        tls = server_tls(ops.cert_file, ops.key_file, until_there=_unsigned(folder) if ops.cert_file else None)
        reviews = Reviews(api, audiences=ops.audiences) if ops.auth == "kubernetes" else None
        pages = serving(ops, keeper.report, keeper.metrics.registry, tls=tls, reviews=reviews)
        url = await stack.enter_async_context(pages)
        keeper.metrics.lines_dropped(lines_dropped)
        log.info("started", ops=url, namespace=settings.cluster.namespace)
        told: asyncio.Task[object] = asyncio.create_task(stop.wait())
        rounds = asyncio.create_task(keeper.run(), name="rounds")
        done, _ = await asyncio.wait({told, rounds, *following}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        for task in (told, rounds):
            task.cancel()
        await asyncio.gather(told, rounds, return_exceptions=True)
        for task in done - {told}:
            why = end_of(task)
            log.error("task ended by itself", task=task.get_name(), why=f"{type(why).__name__}: {why}")
            raise why


async def keep_once(settings: KeeperSettings, environ: Mapping[str, str], log: Log) -> Round:
    """One round. Raises InvalidSettings."""
    async with opened(settings, environ, log) as (keeper, _, _):
        return await keeper.round()


@asynccontextmanager
async def opened(
    settings: KeeperSettings, environ: Mapping[str, str], log: Log
) -> AsyncIterator[tuple[Keeper, set[asyncio.Task[None]], ApiServer]]:
    """The keeper, the tasks by which it follows nodes and requests where it needs them, and the API server.

    Raises InvalidSettings.
    """
    cluster, certificates, etcd = settings.cluster, settings.certificates, settings.etcd
    file = cluster.kubeconfig
    load = in_cluster(environ) if file is None else from_kubeconfig(file, context=cluster.context)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer(load, timeout_s=cluster.timeout_s))
        secrets = Secrets(api, cluster.namespace)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubesteer-keeper-")))
        followed, requests, tasks = _Nodes(api), None, set[asyncio.Task[None]]()
        all_of_them = wanted(cluster.namespace, members=certificates.members)
        of_certificates = CertificateKeeper(all_of_them, certificates.lives(), secrets, _MAKER, _now)
        of_access = AccessKeeper(etcd, secrets, followed.uids, folder, _now)
        stack.push_async_callback(of_access.close)
        if etcd.per_node:
            requests = RequestKeeper(
                RequestAnswers(api),
                account=f"system:serviceaccount:{cluster.namespace}:{AGENT}",
                lasts=certificates.lives().node,
                signer=lambda: signer(of_certificates.secrets.get(ETCD), _now()),
                nodes=followed.uids,
                admit=of_access.admit,
                make=_MAKER,
                now=_now,
            )
            following = _followed(api, requests_to(AGENT_SIGNER, put=requests.put, delete=requests.delete))
            tasks = await _started(stack, nodes=followed.reflector, requests=following)
        made, access = of_certificates if certificates.make else None, of_access.step if etcd.manage else None
        snapshots = Snapshots(api, cluster.namespace) if etcd.manage else None
        yield Keeper(made, access, requests, snapshots, pace=settings.pace, now=_now, log=log), tasks, api


def _unsigned(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key, in files: the keeper's own is made in its first round."""
    pair = issue_authority("kubesteer-keeper", _MAKER, now=_now(), lasts=_UNSIGNED_LASTS)
    files = (folder / "tls.crt", cert_pem(pair.certificate)), (folder / "tls.key", key_pem(pair.key))
    for path, content in files:
        path.touch(mode=0o600)
        path.write_bytes(content)
    return files[0][0], files[1][0]


class _Nodes:
    """All Nodes' uids by name."""

    def __init__(self, api: ApiServer) -> None:
        self._uids: dict[str, str] = {}
        nodes = resource(Object, NODES, kind="Node", put=self._put, delete=self._delete, key=by_name)
        self.reflector = _followed(api, nodes)

    def _put(self, node: Object) -> None:
        self._uids[node.metadata.name] = node.metadata.uid or ""

    def _delete(self, name: str) -> None:
        self._uids.pop(name, None)

    def uids(self) -> Mapping[str, str]:
        """Raises ClusterUnavailable until they are known."""
        if not self.reflector.synced:
            raise ClusterUnavailable(f"nodes are not listed yet: {self.reflector.fault or 'the list has not ended'}")
        return self._uids


def _followed(api: ApiServer, what: Resource[ObjectT]) -> Reflector[ObjectT]:
    random = Random(os.urandom(16))  # noqa: S311 - spreads out attempts
    return Reflector(api, what, pace=Pace(), random=random, clock=time.monotonic, sleep=asyncio.sleep)


async def _started(stack: AsyncExitStack, **reflectors: Reflector[Any]) -> set[asyncio.Task[None]]:
    """Runs them until the stack ends; goes on when all have listed once, or it takes too long."""
    tasks = {asyncio.create_task(each.run(), name=name) for name, each in reflectors.items()}

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)
    give_up_s = time.monotonic() + _SYNC_WITHIN_S
    while not all(each.synced for each in reflectors.values()) and time.monotonic() < give_up_s:  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.05)
    return tasks


def _now() -> datetime:
    return datetime.now(UTC)
