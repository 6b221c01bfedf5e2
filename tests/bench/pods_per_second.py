"""Part 2: the real kube-scheduler. Pods are there first, then the scheduler starts; the clock runs from the first
binding that a watch shows to the last.

Scheduler, API server, etcd, extender and watcher share the machine, so only ratios within one run mean something:
variants take turns, and each turn starts from an empty cluster with the same nodes. In further turns the extender has a
core of its own, and all the others share another one.
"""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from tests.bench.load import NODES, PODS, Loader
from tests.bench.machine import cpu_s, pin, pinned
from tools.cluster.controlplane import API_SERVER, ETCD, SCHEDULER, ControlPlane
from tools.cluster.extender import Extender, scheduler_config
from tools.cluster.objects import node, pod
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.cluster.build import Binaries

NONE, NOOP, ALL_TERMS, SHORTLIST = "no extender", "noop Go", "kubesteer, all terms", "kubesteer, shortlist: 1"
VARIANTS = (NONE, NOOP, ALL_TERMS, SHORTLIST)
SLO = {"kubesteer.io/egress-bps": "10M", "kubesteer.io/ingress-bps": "10M"}
POD_TYPE = "web"
REWARDS_PREFIX = "/kubesteer/rewards"
SHARED, APART = "shared", "extender apart"
"""How the cores are dealt out."""
APART_CORE, OTHERS_CORE = 0, 1
MOST_OPS = 100
"""Puts in one transaction; etcd takes 128."""


@dataclass(frozen=True, slots=True)
class Run:
    """One turn of one variant: pods/s, and CPU milliseconds a pod in each process that takes part."""

    nodes: int
    variant: str
    pods_per_s: float
    scheduler_ms: float
    extender_ms: float
    api_server_ms: float
    etcd_ms: float
    cores: str = SHARED


def measure(
    binaries: Binaries,
    *,
    nodes: int,
    pods: int,
    rounds: int,
    apart_rounds: int,
    say: Callable[[str], None] = print,
) -> list[Run]:
    """All variants, `rounds` times in turn, on one control plane; then `apart_rounds` times on cores dealt out."""
    runs = []
    with ControlPlane(binaries, load_test=True) as plane:
        names = [f"node-{i:05}" for i in range(nodes)]
        capacity = {"kubesteer.io/egress-bps": "10G", "kubesteer.io/ingress-bps": "10G"}
        _create(plane, NODES, [node(name, cpu="32", memory="128Gi", resources=capacity) for name in names])
        _put_rewards(plane, names)
        for number, cores in enumerate([SHARED] * rounds + [APART] * apart_rounds):
            for turn in range(len(VARIANTS)):
                variant = VARIANTS[(turn + number) % len(VARIANTS)]
                with _dealt_out(plane, cores):
                    run = replace(_turn(plane, binaries, variant, cores, nodes=nodes, pods=pods), cores=cores)
                runs.append(run)
                say(f"{nodes} nodes, round {number + 1}, cores {cores}: {variant}: {run.pods_per_s:.0f} pods/s")
    return runs


def summary(runs: list[Run], nodes: int, variant: str, cores: str = SHARED) -> Run:
    """Medians of the turns."""
    of = [run for run in runs if (run.nodes, run.variant, run.cores) == (nodes, variant, cores)]
    return Run(
        nodes,
        variant,
        median(run.pods_per_s for run in of),
        median(run.scheduler_ms for run in of),
        median(run.extender_ms for run in of),
        median(run.api_server_ms for run in of),
        median(run.etcd_ms for run in of),
        cores,
    )


@contextmanager
def _dealt_out(plane: ControlPlane, cores: str) -> Iterator[None]:
    """Whatever runs, and is started in here, is on the others' core, where cores are dealt out."""
    if cores == SHARED:
        yield
        return
    pids, every = [part.process.pid for part in plane.parts.values()], os.sched_getaffinity(0)
    with pinned(OTHERS_CORE):
        for pid in pids:
            pin(pid, os.sched_getaffinity(0))
        try:
            yield
        finally:
            for pid in pids:
                pin(pid, every)


def _turn(plane: ControlPlane, binaries: Binaries, variant: str, cores: str, *, nodes: int, pods: int) -> Run:
    _delete_pods(plane)
    _create(
        plane,
        PODS,
        [
            pod(f"p{i:05}", requests={"cpu": "100m", "memory": "128Mi"}, limits=SLO, labels={"podtype": POD_TYPE})
            for i in range(pods)
        ],
    )
    with ExitStack() as stack:
        config, extender_pid = _extender(stack, plane, binaries, variant)
        if extender_pid and cores == APART:
            pin(extender_pid, {APART_CORE})
        watcher = _Watcher(plane, pods)
        meters = [extender_pid, *(plane.parts[part].process.pid for part in (API_SERVER, ETCD))]
        before_s = [cpu_s(pid) if pid else 0.0 for pid in meters]
        plane.start_scheduler(config)
        stack.callback(plane.stop_scheduler)
        scheduler_pid = plane.parts[SCHEDULER].process.pid
        took_s = watcher.wait()
        extender_ms, api_server_ms, etcd_ms = (
            (cpu_s(pid) - since_s) * 1e3 / pods if pid else 0.0 for pid, since_s in zip(meters, before_s, strict=True)
        )
        scheduler_ms = cpu_s(scheduler_pid) * 1e3 / pods
        return Run(nodes, variant, (pods - 1) / took_s, scheduler_ms, extender_ms, api_server_ms, etcd_ms)


def _extender(
    stack: ExitStack, plane: ControlPlane, binaries: Binaries, variant: str
) -> tuple[dict[str, Any], int | None]:
    """Start what the variant needs; the scheduler's configuration and the extender's process."""
    if variant == NONE:
        return {}, None
    if variant == NOOP:
        guard = stack.enter_context(Guard())
        [port] = free_ports(1)
        command: list[str | Path] = [binaries.path("noop", bundle="own"), f"--addr=127.0.0.1:{port}"]
        directory = plane.layout.directory
        process = Process("noop", command, directory=directory, log=directory / "noop.log", guard=guard)
        url = f"http://127.0.0.1:{port}"
    else:
        settings: dict[str, Any] = {
            "cluster": {"source": "kubernetes", "kubeconfig": str(plane.kubeconfig)},
            "rewards": {
                "source": "etcd",
                "endpoints": [plane.layout.etcd_url.removeprefix("http://")],
                "prefix": REWARDS_PREFIX,
            },
        }
        if variant == SHORTLIST:
            settings["filter"] = {"shortlist": 1}
        extender = stack.enter_context(Extender(settings))
        if not extender.metric("kubesteer_rewards"):
            raise RuntimeError("kubesteer has no rewards: not all terms would be on")
        process, url = extender.process, extender.url
    entry = {
        "urlPrefix": url,
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "weight": 5,
        "httpTimeout": "5s",
        "nodeCacheCapable": True,
        "ignorable": False,
    }
    return scheduler_config(entry), process.pid


class _Watcher:
    """Sees bindings as the API server tells of them."""

    def __init__(self, plane: ControlPlane, pods: int) -> None:
        self._pods = pods
        self._bound: dict[str, float] = {}
        listed = plane.client.request("GET", PODS, params={"limit": "1"})
        self._events = plane.client.watch(
            "Pod", namespace="default", since=listed["metadata"]["resourceVersion"], for_s=300
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self) -> float:
        """Seconds from the first to the last binding."""
        self._thread.join(300)
        if len(self._bound) < self._pods:
            raise TimeoutError(f"{len(self._bound)} of {self._pods} pods bound within 300 s")
        return max(self._bound.values()) - min(self._bound.values())

    def _read(self) -> None:
        for event in self._events:
            if event["object"]["spec"].get("nodeName"):
                self._bound.setdefault(event["object"]["metadata"]["name"], time.monotonic())
                if len(self._bound) == self._pods:
                    return


def _create(plane: ControlPlane, path: str, things: list[dict[str, Any]]) -> None:
    async def create() -> None:
        async with Loader(plane.kubeconfig) as loader:
            await loader.create(path, things, tell=lambda _: None)

    asyncio.run(create())


def _delete_pods(plane: ControlPlane) -> None:
    async def delete() -> None:
        async with Loader(plane.kubeconfig) as loader:
            await loader.delete_all(PODS)

    asyncio.run(delete())


def _put_rewards(plane: ControlPlane, names: list[str]) -> None:
    """One reward a node for the pods' type, straight into the test bed's etcd."""

    def put(number: int, name: str) -> dict[str, Any]:
        record = RewardRecord(name, POD_TYPE, (number * 37 % 100) / 100, 1.0 + number % 20, time.time())
        key, value = encode_key(REWARDS_PREFIX, name, POD_TYPE), encode_value(record)
        return {"requestPut": {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}}

    puts = [put(number, name) for number, name in enumerate(names)]
    for start in range(0, len(puts), MOST_OPS):
        body = {"success": puts[start : start + MOST_OPS]}
        httpx.post(f"{plane.layout.etcd_url}/v3/kv/txn", json=body).raise_for_status()
