"""The node table says the same as a recount from scratch, whatever came before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesteer.model.cluster import NO_CAPACITY, MeasuredTraffic, NodeSummary, PodSummary
from kubesteer.model.quantity import MOST
from kubesteer.model.requests import PodRequests
from kubesteer.placement.table import NETWORK, LinkState, NodeTable, stable_hash
from tests.builders import node_summary, pod_summary, table_of
from tests.examples import examples

NODE_NAMES, POD_UIDS = ("a", "b", "c", "d"), ("p", "q", "r", "s", "t")
LARGE = 2**49
numbers = st.integers(0, 3) | st.integers(0, LARGE)
nodes = st.builds(
    NodeSummary,
    name=st.sampled_from(NODE_NAMES),
    cpu_m=numbers,
    memory_b=numbers,
    network_bps=st.tuples(st.just(NO_CAPACITY) | numbers, st.just(NO_CAPACITY) | numbers),
    ready=st.booleans(),
    fault=st.none() | st.just("cpu: 'x' is not a quantity"),
    measured=st.none() | st.builds(MeasuredTraffic, st.tuples(st.just(1.0), st.just(2.0)), st.just(3.0)),
)
links = st.builds(
    LinkState,
    measured=st.none() | st.builds(MeasuredTraffic, st.just((5.0, 6.0)), st.sampled_from([2.0, 3.0, 4.0])),
    limit_bps=st.tuples(st.just(NO_CAPACITY) | numbers, st.just(NO_CAPACITY) | numbers),
    time_s=st.sampled_from([2.0, 3.0, 4.0]),
)
pods = st.builds(
    PodSummary,
    uid=st.sampled_from(POD_UIDS),
    namespace=st.just("default"),
    name=st.sampled_from(["p", "q"]),
    pod_type=st.just("web"),
    requests=st.builds(PodRequests, *[numbers] * 6, st.tuples(numbers, numbers), st.just((False, False))),
    node=st.just("") | st.sampled_from(NODE_NAMES),
    terminal=st.booleans(),
    priority=st.sampled_from([0, 7]),
)
amounts = st.tuples(*[numbers | st.integers(MOST, 2 * MOST)] * 6)
events = st.one_of(
    st.tuples(st.just("put_node"), nodes),
    st.tuples(st.just("put_pod"), pods),
    st.tuples(st.just("put_pod"), pods),
    st.tuples(st.just("delete_node"), st.sampled_from(NODE_NAMES)),
    st.tuples(st.just("delete_pod"), st.sampled_from(POD_UIDS)),
    st.tuples(st.just("assume"), st.tuples(st.sampled_from(POD_UIDS), st.sampled_from(NODE_NAMES), amounts)),
    st.tuples(st.just("forget"), st.sampled_from(POD_UIDS)),
    st.tuples(st.just("put_link"), st.tuples(st.sampled_from(NODE_NAMES), links)),
    st.tuples(st.just("delete_link"), st.sampled_from(NODE_NAMES)),
    st.tuples(st.just("replace_links"), st.dictionaries(st.sampled_from(NODE_NAMES), links)),
)


def apply(table, event, value):
    """One event, as the watches and the decisions tell it; nothing is assumed on a name without a row."""
    if event == "assume":
        uid, name, amount = value
        if name in table.rows:
            table.assume(uid, table.rows[name], amount)
        return
    getattr(table, event)(*(value if event == "put_link" else (value,)))


class Recount:
    """What there is, kept in the plainest way: the last word on each node, each pod and each link."""

    def __init__(self):
        self.nodes, self.pods, self.links, self.assumed = {}, {}, {}, {}

    def apply(self, event, value):
        match event:
            case "put_node":
                self.nodes[value.name] = value
            case "put_pod":
                self.pods[value.uid] = value
            case "delete_node":
                self.nodes.pop(value, None)
            case "delete_pod":
                self.pods.pop(value, None)
            case "assume":
                if value[1] in self.names():
                    self.assumed[value[0]] = value[1:]
            case "forget":
                self.assumed.pop(value, None)
            case "put_link":
                self.links[value[0]] = value[1]
            case "delete_link":
                self.links.pop(value, None)
            case "replace_links":
                self.links = value

    def told(self, name):
        """Of the node's object and its agent, the newer measurement (the object's of two of one time); and the link."""
        node, link = self.nodes.get(name), self.links.get(name)
        there = [one for one in (node and node.measured, node and link and link.measured) if one]
        return max(there, key=lambda one: one.time_s, default=None), link if node else None

    def names(self):
        return {*self.nodes, *(pod.node for pod in self.placed()), *(name for name, _ in self.assumed.values())}

    def placed(self, name=None):
        on_a_node = [pod for pod in self.pods.values() if pod.node and not pod.terminal]
        return on_a_node if name is None else [pod for pod in on_a_node if pod.node == name]


def assert_equal(table, recount):
    placed = recount.placed()
    assert set(table.rows) == recount.names()
    assert len(set(table.rows.values())) == len(table.rows)
    assert table.links == recount.links
    assert (table.node_count, table.pod_count) == (len(recount.nodes), len(placed))
    assert table.find(NODE_NAMES).tolist() == [table.rows.get(name, -1) for name in NODE_NAMES]
    for name, row in table.rows.items():
        assert_row_equal(table, row, name, recount)
    unused = sorted(set(range(table.capacity)) - set(table.rows.values()))
    for column in ("requested", "nonzero_requested", "assumed", "known", "ready", "usable", "open"):
        assert not getattr(table, column)[..., unused].any(), column
    for pod in placed:
        kept = table.placed(pod.uid)
        assert (kept.row, kept.name, kept.priority) == (table.rows[pod.node], pod.name, pod.priority)
        assert kept.requests == pod.requests
    assert [uid for uid in POD_UIDS if table.placed(uid)] == sorted(pod.uid for pod in placed)
    for direction in range(2):
        there = [node.network_bps[direction] for node in recount.nodes.values() if node.network_bps[direction] > 0]
        assert table.capacity_ranges()[direction] == ((min(there), max(there)) if there else None)


def assert_row_equal(table, row, name, recount):
    asked = [pod.requests for pod in recount.placed(name)]
    columns = zip(*[(r.cpu_m, r.memory_b, *r.network_bps) for r in asked], strict=True)
    assert table.requested[:, row].tolist() == ([min(sum(column), MOST) for column in columns] or [0] * 4)
    nonzero = [sum(r.nonzero_cpu_m for r in asked), sum(r.nonzero_memory_b for r in asked)]
    assert table.nonzero_requested[:, row].tolist() == nonzero
    assumed = [amounts for on, amounts in recount.assumed.values() if on == name]
    assert table.assumed[:, row].tolist() == [min(sum(column), MOST) for column in zip([0] * 6, *assumed, strict=True)]
    assert (table.names[row], int(table.name_hash[row])) == (name, stable_hash(name))
    node = recount.nodes.get(name)
    assert bool(table.known[row]) == (node is not None)
    if node is None:
        assert not table.ready[row]
        assert table.measured_at_s[row] == table.limit_at_s[row] == -np.inf
    else:
        assert table.allocatable[:, row].tolist() == [node.cpu_m, node.memory_b, *node.network_bps]
        assert (bool(table.ready[row]), bool(table.usable[row])) == (node.ready, node.fault is None)
        assert bool(table.open[row]) == (node.ready and node.fault is None)
        left = [
            NO_CAPACITY if bps == NO_CAPACITY else max(bps - sum(r.network_bps[d] for r in asked), 0)
            for d, bps in enumerate(node.network_bps)
        ]
        assert table.room_bps[:, row].tolist() == left
        measured, link = recount.told(name)
        assert table.measured_at_s[row] == (measured.time_s if measured else -np.inf)
        assert table.limit_at_s[row] == (link.time_s if link else -np.inf)
        if measured:
            assert table.measured_bps[:, row].tolist() == list(measured.rate_bps)
        if link:
            assert table.limit_bps[:, row].tolist() == list(link.limit_bps)
    assert table.faults.get(row) == (node.fault if node else None)


@settings(max_examples=examples(300))
@given(st.lists(events, max_size=30))
def test_after_any_events_the_table_is_equal_to_a_recount_from_scratch(sequence):
    """Adds, updates, moves, deletes, duplicates, pods before their node, nodes before their pods' end, resyncs."""
    table, recount = NodeTable(2), Recount()
    for event, value in sequence:
        apply(table, event, value)
        recount.apply(event, value)
        assert_equal(table, recount)


@settings(max_examples=examples(50))
@given(st.lists(events, max_size=30))
def test_rows_are_never_more_than_the_names_there_could_be(sequence):
    """A move holds two rows at once at most; nothing is left behind by what is gone."""
    table = NodeTable(2)
    for event, value in sequence:
        apply(table, event, value)
    assert len(table.names) <= len(NODE_NAMES)
    for name in NODE_NAMES:
        table.delete_node(name)
    for uid in POD_UIDS:
        table.delete_pod(uid)
        table.forget(uid)
    assert table.rows == table.row_bytes == table.faults == {}


@given(st.lists(events, max_size=20), events)
def test_an_event_that_comes_twice_changes_nothing_the_second_time(sequence, last):
    table = NodeTable(2)
    for event, value in [*sequence, last]:
        apply(table, event, value)
    before = {column: getattr(table, column).copy() for column in ("allocatable", "requested", "nonzero_requested")}
    version = table.names_version
    apply(table, *last)
    for column, values in before.items():
        assert np.array_equal(getattr(table, column)[..., table.known], values[..., table.known]), column
    assert table.names_version == version


def test_a_sum_beyond_what_64_bits_hold_is_cut_and_comes_back_exactly():
    """17,000 pods of 2^49 - 1 are above 2^63: shown as 2^61. With all but one gone, that one is left."""
    table = table_of([node_summary("n")])
    large = PodRequests(0, 0, 0, 0, 0, 0, (2**49 - 1, 0), (False, False))
    for i in range(17_000):
        table.put_pod(PodSummary(f"{i}", "default", "p", "web", large, "n"))
    assert int(table.requested[NETWORK, table.rows["n"]]) == MOST
    for i in range(1, 17_000):
        table.delete_pod(f"{i}")
    assert int(table.requested[NETWORK, table.rows["n"]]) == 2**49 - 1


def test_the_table_tells_each_row_whose_node_is_gone_before_another_name_gets_it():
    table, told = table_of([node_summary("a"), node_summary("b")]), []
    table.on_gone(lambda row: told.append(table.names[row]))
    table.put_pod(pod_summary("p", node="b"))
    table.delete_node("a")
    assert told == ["a", "a"], "gone, and its row released"
    table.delete_node("b")
    assert told[2:] == ["b"], "its pod keeps the row"
    table.delete_pod("uid-p")
    assert told[3:] == ["b"]
    assert table.rows == {}


def test_a_pod_that_is_counted_anew_keeps_the_row_of_its_node_that_is_gone():
    """What is promised to others on that name stays theirs."""
    table, told = table_of([node_summary("a")]), []
    table.put_pod(pod_summary("p", node="a"))
    table.delete_node("a")
    table.on_gone(told.append)
    table.put_pod(replace(pod_summary("p", node="a"), priority=5))
    assert (told, list(table.rows)) == ([], ["a"])


def test_a_row_is_reused_by_the_next_node_and_nothing_of_the_first_is_left():
    table = NodeTable(2)
    measured = MeasuredTraffic((5.0, 5.0), 7.0)
    for i in range(1000):
        table.put_node(replace(node_summary(f"n{i}", ingress="1G"), measured=measured, fault="x"))
        table.put_pod(pod_summary("p", node=f"n{i}", cpu="1", egress="1M"))
        table.delete_pod("uid-p")
        table.delete_node(f"n{i}")
    table.put_pod(pod_summary("q", node="last"))
    row = table.rows["last"]
    assert (len(table.names), row) == (1, 0)
    assert table.requested[:, row].tolist() == [0, 0, 0, 0]
    assert table.allocatable[:, row].tolist() == [0, 0, NO_CAPACITY, NO_CAPACITY]
    assert (table.measured_at_s[row], table.faults) == (-np.inf, {})


@settings(max_examples=examples(100))
@given(st.lists(events, max_size=15), st.lists(events, max_size=15))
def test_a_reader_that_follows_the_renamed_rows_has_the_names_of_the_table(first, later):
    table = NodeTable(2)
    for event, value in first:
        apply(table, event, value)
    copy, version = dict(enumerate(table.names)), table.names_version
    for event, value in later:
        apply(table, event, value)
        copy.update((row, table.names[row]) for row in table.renamed_since(version))
        version = table.names_version
        assert copy == dict(enumerate(table.names))
        assert table.renamed_since(version) == []


def test_renames_of_long_ago_are_not_told_row_by_row():
    """A log without end would grow by each node that ever was: 2,000 rows were named, the last 1,000 are told."""
    table = NodeTable(2)
    for i in range(2000):
        table.put_node(node_summary(f"n{i}"))
    assert table.renamed_since(-1) is table.renamed_since(0) is None
    assert sorted(table.renamed_since(1000)) == [*range(1000, 2000)]


def test_a_pod_that_is_assumed_again_keeps_the_row_of_a_node_that_is_gone():
    table = table_of([node_summary("d")])
    table.assume("p", 0, (100, 0, 0, 0, 0, 0))
    table.delete_node("d")
    table.assume("p", 0, (300, 0, 0, 0, 0, 0))
    assert table.rows == {"d": 0}
    assert table.assumed[0, 0] == 300


def test_the_table_grows_without_losing_a_number():
    table = table_of(
        (node_summary(f"n{i}", cpu=i + 1) for i in range(1000)),
        (pod_summary(f"p{i}", node=f"n{i}", egress=i) for i in range(1000)),
    )
    rows = table.find([f"n{i}" for i in range(1000)])
    assert table.allocatable[0, rows].tolist() == [1000 * (i + 1) for i in range(1000)]
    assert table.requested[NETWORK, rows].tolist() == list(range(1000))
    assert table.measured_at_s.max() == -np.inf
    assert table.capacity == 1024


def test_a_deleted_node_comes_back_with_the_pods_that_were_on_it():
    table = table_of([node_summary("n")], [pod_summary("p", node="n", egress="1M")])
    table.delete_node("n")
    assert table.node_count == 0
    table.put_node(node_summary("n", egress="5M"))
    row = table.rows["n"]
    assert (int(table.requested[NETWORK, row]), int(table.allocatable[NETWORK, row])) == (10**6, 5 * 10**6)


def test_a_change_of_the_non_zero_requests_alone_is_counted():
    """An explicit CPU request of 0 counts as 0; without it the container counts as 100m. Plain requests stay 0."""
    table = table_of([node_summary("n")], [pod_summary("p", node="n", cpu="0", memory="1")])
    assert table.nonzero_requested[:, table.rows["n"]].tolist() == [0, 1]
    table.put_pod(pod_summary("p", node="n", memory="1"))
    assert table.nonzero_requested[:, table.rows["n"]].tolist() == [100, 1]


@pytest.mark.parametrize("names", [[], ["n"], ["x"], ["n", "x", "n"], ["x", "y"]])
def test_names_are_found_in_their_order_and_unknown_ones_are_minus_one(names):
    table = table_of([node_summary("n")])
    assert table.find(names).tolist() == [0 if name == "n" else -1 for name in names]
