"""Part 1: single HTTP calls. The same calls to the floor, to the do-nothing Go extender and to kubesteer, interleaved.

The client is a Go program on one core; the servers share another and take turns. kubesteer has every term on: the pod
asks for bandwidth, every node has a reward for its type, other pods were just promised to nodes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from tests.bench import objects
from tests.bench.machine import pinned
from tools.cluster.extender import ROOT, Extender
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from tools.cluster.build import Binaries

VERBS = ("filter", "prioritize")
FLOOR, NOOP, KUBESTEER = "floor", "noop Go", "kubesteer"
NODES = 5_000
CLIENT_CORE, SERVER_CORE = 0, 1
LARGE = "1G"
"""As much as the smallest node has in all."""
NIC_BPS = {"1G": 10**9, "10G": 10**10, "25G": 25 * 10**9}
UNCOUNTED = 3
"""First calls of each turn, which find caches that another server left."""
CHARGE_TTL_S = 0.2
"""A real cluster confirms a pod by its watch within this time; a cluster file never does."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked: how many candidates, as names or as full nodes; refused: by a pod that none has room for."""

    name: str
    candidates: int
    full: bool = False
    refused: bool = False


SHAPES = (Shape("100 names", 100), Shape("500 names", 500), Shape("5,000 names", 5_000))
REFUSED = (
    Shape("500 names, all refused", 500, refused=True),
    Shape("5,000 names, all refused", 5_000, refused=True),
)
FULL = Shape("500 full nodes", 500, full=True)


@dataclass(frozen=True, slots=True)
class Measured:
    """One server on one shape: microseconds of each call, CPU of a call (mean of both verbs), memory at the end.

    Where all are refused nobody is asked for scores.
    """

    shape: str
    server: str
    filter_us: list[float]
    prioritize_us: list[float]
    cpu_us: float
    rss_mb: float

    def p50_us(self, verb: str) -> float:
        return median(self._of(verb))

    def p99_us(self, verb: str) -> float:
        return quantiles(self._of(verb), n=100)[98]

    def _of(self, verb: str) -> list[float]:
        return self.filter_us if verb == "filter" else self.prioritize_us


def measure(binaries: Binaries, *, rounds: int, pods: int) -> list[Measured]:
    """Names in `rounds` rounds of `pods` pods a server and shape; full nodes, which take long, with fewer pods."""
    with tempfile.TemporaryDirectory(prefix="kubesteer-bench-") as folder, Guard() as guard:
        directory = Path(folder)
        settings = write_cluster(directory)
        with pinned(SERVER_CORE):
            kubesteer = Extender(settings)
            kubesteer.start()
        try:
            with pinned(SERVER_CORE):
                processes = _start_others(directory, kubesteer, binaries, guard)
            processes[KUBESTEER] = (kubesteer.port, kubesteer.process)
            targets = [
                {"Name": name, "Address": f"127.0.0.1:{port}", "Process": process.pid}
                for name, (port, process) in processes.items()
            ]
            shapes = (*SHAPES, *REFUSED)
            results = _call(binaries, guard, directory, targets, shapes, rounds=rounds, pods=pods)
            results += _call(binaries, guard, directory, targets, (FULL,), rounds=rounds, pods=max(4, pods // 10))
        finally:
            kubesteer.process.stop()
    return results


def write_cluster(directory: Path, *, pods_a_node: int = 8) -> dict[str, Any]:
    """A cluster file and a rewards file for NODES nodes; returns the settings that read them.

    Each node has another 300 to 900 Mbit/s left to send: room for the pods that are asked about, none for a LARGE one.
    """
    names = [objects.node_name(i) for i in range(NODES)]
    pods = [
        {
            "kind": "Pod",
            "metadata": {"name": f"old-{i}-{j}", "uid": f"old-{i}-{j}"},
            "spec": {
                "nodeName": name,
                "containers": [
                    {
                        "name": "main",
                        "resources": {
                            "requests": {
                                "cpu": f"{100 + (i * 7 + j * 13) % 1500}m",
                                "memory": f"{128 + (i * 11 + j * 29) % 4000}Mi",
                                "kubesteer.io/egress-bps": f"{5 + (i * 5 + j * 3) % 90}M",
                            }
                        },
                    }
                ],
            },
        }
        for i, name in enumerate(names)
        for j in range(pods_a_node)
    ]
    for i in range(NODES):
        taken_mbps = sum(5 + (i * 5 + j * 3) % 90 for j in range(pods_a_node))
        left_bps = 300_000_000 + i * 7_919_000 % (600_000_000 - taken_mbps * 1_000_000)
        rest_bps = NIC_BPS[objects.NICS_BPS[i % len(objects.NICS_BPS)]] - taken_mbps * 1_000_000 - left_bps
        pods.append(_sender(i, names[i], rest_bps))
    nodes = [objects.node(i) for i in range(NODES)]
    cluster, rewards = directory / "cluster.json", directory / "rewards.json"
    cluster.write_text(json.dumps({"kind": "List", "items": [*nodes, *pods]}))
    learned = [
        {"node": name, "podType": objects.POD_TYPE, "mean": (i * 37 % 100) / 100, "evidence": 1 + i % 20}
        for i, name in enumerate(names)
    ]
    rewards.write_text(json.dumps(learned))
    return {
        "cluster": {"source": "file", "file": str(cluster), "poll_s": 3600},
        "rewards": {"source": "file", "file": str(rewards), "poll_s": 1},
        "score": {"charge_ttl_s": CHARGE_TTL_S},
    }


def _sender(number: int, node_name: str, egress_bps: int) -> dict[str, Any]:
    """A pod that sends so much and takes nothing else."""
    requests = {"kubesteer.io/egress-bps": str(egress_bps)}
    return {
        "kind": "Pod",
        "metadata": {"name": f"sender-{number}", "uid": f"sender-{number}"},
        "spec": {"nodeName": node_name, "containers": [{"name": "main", "resources": {"requests": requests}}]},
    }


def _start_others(
    directory: Path, kubesteer: Extender, binaries: Binaries, guard: Guard
) -> dict[str, tuple[int, Process]]:
    floor_port, noop_port = free_ports(2)
    answers = directory / "answers"
    answers.mkdir()
    for shape in (*SHAPES, FULL):
        body = _example_body(shape)
        for verb in VERBS:
            answer = kubesteer.post(verb, body)
            (answers / f"{len(body)}-{verb}").write_bytes(json.dumps(answer, separators=(",", ":")).encode())
    canned = Process(
        FLOOR,
        [sys.executable, "-m", "tests.bench.canned", str(floor_port), answers],
        directory=ROOT,
        log=directory / "floor.log",
        guard=guard,
    )
    noop = Process(
        NOOP,
        [binaries.path("noop", bundle="own"), f"--addr=127.0.0.1:{noop_port}"],
        directory=directory,
        log=directory / "noop.log",
        guard=guard,
    )
    canned.wait_until(lambda: _listens(floor_port), within_s=10)
    noop.wait_until(lambda: _listens(noop_port), within_s=10)
    return {FLOOR: (floor_port, canned), NOOP: (noop_port, noop)}


def _example_body(shape: Shape) -> bytes:
    nodes = range(shape.candidates)
    return json.dumps(
        {
            "Pod": objects.pod("example", uid="uid-example"),
            "Nodes": {"metadata": {}, "items": [objects.node(i) for i in nodes]} if shape.full else None,
            "NodeNames": None if shape.full else [objects.node_name(i) for i in nodes],
        },
        separators=(",", ":"),
    ).encode()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _call(
    binaries: Binaries,
    guard: Guard,
    directory: Path,
    targets: list[dict[str, Any]],
    shapes: tuple[Shape, ...],
    *,
    rounds: int,
    pods: int,
) -> list[Measured]:
    plan = {
        "Rounds": rounds,
        "Pods": pods,
        "WarmUp": pods,
        "Uncounted": UNCOUNTED,
        "Targets": targets,
        "Cases": [
            {
                "Name": shape.name,
                "Candidates": shape.candidates,
                "Full": shape.full,
                "Refused": shape.refused,
                "Only": KUBESTEER if shape.refused else "",
            }
            for shape in shapes
        ],
        "Names": [objects.node_name(i) for i in range(NODES)],
        "Nodes": [objects.node(i) for i in range(NODES)] if any(shape.full for shape in shapes) else [],
        "Pod": _pod_text("10M"),
        "Large": _pod_text(LARGE),
    }
    with pinned(CLIENT_CORE):
        done = subprocess.run(
            [binaries.path("caller", bundle="own")],
            input=json.dumps(plan, separators=(",", ":")).encode(),
            stdout=subprocess.PIPE,
            check=True,
            process_group=guard.group,
        )
    return [
        Measured(
            shape=one["Case"],
            server=one["Target"],
            filter_us=one["FilterUS"],
            prioritize_us=one["ScoreUS"] or [],
            cpu_us=one["CPUPerCallUS"],
            rss_mb=one["RSSKiB"] * 1024 / 1e6,
        )
        for one in json.loads(done.stdout)
    ]


def _pod_text(egress: str) -> str:
    pod = objects.pod("web-@ID@", uid="b6f5a7de-6c92-4f0e-9d44-@ID@", egress=egress)
    return json.dumps(pod, separators=(",", ":"))
