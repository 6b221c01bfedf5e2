"""Everything that takes part, as real processes: control plane, etcd, extender, one agent a node. Started and stopped."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.cluster.build import cache_folder, find
from tools.cluster.bundles import ALWAYS
from tools.cluster.controlplane import KWOK, ControlPlane
from tools.cluster.extender import ROOT, Extender, scheduler_config, scheduler_entry
from tools.cluster.objects import node
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process
from tools.demo.pace import Pace
from tools.demo.stages import ends, restarts

TYPE = "D"
FAILING, RESTARTING, GOOD = NODES = ("node-1", "node-2", "node-3")
PREFIX = "/demo"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class NotBuiltError(Exception):
    """The control plane's programs are not there."""


@dataclass(frozen=True, slots=True)
class Cast:
    bed: ControlPlane
    etcd: str
    """Where it listens: the control plane's own, in which kubesteer has its keys below PREFIX."""
    pace: Pace

    def repair(self) -> None:
        """Pods end no longer on the node where they always did: its Stage is gone.

        KWOK reads its Stages at the start. The leases of the KWOK before, with which it says that it plays the
        kubelet of these nodes, would keep the new one waiting.
        """
        self.bed.parts.pop(KWOK).process.stop()
        self.bed.client.request("DELETE", _LEASES)
        self.bed.start_kwok(_stages(self.pace, failing=False))


@contextmanager
def cast(pace: Pace) -> Iterator[Cast]:
    """All of it, ready; nothing is left afterwards."""
    binaries = find(cache_folder(os.environ))
    if missing := [bundle.name for bundle in ALWAYS if not binaries.has(bundle)]:
        raise NotBuiltError(f"{', '.join(missing)}: not built; run `make cluster-binaries`")
    with ExitStack() as stack:
        bed = stack.enter_context(ControlPlane(binaries))
        etcd = bed.layout.etcd_url.removeprefix("http://")
        bed.start_kwok(_stages(pace, failing=True))
        bed.client.create_all(node(name, cpu="64", memory="256Gi") for name in NODES)
        extender = stack.enter_context(Extender(_extender_settings(pace, bed, etcd)))
        bed.start_scheduler(scheduler_config(scheduler_entry(extender, ignorable=False)))
        folder = Path(tempfile.mkdtemp(prefix="kubesteer-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        guard = stack.enter_context(Guard())
        for agent, ready in [_agent(name, folder, guard, pace, bed, etcd) for name in NODES]:
            stack.callback(agent.stop)
            agent.wait_until(ready, within_s=60)
        yield Cast(bed, etcd, pace)


def _stages(pace: Pace, *, failing: bool) -> list[dict[str, Any]]:
    soon = ends(TYPE, FAILING, exit_code=1, after_s=pace.fails_after_s, at_most_s=pace.fails_after_s + 1)
    later = ends(TYPE, RESTARTING, exit_code=2, after_s=pace.restarts_after_s, at_most_s=pace.restarts_after_s + 2)
    return [*([soon] if failing else []), later, *restarts(TYPE)]


def _extender_settings(pace: Pace, bed: ControlPlane, etcd: str) -> dict[str, Any]:
    return {
        "cluster": {"source": "kubernetes", "kubeconfig": str(bed.kubeconfig)},
        "rewards": {
            "source": "etcd",
            "endpoints": [etcd],
            "prefix": PREFIX,
            "half_life_s": pace.half_life_s,
            "choice": "thompson",
        },
    }


def _agent(name: str, folder: Path, guard: Guard, pace: Pace, bed: ControlPlane, etcd: str) -> tuple[Process, Any]:
    [port] = free_ports(1)
    settings = {
        "node": {"name": name},
        "cluster": {"kubeconfig": str(bed.kubeconfig)},
        "store": {"endpoints": [etcd], "prefix": PREFIX, "flush_s": 0.5},
        "learning": {
            "half_life_s": pace.half_life_s,
            "success_after_s": pace.success_after_s,
            "mttf_s": pace.mttf_s,
            "judge_every_s": 1.0,
        },
        "network": {"publish": False},
        "ops": {"port": port},
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "monitor_agent", "--config", str(config)]
    process = Process(f"agent of {name}", command, directory=ROOT, log=folder / f"{name}.log", guard=guard)
    return process, lambda: _is_ready(port)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.HTTPError, OSError):
        return False
