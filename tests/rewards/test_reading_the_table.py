"""The reward table: what it answers, that it equals a plain recount, and what a read costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.table import UNKNOWN, Belief, RewardTable
from tests.rewards.stores import held, reward

HOUR_S = 3600.0
BELIEF = Belief(prior_mean=0.5, prior_evidence=2.0, half_life_s=6 * HOUR_S)


def filled(*records: RewardRecord, belief: Belief = BELIEF) -> RewardTable:
    table = RewardTable(belief)
    for record in records:
        table.put(record)
    return table


@pytest.mark.parametrize(
    ("age_s", "evidence", "mean"),
    [
        (0.0, 8.0, 0.9),  # (0.5 x 2 + 1.0 x 8) / (2 + 8)
        (6 * HOUR_S, 4.0, 5 / 6),  # (1 + 4) / (2 + 4)
        (18 * HOUR_S, 1.0, 2 / 3),  # three half-lives: 8 / 2^3 = 1; (1 + 1) / (2 + 1)
        (-HOUR_S, 8.0, 0.9),  # a clock ahead of ours counts as now
        (1e9, 0.0, 0.5),  # forgotten: the prior
    ],
)
def test_evidence_halves_every_half_life_and_the_mean_goes_back_to_the_prior(
    age_s: float, evidence: float, mean: float
) -> None:
    table = filled(reward("n1", mean=1.0, evidence=8.0, time_s=1e9))
    beliefs = table.read("web", table.columns(["n1"]), now_s=1e9 + age_s)
    assert beliefs.evidence[0] == pytest.approx(evidence)
    assert beliefs.mean[0] == pytest.approx(mean)


def test_a_pair_that_nobody_tried_is_believed_to_be_the_prior() -> None:
    table = filled(reward("n1", "web", 1.0), reward("n2", "db", 1.0), belief=Belief(prior_mean=0.3))
    columns = table.columns(["n2", "never seen", "n1"])
    assert columns[1] == UNKNOWN
    for pod_type, expected in (("web", [0.3, 0.3]), ("db", [None, 0.3, 0.3]), ("never seen", [0.3, 0.3, 0.3])):
        beliefs = table.read(pod_type, columns, now_s=0)
        for mean, evidence, wanted in zip(beliefs.mean, beliefs.evidence, expected, strict=False):
            assert wanted is None or (mean, evidence) == (pytest.approx(wanted), 0)


def test_a_read_does_not_change_the_table_and_its_answer_is_the_callers_own() -> None:
    table = filled(reward("n1", mean=1.0))
    columns = table.columns(["n1"])
    first = table.read("web", columns, now_s=2e9)
    first.mean[:] = first.evidence[:] = -1
    again = table.read("web", columns, now_s=1e9)
    assert (again.mean[0], again.evidence[0]) == (pytest.approx(0.8), 3.0)  # (1 + 3) / (2 + 3)


def test_columns_change_only_when_a_node_comes_or_goes() -> None:
    table = filled(reward("n1", "web"), reward("n2", "web"))
    before, columns = table.columns_version, table.columns(["n1", "n2"])
    table.put(reward("n1", "web", 0.1))
    table.put(reward("n1", "db"))
    table.delete("n1", "web")
    table.delete("nobody", "web")
    table.replace([reward("n2", "db"), reward("n1", "cache")])
    assert table.columns_version == before
    assert table.columns(["n1", "n2"]).tolist() == columns.tolist()
    table.delete("n2", "db")
    assert table.columns_version == before + 1
    assert table.columns(["n2"]).tolist() == [UNKNOWN]


def test_a_column_whose_node_is_gone_is_used_again_and_knows_nothing_of_it() -> None:
    table = filled(*(reward(f"n{i}", mean=1.0) for i in range(5)))
    width = len(table._rows["web"].cells)
    for i in range(500):
        table.put(reward(f"passing-{i}", mean=0.0))
        table.delete(f"passing-{i}", "web")
    table.put(reward("new", "db"))
    assert len(table._rows["web"].cells) == width
    assert table.read("web", table.columns(["new"]), now_s=0).evidence[0] == 0


def test_a_replacement_that_fails_half_way_leaves_the_table_as_it_was() -> None:
    table = filled(reward("n1", mean=0.2))

    def broken() -> object:
        yield reward("n2")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        table.replace(broken())
    assert held(table) == {("n1", "web"): reward("n1", mean=0.2)}


def test_the_newest_time_is_of_the_records_that_are_left() -> None:
    table = RewardTable()
    assert table.newest_time_s is None
    table.put(reward("n1", time_s=50.0))
    table.put(reward("n2", time_s=70.0))
    assert table.newest_time_s == 70.0
    table.delete("n2", "web")
    assert table.newest_time_s == 50.0


pairs = st.tuples(st.sampled_from([f"n{i}" for i in range(40)]), st.sampled_from(["web", "db", "cache"]))
some_records = st.builds(
    lambda pair, mean, evidence, time_s: RewardRecord(*pair, mean, evidence, time_s),
    pairs,
    st.floats(0, 1),
    st.floats(0, 1e6),
    st.floats(0, 2e9),
)
steps = st.one_of(
    st.tuples(st.just("put"), some_records),
    st.tuples(st.just("delete"), pairs),
    st.tuples(st.just("replace"), st.lists(some_records, max_size=60)),
)


@given(st.lists(steps, max_size=40), st.floats(0, 3e9))
def test_after_any_changes_the_table_equals_a_plain_recount(changes: list[tuple[str, object]], now_s: float) -> None:
    table, plain = RewardTable(BELIEF), {}
    nodes = [f"n{i}" for i in range(41)]
    for name, what in changes:
        version, columns = table.columns_version, table.columns(nodes).tolist()
        if name == "put":
            table.put(what)
            plain[what.node, what.pod_type] = what
        elif name == "delete":
            table.delete(*what)
            plain.pop(what, None)
        else:
            table.replace(iter(what))
            plain = {(r.node, r.pod_type): r for r in what}
        assert (table.columns_version == version) == (table.columns(nodes).tolist() == columns)
    assert held(table) == plain
    assert len(table) == len(plain)
    assert table.newest_time_s == max((r.time_s for r in plain.values()), default=None)
    assert set(np.flatnonzero(table.columns(nodes) != UNKNOWN)) == {nodes.index(node) for node, _ in plain}
    for pod_type in ("web", "db", "cache"):
        beliefs = table.read(pod_type, table.columns(nodes), now_s=now_s)
        for i, node in enumerate(nodes):
            record = plain.get((node, pod_type), RewardRecord(node, pod_type, 0, 0, 0))
            left = record.evidence * 2 ** (-max(now_s - record.time_s, 0) / BELIEF.half_life_s)
            assert beliefs.evidence[i] == pytest.approx(left)
            assert beliefs.mean[i] == pytest.approx((0.5 * 2 + record.mean * left) / (2 + left))
        assert ((beliefs.mean >= 0) & (beliefs.mean <= 1)).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prior_mean": 1.1}, "prior_mean 1.1"),
        ({"prior_evidence": 0}, "prior_evidence 0"),
        ({"prior_evidence": math.inf}, "prior_evidence inf"),
        ({"half_life_s": 0}, "half_life_s 0"),
        ({"half_life_s": math.nan}, "half_life_s nan"),
    ],
)
def test_a_belief_that_makes_no_sense_is_named(changes: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        Belief(**changes)


def test_evidence_with_an_infinite_half_life_never_fades() -> None:
    table = filled(reward("n1", evidence=5.0, time_s=0), belief=Belief(half_life_s=math.inf))
    assert table.read("web", table.columns(["n1"]), now_s=1e12).evidence[0] == 5.0


def test_a_record_without_evidence_is_to_ewma_as_a_pair_that_nobody_tried() -> None:
    table = filled(reward("n1", mean=0.1, evidence=0.0), reward("n2", mean=0.1), belief=Belief(policy="ewma"))
    columns = table.columns(["n1", "n2", "never seen"])
    assert table.read("web", columns, now_s=1e9).mean.tolist() == [1.0, 0.1, 1.0]
    assert [record.mean for record in table.rows()] == [0.1, 0.1], "what is stored stays"
