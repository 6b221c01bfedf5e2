"""Pods whose outcome is not known yet, as the node table keeps them: sent to a node, there, gone, and new no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kubesteer.model.cluster import NodeSummary, PodSummary
from kubesteer.model.requests import PodRequests
from kubesteer.placement.newcomers import NEW_FOR_S, Newcomers
from kubesteer.placement.promises import Promises
from kubesteer.placement.table import NodeTable

NOW_S = 1_700_000_000.0
ROWS = np.array([0, 1, -1])
NOWHERE = [-np.inf] * 3
POD = PodSummary("uid", "default", "p", "web", PodRequests(network_bps=(0, 0), by_annotation=(False, False)))


def table() -> NodeTable:
    made = NodeTable(2)
    for name in ("n0", "n1"):
        made.put_node(NodeSummary(name, 1000, 1000, (0, 0)))
    return made


def newest(held: Newcomers, pod_type: str = "web", *, now_s: float = NOW_S, without: str = "") -> list[float]:
    return held.newest_s(pod_type, ROWS, now_s, without=without).tolist()


def test_the_newest_pod_of_the_type_counts_and_never_the_pod_that_is_decided_on() -> None:
    held = Newcomers()
    held.put("old", "web", np.array([0]), NOW_S - 20)
    held.put("new", "web", np.array([0]), NOW_S - 10)
    held.put("db", "db", np.array([1]), NOW_S - 5)
    assert newest(held) == [NOW_S - 10, -np.inf, -np.inf]
    assert newest(held, without="new") == [NOW_S - 20, -np.inf, -np.inf]
    assert newest(held, "db") == [-np.inf, NOW_S - 5, -np.inf]
    assert newest(held, "unknown") == NOWHERE


def test_a_pod_is_new_for_a_while_only() -> None:
    held = Newcomers()
    held.put("p", "web", np.array([1]), NOW_S)
    assert newest(held, now_s=NOW_S + NEW_FOR_S - 1)[1] == NOW_S
    assert newest(held, now_s=NOW_S + NEW_FOR_S) == NOWHERE


def test_a_cluster_of_old_pods_is_not_kept() -> None:
    """Each is an hour older than the one before; only the newest is new, whatever the order."""
    held = Newcomers()
    for number in range(3000):
        held.put(f"p{number}", "web", np.array([0]), number * 3600.0)
    assert len(held) < 1100
    held.put("late", "web", np.array([0]), 0.0)
    assert newest(held, now_s=2999 * 3600.0) == [2999 * 3600.0, -np.inf, -np.inf]


def test_a_promised_pod_counts_until_it_is_there_and_then_by_its_time() -> None:
    nodes = table()
    promises = Promises(nodes, ttl_s=30.0)
    promises.take(POD, np.array([1]), 0.0)
    assert newest(nodes.newcomers) == [-np.inf, np.inf, -np.inf]
    there = replace(POD, node="n1", placed_s=NOW_S)
    nodes.put_pod(there)
    promises.told(there)
    assert newest(nodes.newcomers) == [-np.inf, NOW_S, -np.inf]
    nodes.put_pod(replace(there, terminal=True))
    assert newest(nodes.newcomers) == NOWHERE
    assert len(nodes.newcomers) == 0


def test_a_promise_that_ends_without_its_pod_is_forgotten() -> None:
    nodes = table()
    promises = Promises(nodes, ttl_s=30.0)
    promises.take(POD, np.array([0]), 0.0)
    promises.heard(31.0)
    assert newest(nodes.newcomers) == NOWHERE


def test_a_pod_that_may_go_to_several_nodes_counts_on_each_until_it_is_on_one() -> None:
    """Or of a burst many could meet on a node that one pod may try."""
    nodes = table()
    promises = Promises(nodes, ttl_s=30.0)
    promises.take(POD, np.array([0, 1]), 0.0)
    assert newest(nodes.newcomers) == [np.inf, np.inf, -np.inf]
    there = replace(POD, node="n0", placed_s=NOW_S)
    nodes.put_pod(there)
    promises.told(there)
    assert newest(nodes.newcomers) == [NOW_S, -np.inf, -np.inf]
