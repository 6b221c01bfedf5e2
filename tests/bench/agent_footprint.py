"""`python -m tests.bench.agent_footprint`: memory and CPU of an idle agent whose node has 110 pods.

The agent is a process of its own, as it is in a pod: a service account, TLS to an API server (the fake one of the
tests, in this process), a real etcd. Modules are compiled first, as an image has them, and SSL_CERT_FILE names the
service account's authority: the system's 140 would be read for nothing, and are 1.5 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.certificates import Authority
from tests.cluster_state.fake_api import FakeApi
from tests.rewards.etcd_server import EtcdServer

NODE = "node-1"
MOST_RSS_MB = 60.0
MOST_CPU_PERCENT = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Footprint:
    rss_mb: float
    anonymous_mb: float
    cpu_percent: float


def pod(number: int, unix_s: float) -> dict[str, Any]:
    """A pod as big as they are in clusters: two containers, a sidecar, labels, conditions, about 6 kB."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s - 3600))
    names = ("main", "metrics", "proxy")
    volume = {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    container = {
        "image": "registry.example/shop/service@sha256:" + "0" * 64,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"kubesteer.io/egress-bps": "20M"}},
        "env": [{"name": f"SETTING_{i}", "value": "x" * 40} for i in range(20)],
        "volumeMounts": [volume] * 4,
        "terminationMessagePath": "/dev/termination-log",
    }
    status = {
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": started}},
        "image": container["image"],
    }
    types = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "labels": {"app": f"web-{number % 30}", "pod-template-hash": "6d4cf56db6"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{i}": {} for i in range(60)}}],
        },
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "containers": [{"name": name, **container} for name in names[:2]],
            "initContainers": [{"name": names[2], "restartPolicy": "Always", **container}],
        },
        "status": {
            "phase": "Running",
            "startTime": started,
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": started} for kind in types],
            "containerStatuses": [{"name": name, **status} for name in names[:2]],
            "initContainerStatuses": [{"name": names[2], **status}],
        },
    }


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


async def measure(seconds: float, pods: int) -> Footprint:
    with tempfile.TemporaryDirectory() as name, EtcdServer() as etcd:
        folder = Path(name)
        (folder / "token").write_text("t")
        api = FakeApi()
        await api.start(tls=Authority(folder, "ca").server())
        try:
            api.put(
                {"kind": "Node", "metadata": {"name": NODE, "uid": "n"}, "status": {"capacity": {}, "allocatable": {}}}
            )
            for number in range(pods):
                api.put(pod(number, time.time()))
            return await _run(folder, api.port, etcd.address, seconds, pods)
        finally:
            await api.stop()


async def _run(folder: Path, port: int, etcd: str, seconds: float, pods: int) -> Footprint:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KUBE"))},
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "kubesteer-bytecode"),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(port),
        "NODE_NAME": NODE,
        "SSL_CERT_FILE": str(folder / "ca.crt"),
        "KUBESTEER_AGENT_CLUSTER__SERVICE_ACCOUNT": str(folder),
        "KUBESTEER_AGENT_STORE__ENDPOINTS": json.dumps([etcd]),
        "KUBESTEER_AGENT_OPS__PORT": "0",
    }
    await _compile(environ)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor_agent", env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        ops = ""
        while not ops:
            ops = json.loads(await process.stdout.readline()).get("ops", "")
        drain = asyncio.create_task(process.stdout.read())
        await _ready(ops, pods)
        await asyncio.sleep(5)
        before_s, from_s = cpu_s(process.pid), time.monotonic()
        await asyncio.sleep(seconds)
        cpu = (cpu_s(process.pid) - before_s) / (time.monotonic() - from_s)
        measured = Footprint(memory_mb(process.pid, "VmRSS"), memory_mb(process.pid, "RssAnon"), 100 * cpu)
    finally:
        process.terminate()
        began_s = time.monotonic()
        code = await process.wait()
    print(
        f"SIGTERM: status {code} after {time.monotonic() - began_s:.2f} s; last line: {(await drain).decode().splitlines()[-1]}"
    )
    return measured


async def _compile(environ: dict[str, str]) -> None:
    """One start and stop writes what an image has: modules as bytecode."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import monitor_agent.app, kubesteer.clients.rewards.etcd", env=environ
    )
    await process.wait()


async def _ready(ops: str, pods: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{ops}/readyz") as answer:
                told = await answer.json()
            if told["ready"] and told["watch"]["pods"] == pods and not told["column"]["waiting"]:
                return
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agent_footprint", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pods", type=int, default=110)
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.seconds, asked.pods))
    memory, cpu = _verdict(found.rss_mb, MOST_RSS_MB), _verdict(found.cpu_percent, MOST_CPU_PERCENT)
    print(
        f"RSS {found.rss_mb:.1f} MB, of it anonymous {found.anonymous_mb:.1f} MB (aim: below {MOST_RSS_MB:g} MB, {memory})"
    )
    print(
        f"CPU {found.cpu_percent:.2f} % of a core over {asked.seconds:g} s (aim: below {MOST_CPU_PERCENT:g} %, {cpu})"
    )


def _verdict(figure: float, bound: float) -> str:
    return "met" if figure < bound else "missed"


if __name__ == "__main__":
    main()
