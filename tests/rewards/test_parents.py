"""What is believed of a pair before its own runs count: numbers by hand, a plain recount, and what a refresh costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.reward import OTHER_TYPES, RewardRecord
from kubesteer.rewards.table import UNKNOWN, Belief, RewardTable

NOW_S = 1e9
HOUR_S = 3600.0
MUCH = 1e9
"""So many runs that their pair weighs one, to nine digits."""


def table_of(*records: tuple[str, str, float, float], belief: Belief | None = None) -> RewardTable:
    """A refreshed table of (type, node, mean, evidence)."""
    table = RewardTable(belief)
    for pod_type, node, mean, evidence in records:
        table.put(RewardRecord(node, pod_type, mean, evidence, NOW_S))
    table.refresh(NOW_S)
    return table


def prior(table: RewardTable, pod_type: str, node: str, now_s: float = NOW_S) -> float:
    return float(table.read(pod_type, table.columns([node]), now_s=now_s).prior[0])


def mean(table: RewardTable, pod_type: str, node: str, now_s: float = NOW_S) -> float:
    return float(table.read(pod_type, table.columns([node]), now_s=now_s).mean[0])


def test_without_records_all_is_believed_to_be_the_prior_mean() -> None:
    table = table_of(belief=Belief(prior_mean=0.3))
    assert prior(table, "web", "n1") == mean(table, "web", "n1") == 0.3


def test_before_the_first_refresh_the_prior_mean_holds_for_every_pair() -> None:
    table = RewardTable(Belief(prior_mean=0.4))
    table.put(RewardRecord("n1", "web", 1.0, 8.0, NOW_S))
    assert table.refreshed_at_s is None
    assert [prior(table, *pair) for pair in (("web", "n1"), ("web", "n2"), ("db", "n1"))] == [0.4, 0.4, 0.4]
    assert mean(table, "web", "n1") == pytest.approx((0.4 * 4 + 8) / 12)
    table.refresh(NOW_S)
    assert table.refreshed_at_s == NOW_S
    assert prior(table, "db", "n1") > 0.4


def test_a_pairs_own_runs_are_no_part_of_its_prior() -> None:
    """The only record there is: its prior is the prior mean, and its runs count once: (2 + 0) / (4 + 6)."""
    table = table_of(("web", "n1", 0.0, 6.0))
    assert prior(table, "web", "n1") == 0.5
    assert mean(table, "web", "n1") == pytest.approx(2 / 10)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (2.0, 0.68),  # s = 2 / 4: global (1 + 0.5) / 2.5 = 0.6, type (1.2 + 0.5) / 2.5
        (MUCH, 7 / 9),  # s = 1: global (1 + 1) / 3 = 2/3, type (4/3 + 1) / 3
    ],
)
def test_a_type_that_did_well_on_one_node_is_expected_to_on_another(runs: float, expected: float) -> None:
    """Two nodes' worth of the global mean stand beside the one that is known."""
    assert prior(table_of(("web", "n1", 1.0, runs)), "web", "n2") == pytest.approx(expected)


def test_a_type_that_nobody_tried_is_expected_to_do_as_all_do_and_as_the_node_does() -> None:
    """Global: (2 x 0.5 + 1 + 0) / (2 + 2) = 0.5; type mean: (2 x 0.5 + 1 + 0) / 4 = 0.5.

    Node effects: n1 (1 - 0.5) / (2 + 1) = 1/6, n2 -1/6; a node that nobody tried has none.
    """
    table = table_of(("web", "n1", 1.0, MUCH), ("web", "n2", 0.0, MUCH))
    assert prior(table, "db", "n1") == pytest.approx(0.5 + 1 / 6)
    assert prior(table, "db", "n2") == pytest.approx(0.5 - 1 / 6)
    assert prior(table, "db", "n3") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("failing", "effect"),
    [(1, -1 / 3), (2, -2 / 4), (5, -5 / 7)],
)
def test_a_node_is_judged_by_how_many_types_fail_there_and_not_by_how_often(failing: int, effect: float) -> None:
    """Of 100 nodes one fails: the type mean is 0.98, so each failing type is 0.98 below; two types' worth of no effect
    stand beside it. A type that nobody tried there is expected that much lower. A thousand or ten thousand runs count
    as one type.
    """
    for runs in (1e3, 1e4):
        records = [
            (f"t{t}", f"n{n}", 0.0 if n == 0 and t < failing else 1.0, runs) for t in range(failing) for n in range(100)
        ]
        table = table_of(*records)
        lower_by = prior(table, "new", "n1") - prior(table, "new", "n0")
        assert lower_by == pytest.approx(-effect, abs=0.02)


def test_one_failing_type_moves_another_less_than_its_own_first_run_does() -> None:
    """db is tried on all nodes but n0, where web fails: expected 0.66 there; four runs of its own that do well: 0.83."""
    good = [(t, f"n{n}", 1.0, MUCH) for t in ("web", "db") for n in range(1, 100)]
    table = table_of(*good, ("web", "n0", 0.0, MUCH))
    assert prior(table, "db", "n0") == pytest.approx(0.99 - 0.98 / 3, abs=0.01)
    table.put(RewardRecord("n0", "db", 1.0, 4.0, NOW_S))
    assert mean(table, "db", "n0") == pytest.approx((0.66 + 1) / 2, abs=0.01)


@pytest.mark.parametrize("invented", [1, 100, 5000])
def test_a_node_that_blames_many_invented_types_moves_others_no_more_than_one_type_does(invented: int) -> None:
    """web did well on n3: s = 1, m = 0.6; n1 says 0 of everything, web too.

    Global mean: (2 x 0.5 + 0.6 + 0) / (2 + 1 + 1) = 0.4; web's: (2 x 0.4 + 0.6 + 0) / (2 + 1 + 1) = 0.35, on a node
    that nobody tried. With each of 100 types as one pair it was 0.16.
    """
    lies = [(f"invented-{i}", "n1", 0.0, MUCH) for i in range(invented)]
    table = table_of(("web", "n3", 0.6, MUCH), ("web", "n1", 0.0, MUCH), *lies)
    assert prior(table, "web", "n2") == pytest.approx(0.35)
    assert prior(table, "never seen", "n2") == pytest.approx(0.4)


def test_rarely_used_types_that_were_folded_together_speak_for_the_node_as_one_type() -> None:
    apart = table_of(("web", "n1", 0.0, MUCH), ("web", "n2", 1.0, MUCH))
    folded = table_of((OTHER_TYPES, "n1", 0.0, MUCH), (OTHER_TYPES, "n2", 1.0, MUCH))
    assert prior(folded, "new", "n1") == prior(apart, "new", "n1") < 0.5


def test_a_prior_stays_from_0_to_1() -> None:
    """Nine types do well on n1 only, web everywhere: its mean plus the node's effect would be above 1."""
    records = [(f"t{t}", node, float(node == "n1"), MUCH) for t in range(9) for node in ("n1", "n2", "n3")]
    table = table_of(*records, *(("web", f"n{i}", 1.0, MUCH) for i in range(3, 100)))
    assert prior(table, "web", "n1") == 1.0
    worse = table_of(
        *((t, n, 1 - m, e) for t, n, m, e in records), *(("web", f"n{i}", 0.0, MUCH) for i in range(3, 99))
    )
    assert prior(worse, "web", "n1") == 0.0


def test_a_pair_that_is_left_alone_drifts_to_what_its_type_does_elsewhere() -> None:
    """After ten half-lives 100 failed runs are worth 0.1, and the prior two runs."""
    table = RewardTable(Belief(half_life_s=HOUR_S))
    later_s = NOW_S + 10 * HOUR_S
    table.put(RewardRecord("n0", "web", 0.0, 100.0, NOW_S))
    for n in range(1, 50):
        table.put(RewardRecord(f"n{n}", "web", 1.0, 100.0, later_s))
    table.refresh(NOW_S)
    assert mean(table, "web", "n0") < 0.05
    table.refresh(later_s)
    assert prior(table, "web", "n0", later_s) == pytest.approx(1.0, abs=0.03)
    assert mean(table, "web", "n0", later_s) == pytest.approx(2 / 2.1, abs=0.03)


NODES, TYPES = [f"n{i}" for i in range(20)], ["web", "db", "cache", OTHER_TYPES]
tables = st.dictionaries(
    st.tuples(st.sampled_from(TYPES), st.sampled_from(NODES)),
    st.tuples(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 2 * NOW_S)),
    max_size=60,
)


@given(tables, st.floats(0, 1), st.floats(0, 2 * NOW_S))
def test_priors_equal_a_plain_recount(pairs: dict, prior_mean: float, now_s: float) -> None:
    """The formulas of docs/scoring.md, written down once more without arrays."""
    table = RewardTable(Belief(prior_mean=prior_mean, half_life_s=HOUR_S))
    weight = {}
    for (pod_type, node), (m, evidence, time_s) in pairs.items():
        table.put(RewardRecord(node, pod_type, m, evidence, time_s))
        left = evidence * 2 ** (-max(now_s - time_s, 0) / HOUR_S)
        weight[pod_type, node] = left / (left + 2)
    table.refresh(now_s)

    def shrunk(toward: float, over: list) -> float:
        return (2 * toward + sum(weight[p] * pairs[p][0] for p in over)) / (2 + sum(weight[p] for p in over))

    def over_all(pairs_there: list) -> float:
        """A node's pairs weigh one pair together, at most."""
        of_node = {n: sum(weight[p] for p in pairs_there if p[1] == n) for n in NODES}
        parts = [(weight[p] / max(1, of_node[p[1]]), pairs[p][0]) for p in pairs_there]
        return (2 * prior_mean + sum(w * m for w, m in parts)) / (2 + sum(w for w, _ in parts))

    global_mean = over_all(list(pairs))
    type_mean = {t: shrunk(global_mean, [p for p in pairs if p[0] == t]) for t in TYPES}

    def effect(node: str, without: str | None) -> float:
        there = [p for p in pairs if p[1] == node and p[0] != without]
        return sum(weight[p] * (pairs[p][0] - type_mean[p[0]]) for p in there) / (2 + sum(weight[p] for p in there))

    columns = table.columns([*NODES, "nobody"])
    for pod_type in TYPES:
        if any(t == pod_type for t, _ in pairs):
            read = table.read(pod_type, columns, now_s=now_s)
            for node, found in zip([*NODES, "nobody"], read.prior, strict=True):
                others = [p for p in pairs if p != (pod_type, node)]
                elsewhere = shrunk(over_all(others), [p for p in others if p[0] == pod_type])
                assert found == pytest.approx(min(max(elsewhere + effect(node, pod_type), 0), 1), abs=1e-9)
    unseen = table.read("never seen", columns, now_s=now_s)
    for node, found in zip([*NODES, "nobody"], unseen.mean, strict=True):
        assert found == pytest.approx(min(max(global_mean + effect(node, None), 0), 1), abs=1e-9)


def bad_node(*more: tuple[str, str, float, float]) -> RewardTable:
    """Five types fail on "bad" and do well on five other nodes."""
    nodes = ["bad", *(f"n{i}" for i in range(5))]
    return table_of(*((f"t{t}", node, float(node != "bad"), MUCH) for t in range(5) for node in nodes), *more)


def test_a_type_seen_first_after_a_refresh_is_believed_as_one_that_nobody_tried() -> None:
    table = bad_node()
    before = prior(table, "new", "bad"), prior(table, "new", "n0")
    table.put(RewardRecord("n0", "new", 1.0, 1.0, NOW_S))
    assert (prior(table, "new", "bad"), prior(table, "new", "n0")) == before
    assert before[0] < before[1] - 0.4


@pytest.mark.parametrize("steps", [0, 3, 8, 14, 99])
def test_a_node_that_takes_over_a_column_does_not_inherit_priors_with_it(steps: int) -> None:
    """Also when the column changes hands while a refresh is under way, and whatever it had computed by then.

    Five types make 15 steps.
    """
    table = bad_node(("t0", "n9", 1.0, MUCH))
    refresh = table.refresh_in_steps(NOW_S)
    for _ in range(steps):
        next(refresh, None)
    column = table.columns(["bad"])
    for t in range(5):
        table.delete("bad", f"t{t}")
    table.put(RewardRecord("fresh", "other", 0.5, 0.0, NOW_S))
    for _ in refresh:
        pass
    assert table.columns(["fresh"]) == column
    for pod_type in ("t1", "never seen"):
        assert prior(table, pod_type, "fresh") == prior(table, pod_type, "nobody")


def test_records_may_come_and_go_during_a_refresh_and_the_next_one_counts_them() -> None:
    """Nodes and types come during the steps, more nodes than there was room for."""
    table, whole = bad_node(), bad_node()
    for step, _ in enumerate(table.refresh_in_steps(NOW_S)):
        table.put(RewardRecord(f"new-{step}", f"type-{step}", 0.0, 5.0, NOW_S))
        table.delete(f"new-{step - 3}", f"type-{step - 3}")
        for more in range(3):
            table.put(RewardRecord(f"more-{step}-{more}", "t0", 0.0, 5.0, NOW_S))
    whole.replace(list(table.rows()))
    for each in (table, whole):
        each.refresh(NOW_S)
    assert {(r.node, r.pod_type) for r in table.rows()} == {(r.node, r.pod_type) for r in whole.rows()}
    for record in table.rows():
        pair = record.pod_type, record.node
        assert prior(table, *pair) == pytest.approx(prior(whole, *pair), abs=1e-12)


def test_a_newer_refresh_ends_the_one_under_way() -> None:
    table = bad_node()
    older = table.refresh_in_steps(NOW_S + 1)
    next(older)
    table.replace([RewardRecord("bad", f"t{t}", 1.0, MUCH, NOW_S) for t in range(5)])
    table.refresh(NOW_S + 2)
    newest = prior(table, "new", "bad")
    assert list(older) == []
    assert (prior(table, "new", "bad"), table.refreshed_at_s) == (newest, NOW_S + 2)
    assert newest > 0.5


def test_the_unknown_column_never_learns_from_a_node() -> None:
    table = bad_node()
    for i in range(100):
        table.put(RewardRecord(f"more-{i}", "t0", 0.0, 1.0, NOW_S))
    table.refresh(NOW_S)
    read = table.read("t1", np.array([UNKNOWN, *table.columns(["more-0"])]), now_s=NOW_S)
    assert read.evidence.tolist() == [0, 0]
    assert read.prior[0] > read.prior[1]


def test_what_a_refresh_costs_comes_in_small_pieces() -> None:
    """40 types on 5,000 nodes: three steps a type, of about 0.05 to 0.15 ms."""
    table = RewardTable()
    for t in range(40):
        for n in range(5000):
            table.put(RewardRecord(f"n{n}", f"t{t}", n / 5000, 3.0, NOW_S))
    assert sum(1 for _ in table.refresh_in_steps(NOW_S)) == 120
