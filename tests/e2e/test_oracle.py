"""1,000 fresh random clusters, counted and judged by the scheduler's own code and by kubesteer: no number may differ.

The clusters come from the Go program `oracle`. It holds requests and limits as the API server leaves them, so a limit
never stands without its request. tests/placement holds a frozen file of the same kind, for machines without Go.
"""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kubesteer.clients.kubernetes import objects
from kubesteer.model.cluster import NO_CAPACITY, PodSummary, summarise_node, summarise_pod
from kubesteer.model.network import NetworkResource
from kubesteer.placement.balance import RULES, is_best_effort, load_of
from kubesteer.placement.candidates import Candidates, Circumstances, from_table
from kubesteer.placement.engine import Engine
from kubesteer.placement.policy import Policy
from kubesteer.placement.table import CPU, MEMORY, NETWORK, NodeTable
from tools.cluster.bundles import OWN

if TYPE_CHECKING:
    from tools.cluster.build import Binaries

NETWORK_RESOURCES = (NetworkResource("egress", ("kubesteer.io/egress-bps",), "kubernetes.io/egress-bandwidth"),)
ENGINE = Engine(Policy(network=NETWORK_RESOURCES))
CLUSTERS = 1_000
FIXED_SEED = 20_221_122
SHOWN = 10


@pytest.mark.parametrize("seed", [FIXED_SEED, None], ids=["fixed-seed", "random-seed"])
def test_kubesteer_counts_and_judges_as_the_scheduler_does(
    seed: int | None, binaries: Binaries, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(2**63) if seed is None else seed
    command = [binaries.path("oracle", bundle=OWN.name), f"--seed={seed}", f"--clusters={CLUSTERS}"]
    clusters = json.loads(subprocess.check_output(command))
    compared, different = 0, []
    for number, cluster in enumerate(clusters):
        ours, theirs = _by_kubesteer(cluster), _by_the_scheduler(cluster)
        assert ours.keys() == theirs.keys()
        compared += len(theirs)
        different += [
            f"cluster {number}, {name}: {ours[name]}, not {theirs[name]}"
            for name in theirs
            if ours[name] != theirs[name]
        ]
    with capsys.disabled():
        print(f"\noracle --seed={seed}: {len(clusters)} clusters, {compared:,} answers, {len(different)} differ")
    assert len(clusters) == CLUSTERS
    assert not different, "\n".join([f"{' '.join(map(str, command))}: {len(different)} differ", *different[:SHOWN]])


Answers = dict[str, Any]


def _by_the_scheduler(cluster: dict[str, Any]) -> Answers:
    """One entry an answer; amounts are CPU in millicores, memory in bytes, egress in bit/s."""
    answers: Answers = {}
    for name, node in cluster["WantNodes"].items():
        answers[f"node {name} allocatable"] = list(node["Allocatable"].values())
        answers[f"node {name} requested"] = list(node["Requested"].values())
        answers[f"node {name} non-zero"] = list(node["NonZeroRequested"].values())[:2]
    for name, pod in cluster["WantPods"].items():
        answers[f"pod {name} requests"] = list(pod["Requests"].values())
        answers[f"pod {name} non-zero"] = list(pod["NonZeroRequests"].values())[:2]
        answers[f"pod {name} balance"] = pod["Balanced"]
        answers[f"pod {name} egress fits"] = pod["EgressFits"]
    return answers


def _by_kubesteer(cluster: dict[str, Any]) -> Answers:
    names = [node["metadata"]["name"] for node in cluster["Nodes"]]
    table = _table(cluster)
    candidates = from_table(table, table.find(names))
    answers: Answers = {}
    for name in names:
        row = table.rows[name]
        cpu_m, memory_b, egress_bps = table.allocatable[[CPU, MEMORY, NETWORK], row].tolist()
        answers[f"node {name} allocatable"] = [cpu_m, memory_b, 0 if egress_bps == NO_CAPACITY else egress_bps]
        answers[f"node {name} requested"] = table.requested[:, row].tolist()
        answers[f"node {name} non-zero"] = table.nonzero_requested[:, row].tolist()
    for pod in (summarise_pod(p, NETWORK_RESOURCES) for p in msgspec.convert(cluster["Incoming"], list[objects.Pod])):
        asked = pod.requests
        answers[f"pod {pod.name} requests"] = [asked.cpu_m, asked.memory_b, *asked.network_bps]
        answers[f"pod {pod.name} non-zero"] = [asked.incoming_nonzero_cpu_m, asked.incoming_nonzero_memory_b]
        answers[f"pod {pod.name} balance"] = _balance(pod, names, candidates)
        passed = ENGINE.filter(pod, candidates, Circumstances()).passed.tolist()
        answers[f"pod {pod.name} egress fits"] = {name: position in passed for position, name in enumerate(names)}
    return answers


def _table(cluster: dict[str, Any]) -> NodeTable:
    table = NodeTable(len(NETWORK_RESOURCES))
    for node in msgspec.convert(cluster["Nodes"], list[objects.Node]):
        table.put_node(summarise_node(node, NETWORK_RESOURCES))
    for pod in msgspec.convert(cluster["Pods"] or [], list[objects.Pod]):
        table.put_pod(summarise_pod(pod, NETWORK_RESOURCES))
    return table


def _balance(pod: PodSummary, names: list[str], candidates: Candidates) -> dict[str, int]:
    """By the rule that 1.37 runs; empty for a pod that asks for nothing, as the plugin skips it."""
    if is_best_effort(pod.requests):
        return {}
    points = RULES["upstream-1.36"](load_of(pod.requests, candidates, None))
    return dict(zip(names, points.tolist(), strict=True))
