"""40 random clusters as kube-scheduler 1.37.2 itself counts and judges them (scheduler_1_37_2.json).

The file was computed by the scheduler's own code: sidecars, overhead, pod-level resources, in-place resize, terminal
pods. Everything must be equal to the last byte and point.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kubesteer.clients.kubernetes import objects
from kubesteer.model.cluster import NO_CAPACITY, summarise_node, summarise_pod
from kubesteer.model.network import NetworkResource
from kubesteer.placement.balance import RULES, is_best_effort, load_of
from kubesteer.placement.candidates import Circumstances, from_table
from kubesteer.placement.engine import Engine
from kubesteer.placement.filtering import Cause
from kubesteer.placement.policy import Policy
from kubesteer.placement.table import CPU, MEMORY, NETWORK, NodeTable

NETWORK_RESOURCES = (NetworkResource("egress", ("kubesteer.io/egress-bps",), "kubernetes.io/egress-bandwidth"),)
CLUSTERS = json.loads((Path(__file__).parent / "scheduler_1_37_2.json").read_text())
pytestmark = pytest.mark.parametrize("cluster", [pytest.param(c, id=f"cluster-{i}") for i, c in enumerate(CLUSTERS)])


def test_a_node_has_what_the_scheduler_says_it_has(cluster):
    table = _table(cluster)
    for name, want in cluster["WantNodes"].items():
        row = table.rows[name]
        egress_bps = int(table.allocatable[NETWORK, row])
        have = {"CPU": int(table.allocatable[CPU, row]), "Memory": int(table.allocatable[MEMORY, row])}
        assert {**have, "Egress": 0 if egress_bps == NO_CAPACITY else egress_bps} == want["Allocatable"], name


def test_what_is_requested_on_a_node_is_what_the_scheduler_counts(cluster):
    table = _table(cluster)
    for name, want in cluster["WantNodes"].items():
        row = table.rows[name]
        assert table.requested[:, row].tolist() == list(want["Requested"].values()), name
        nonzero = want["NonZeroRequested"]
        assert table.nonzero_requested[:, row].tolist() == [nonzero["CPU"], nonzero["Memory"]], name


def test_an_incoming_pod_asks_for_what_the_scheduler_counts(cluster):
    for pod in _incoming(cluster):
        want, requests = cluster["WantPods"][pod.name], pod.requests
        assert [requests.cpu_m, requests.memory_b, *requests.network_bps] == list(want["Requests"].values()), pod.name
        nonzero = [requests.incoming_nonzero_cpu_m, requests.incoming_nonzero_memory_b]
        assert nonzero == [want["NonZeroRequests"]["CPU"], want["NonZeroRequests"]["Memory"]], pod.name


def test_the_balance_points_are_those_of_the_scheduler(cluster):
    """Rule upstream-1.36 is what 1.37.2 runs. An empty Balanced is a pod that the plugin skips."""
    candidates = _candidates(cluster)
    for pod in _incoming(cluster):
        want = cluster["WantPods"][pod.name]["Balanced"]
        assert is_best_effort(pod.requests) == (not want), pod.name
        if want:
            points = RULES["upstream-1.36"](load_of(pod.requests, candidates, None))
            assert dict(zip(_names(cluster), points.tolist(), strict=True)) == want, pod.name


def test_egress_fits_where_the_scheduler_says_it_fits(cluster):
    engine = Engine(Policy(network=NETWORK_RESOURCES))
    candidates = _candidates(cluster)
    for pod in _incoming(cluster):
        filtered = engine.filter(pod, candidates, Circumstances())
        fits = dict.fromkeys(_names(cluster), False) | {_names(cluster)[p]: True for p in filtered.passed.tolist()}
        assert fits == cluster["WantPods"][pod.name]["EgressFits"], pod.name
        assert {v.cause for v in filtered.refused} <= {Cause.NO_CAPACITY, Cause.TOO_SMALL, Cause.INSUFFICIENT}


def _names(cluster):
    return [node["metadata"]["name"] for node in cluster["Nodes"]]


def _table(cluster):
    table = NodeTable(len(NETWORK_RESOURCES))
    for node in msgspec.convert(cluster["Nodes"], list[objects.Node]):
        table.put_node(summarise_node(node, NETWORK_RESOURCES))
    for pod in msgspec.convert(cluster["Pods"] or [], list[objects.Pod]):
        table.put_pod(summarise_pod(pod, NETWORK_RESOURCES))
    return table


def _candidates(cluster):
    table = _table(cluster)
    return from_table(table, table.find(_names(cluster)))


def _incoming(cluster):
    return [summarise_pod(p, NETWORK_RESOURCES) for p in msgspec.convert(cluster["Incoming"], list[objects.Pod])]
