"""Part 3: a large cluster. How long kubesteer takes to know it, what that costs in memory, and whether a stream of
events stops its event loop. The objects are as large as real ones, in a real API server.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench import objects
from tests.bench.load import NODES, PODS, Loader
from tests.bench.machine import peak_rss_mb, rss_mb
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import ROOT, Extender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.cluster.build import Binaries

EVENTS_PER_S = 500
WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Synced:
    """Medians over the rounds; the stalls are the longest of all."""

    nodes: int
    pods: int
    megabytes: float
    read_s: float
    sync_s: float
    read_cpu_s: float
    sync_cpu_s: float
    service_rss_mb: float
    service_peak_mb: float
    sync_stall_ms: float
    events_per_s: float
    stall_ms: float
    own_stall_ms: float


def measure(
    binaries: Binaries, *, nodes: int, pods: int, rounds: int, follow_s: float, say: Callable[[str], None] = print
) -> Synced:
    """Fill an API server; then read and sync by turns, run the service, and follow events."""
    with ControlPlane(binaries, load_test=True) as plane:
        say(f"creating {nodes} nodes and {pods} pods ...")
        asyncio.run(_fill(plane, nodes, pods, say))
        kubeconfig = str(plane.kubeconfig)
        read, sync = [], []
        for number in range(rounds + 1):
            one, other = _once("read", kubeconfig), _once("sync", kubeconfig)
            if (other["nodes"], other["pods"]) != (nodes, pods):
                raise RuntimeError(
                    f"kubesteer knows {other['nodes']} nodes and {other['pods']} pods, not all there are"
                )
            if number:  # the first fills the API server's own caches
                read.append(one)
                sync.append(other)
                say(f"round {number} of {rounds}: read {one['seconds']:.2f} s, sync {other['seconds']:.2f} s")
        with Extender({"cluster": {"source": "kubernetes", "kubeconfig": kubeconfig}}) as extender:
            rss, peak = rss_mb(extender.process.pid), peak_rss_mb(extender.process.pid)
        say(f"following {EVENTS_PER_S} events/s for {follow_s:g} s ...")
        followed = _follow(plane, follow_s)
    return Synced(
        nodes=nodes,
        pods=pods,
        megabytes=read[0]["bytes"] / 1e6,
        read_s=median(one["seconds"] for one in read),
        sync_s=median(one["seconds"] for one in sync),
        read_cpu_s=median(one["cpu_s"] for one in read),
        sync_cpu_s=median(one["cpu_s"] for one in sync),
        service_rss_mb=rss,
        service_peak_mb=peak,
        sync_stall_ms=max(one["sync_stall_ms"] for one in sync),
        events_per_s=followed["events"] / (follow_s + 0.5),
        stall_ms=followed["stall_ms"],
        own_stall_ms=followed["own_stall_ms"],
    )


async def _fill(plane: ControlPlane, nodes: int, pods: int, say: Callable[[str], None]) -> None:
    def all_pods() -> Iterator[dict[str, Any]]:
        for number in range(pods):
            yield objects.pod(f"web-{number:05}", on_node=objects.node_name(number % nodes))

    async with Loader(plane.kubeconfig) as loader:
        await loader.create(NODES, map(objects.node, range(nodes)), tell=lambda _: None)
        await loader.create(PODS, all_pods(), tell=lambda done: say(f"  {done} pods"))


def _once(mode: str, kubeconfig: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.sync_once", mode, kubeconfig]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=120)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _follow(plane: ControlPlane, follow_s: float) -> dict[str, Any]:
    """Events begin once the follower is in sync, and go on until after it has stopped counting."""
    command = [sys.executable, "-m", "tests.bench.sync_once", "follow", str(plane.kubeconfig), str(follow_s)]
    names = [f"web-{number:05}" for number in range(1000)]

    async def events() -> None:
        async with Loader(plane.kubeconfig) as loader:
            await loader.patch_at_rate(names, per_s=EVENTS_PER_S, for_s=follow_s + WARM_UP_S)

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as follower:
        try:
            if follower.stdout is None or follower.stdout.readline() != "in sync\n":
                raise RuntimeError("the follower did not get in sync")
            asyncio.run(events())
            text, _ = follower.communicate(timeout=60)
        except BaseException:
            follower.kill()
            raise
    result: dict[str, Any] = json.loads(text)
    return result
