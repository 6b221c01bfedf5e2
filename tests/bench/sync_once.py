"""One measurement of part 3 in a process of its own, so that memory and caches start fresh.

    python -m tests.bench.sync_once read KUBECONFIG      only read the bytes: the same pages, the same client
    python -m tests.bench.sync_once sync KUBECONFIG      the real source into a real cluster state
    python -m tests.bench.sync_once follow KUBECONFIG SECONDS
                                                         the same, then tick for so long while events come in

Prints one JSON object. `follow` prints a line when it is in sync, and its object at the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any

import uvloop

from kubesteer.clients.kubernetes.access import from_kubeconfig
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.reflector import Pace
from kubesteer.clients.kubernetes.resource import continue_token, nodes_into, pods_into
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.placement.cluster_state import ClusterState
from tests.bench.machine import peak_rss_mb, rss_mb

if TYPE_CHECKING:
    from collections.abc import Mapping

TICK_S = 0.001


async def read(kubeconfig: str) -> dict[str, Any]:
    """Every page of nodes and of pods at once, as the two reflectors ask for them, and nothing done with the bytes."""
    state = ClusterState(len(DEFAULT_NETWORK), charge_ttl_s=10)
    async with ApiServer(from_kubeconfig(kubeconfig)) as api:
        nodes, pods = nodes_into(state, DEFAULT_NETWORK), pods_into(state, DEFAULT_NETWORK)
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        sizes = await asyncio.gather(*(_pages(api, one.path, one.selector) for one in (nodes, pods)))
        return _result(begun_s, cpu_s, bytes=sum(sizes))


async def _pages(api: ApiServer, path: str, selector: Mapping[str, str]) -> int:
    params, size_b = {"limit": str(Pace().page), **selector}, 0
    while True:
        body = await api.get(path, params)
        size_b += len(body)
        token = continue_token(body)
        if not token:
            return size_b
        params["continue"] = token


async def sync(kubeconfig: str, follow_s: float) -> dict[str, Any]:
    """Until both lists are in the table; then, if asked to, the longest pauses of the event loop."""
    state = ClusterState(len(DEFAULT_NETWORK), charge_ttl_s=10)
    async with ApiServer(from_kubeconfig(kubeconfig)) as api:
        source = KubernetesSource(api, DEFAULT_NETWORK, random=Random(1))
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        ticker = Ticker()
        tasks = [asyncio.create_task(source.run(state)), asyncio.create_task(ticker.run())]
        while not (source.status().nodes_synced and source.status().pods_synced):
            await asyncio.sleep(0.005)
        table = state.table
        result = _result(begun_s, cpu_s, nodes=table.node_count, pods=table.pod_count, sync_stall_ms=ticker.longest_ms)
        if follow_s:
            gc.collect()
            gc.freeze()
            before = source.status().events
            sys.stdout.write("in sync\n")
            sys.stdout.flush()
            await asyncio.sleep(0.5)
            ticker.reset()
            await asyncio.sleep(follow_s)
            result |= {
                "events": source.status().events - before,
                "stall_ms": ticker.longest_ms,
                "own_stall_ms": ticker.longest_own_ms,
                "rss_after_mb": rss_mb(os.getpid()),
            }
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return result


class Ticker:
    """Sleeps a millisecond at a time. What a sleep takes longer is a pause: by the clock, which also counts what other
    programs took of the core, and by this thread's own CPU time, which is what kubesteer itself held the loop for.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.longest_ms = self.longest_own_ms = 0.0

    async def run(self) -> None:
        while True:
            clock_s, own_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            pause_ms = (time.perf_counter() - clock_s - TICK_S) * 1e3
            own_ms = (time.thread_time() - own_s) * 1e3
            self.longest_ms, self.longest_own_ms = max(self.longest_ms, pause_ms), max(self.longest_own_ms, own_ms)


def _result(begun_s: float, cpu_s: float, **more: float) -> dict[str, Any]:
    return {
        "seconds": time.perf_counter() - begun_s,
        "cpu_s": time.process_time() - cpu_s,
        "rss_mb": rss_mb(os.getpid()),
        "peak_rss_mb": peak_rss_mb(os.getpid()),
        **more,
    }


if __name__ == "__main__":
    mode, kubeconfig_file, *rest = sys.argv[1:]
    run = read(kubeconfig_file) if mode == "read" else sync(kubeconfig_file, float(rest[0]) if rest else 0.0)
    sys.stdout.write(json.dumps(uvloop.run(run)) + "\n")
