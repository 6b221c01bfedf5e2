"""One node's column: a run counts once, what changes is written, and nothing grows for ever."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import OTHER_TYPES, RewardRecord, decode_record, encode_key, encode_value
from kubesteer.model.runs import Stage
from kubesteer.rewards.column import Batch, Column
from kubesteer.rewards.early import MOST_RUNS
from kubesteer.rewards.entry import MOST_PODS
from kubesteer.rewards.judging import UncountedRun
from kubesteer.rewards.learners import BetaLearner, Estimate, EwmaLearner, Learner, NoLearner
from tests.learning.runs import HALF_LIFE_S, T, end, ended, judged, outcome, pod, running, waiting

BETA = BetaLearner(HALF_LIFE_S)


def column(records: Iterable[RewardRecord] = (), *, learner: Learner = BETA, now_s: float = 0, **bounds: int) -> Column:
    made = Column("n1", learner, **bounds)
    made.load(records, T + now_s)
    return made


class Store:
    """What an etcd would hold: bytes, and only whole batches."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}

    def write(self, batch: Batch) -> None:
        self.held |= {encode_key("/k", one.node, one.pod_type): encode_value(one) for one in batch.puts}
        for pod_type in batch.deletes:
            self.held.pop(encode_key("/k", "n1", pod_type), None)

    def flush(self, from_column: Column) -> None:
        while batch := from_column.take_batch(100):
            self.write(batch)
            from_column.written(batch)

    def records(self) -> list[RewardRecord]:
        return [decode_record("/k", key, value) for key, value in self.held.items()]


def estimate(of: Column, pod_type: str = "web") -> Estimate:
    found = of.estimate(pod_type)
    assert found is not None
    return found


def test_an_outcome_counts_once() -> None:
    one = column()
    assert [one.learn(outcome(0), T), one.learn(outcome(0), T + 99), one.learn(outcome(0, reason="OOMKilled"), T)] == [
        True,
        False,
        False,
    ]
    assert estimate(one) == (0, 1, T)


def test_each_pod_container_stage_and_run_counts_for_itself() -> None:
    one = column()
    for run in (
        outcome(0),
        outcome(0, run=1),
        outcome(0, uid="u2"),
        outcome(0, container="b"),
        outcome(0, stage=Stage.START),
        outcome(0, container="", stage=Stage.START),
    ):
        assert one.learn(run, T)
    assert one.counted == 6


def test_a_crash_takes_the_place_of_the_success_before_it() -> None:
    one = column()
    one.learn(outcome(1, run=0), T)
    one.learn(outcome(1, uid="u2"), T)
    assert one.learn(outcome(0, run=0, at_s=HALF_LIFE_S), T + HALF_LIFE_S)
    # at one half-life: a = 2/2 - 1/2 = 0.5, b = 1
    assert estimate(one) == pytest.approx((1 / 3, 1.5, T + HALF_LIFE_S))
    assert one.counted == 2


def test_a_measure_may_be_corrected_and_is_not_undone_by_not_being_known() -> None:
    one = column()
    for value, reason in ((1, "Ran"), (0.4, "Measure"), (0.8, "Measure"), (1, "Ran"), (1, "Completed")):
        one.learn(outcome(value, reason=reason), T)
    assert estimate(one) == pytest.approx((0.8, 1, T))


def test_an_older_list_undoes_nothing() -> None:
    one = column()
    one.learn(outcome(0, run=3), T)
    assert not one.learn(outcome(1, run=3), T), "the success before that crash"
    assert not one.learn(outcome(0, run=2), T), "a run before it"
    one.skip(UncountedRun("web", "u1", "main", 4, T), T)
    assert not one.learn(outcome(1, run=4), T), "a success before an end that was none"


@pytest.mark.parametrize(
    ("first", "then", "count"),
    [
        pytest.param(None, outcome(0, run=3), 4, id="runs 0, 1, 2 were missed"),
        pytest.param(outcome(1, run=0), outcome(0, run=3), 4, id="1 and 2 were missed"),
        pytest.param(outcome(0, run=0), outcome(0, run=1), 2, id="none"),
        pytest.param(outcome(0, run=0), outcome(1, run=6), 2, id="a run that goes on tells nothing of others"),
        pytest.param(None, outcome(0, run=3, stage=Stage.START), 1, id="images are not pulled anew each run"),
        pytest.param(None, outcome(0, run=10**9), 101, id="no more than 100"),
    ],
)
def test_missed_runs_count_like_the_one_that_was_seen_to_fail(first: object, then: object, count: int) -> None:
    one = column()
    for each in (first, then):
        if each is not None:
            one.learn(each, T)  # type: ignore[arg-type]
    assert one.counted == count
    assert estimate(one).evidence == pytest.approx(count)


def test_runs_that_are_no_outcome_are_not_missed() -> None:
    one = column()
    for run in range(5):
        quiet = pod(running(70, run=run + 1, last=end(0, 0, 60)))
        one.take(quiet, judged(quiet, 75), T + 75)
    crashed = pod(ended(end(1, 70, 80), run=5, last=end(0, 0, 60)))
    assert [each.run for each in one.take(crashed, judged(crashed, 90), T + 90)] == [5]
    assert one.counted == 1


def test_two_ends_that_are_told_at_once_count_in_their_order() -> None:
    one = column()
    both = pod(ended(end(1, 70, 80), run=1, last=end(0, 0, 60)))
    one.take(both, judged(both, 90), T + 90)
    assert one.counted == 1


def test_a_probe_kill_that_is_told_late_still_counts() -> None:
    one = column()
    assert one.skip(UncountedRun("web", "u1", "main", 0, T), T)
    assert one.learn(outcome(0, reason="LivenessProbeFailed"), T)
    assert one.counted == 1


def test_a_crash_loop_as_the_kubelet_tells_it_counts_each_run_once() -> None:
    first, second = end(1, 0, 5), end(1, 20, 25)
    states = [
        pod(running(0)),
        pod(ended(first)),
        pod(waiting("CrashLoopBackOff", last=first)),
        pod(running(20, run=1, last=first)),
        pod(ended(second, run=1, last=first)),
        pod(waiting("CrashLoopBackOff", run=1, last=second)),
        pod(running(60, run=2, last=second)),
    ]
    one = column()
    learned = [len(one.take(state, judged(state, 61), T + 61)) for state in states for _ in range(2)]
    assert learned == [0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_a_pod_whose_type_is_edited_stays_with_its_first() -> None:
    one = column()
    one.learn(outcome(0), T)
    assert not one.learn(outcome(0, pod_type="edited"), T)
    assert one.learn(outcome(0, run=1, pod_type="edited"), T)
    assert (len(one), estimate(one).evidence) == (1, 2)


def test_a_record_tells_people_what_happened() -> None:
    one = column()
    one.learn(outcome(1, uid="u2", at_s=-60), T)
    one.learn(outcome(0, run=1, reason="OOMKilled", at_s=-30), T)
    one.note_startup("web", "u1", 4.0)
    [record] = one.records()
    assert record.extra == {
        "learner": "beta",
        "count": 3,
        "seen": {"u2": {"main/run": [0, 1, T - 60]}, "u1": {"main/run": [1, 0, T - 30]}},
        "noted": {"u1": {"startup_s": 4.0}},
        "recent": [
            {"time": "2023-11-14T22:12:20Z", "pod": "default/u2", "container": "main", "stage": "run", "run": 0,
             "value": 1, "reason": "Ran"},
            {"time": "2023-11-14T22:12:50Z", "pod": "default/u1", "container": "main", "stage": "run", "run": 1,
             "value": 0, "reason": "OOMKilled"},
        ],
        "bad": [
            {"time": "2023-11-14T22:12:50Z", "pod": "default/u1", "container": "main", "stage": "run", "run": 1,
             "value": 0, "reason": "OOMKilled"},
        ],
        "startup_s": [4.0],
        "duration_s": [],
    }  # fmt: skip


def test_a_replaced_outcome_is_shown_in_its_new_form_only() -> None:
    one = column()
    for value, reason in ((1, "Ran"), (0.2, "Measure"), (0.9, "Measure")):
        one.learn(outcome(value, reason=reason), T)
    [record] = one.records()
    assert [each["value"] for each in record.extra["recent"]] == [0.9]
    assert record.extra["bad"] == []


def test_a_start_up_is_noted_once_a_pod_and_medians_follow() -> None:
    one = column()
    assert [one.note_startup("web", uid, seconds) for uid, seconds in (("a", 1), ("b", 3), ("c", 8), ("a", 99))] == [
        True,
        True,
        True,
        False,
    ]
    assert one.note_duration("web", "a", 60)
    assert (one.medians("web").startup_s, one.medians("web").duration_s) == (3, 60)
    assert (one.startup_of("a"), one.startup_of("d")) == (1, None)
    assert (one.medians("never").startup_s, one.medians("never").duration_s) == (None, None)


def test_what_changed_while_it_was_written_stays_dirty() -> None:
    one = column()
    one.learn(outcome(0), T)
    one.learn(outcome(0, uid="u2", pod_type="db"), T)
    batch = one.take_batch(10)
    assert ([record.pod_type for record in batch.puts], batch.deletes, one.dirty()) == (["web", "db"], (), 2)
    one.learn(outcome(0, run=1), T)
    one.written(batch)
    assert one.dirty() == 1
    [again] = one.take_batch(10).puts
    assert (again.pod_type, again.evidence) == ("web", 2)
    assert batch.puts[0].evidence == 1, "a record that was taken does not change"


def test_a_batch_that_failed_comes_again() -> None:
    one = column()
    one.learn(outcome(0), T)
    assert one.take_batch(10) == one.take_batch(10)


def test_the_longest_waiting_records_are_written_first() -> None:
    one = column()
    for number in range(5):
        one.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}"), T)
    one.learn(outcome(0, run=1, uid="u0", pod_type="t0"), T)
    assert [record.pod_type for record in one.take_batch(2).puts] == ["t0", "t1"]


def test_a_store_that_lost_the_column_gets_all_of_it_again() -> None:
    one, store = column(), Store()
    one.learn(outcome(0), T)
    one.learn(outcome(0, uid="u2", pod_type="db"), T)
    store.flush(one)
    store.held.clear()
    one.rewrite()
    store.flush(one)
    assert {record.pod_type for record in store.records()} == {"web", "db"}


def test_a_restart_goes_on_where_the_last_agent_was() -> None:
    first, store = column(), Store()
    first.learn(outcome(0, run=2), T)
    first.note_startup("web", "u1", 7)
    store.flush(first)
    second = column(store.records())
    assert not second.learn(outcome(0, run=2), T)
    assert not second.note_startup("web", "u1", 7)
    assert (second.counted, second.dirty(), second.startup_of("u1")) == (3, 0, 7)
    assert list(second.records()) == list(first.records())


def test_what_was_learned_before_the_store_was_read_counts_once() -> None:
    first, store = column(), Store()
    first.learn(outcome(0, run=2), T)  # and 0, 1: 3 runs
    store.flush(first)
    second = Column("n1", BETA)
    for known in (outcome(0, run=2), outcome(0, run=3), outcome(0, run=4), outcome(1, uid="u2")):
        second.learn(known, T)
    second.note_startup("web", "u2", 5)
    assert not second.take_batch(10), "nothing is written before it is known what is there"
    second.load(store.records(), T)
    # 3 stored, runs 3 and 4, and u2's
    assert second.counted == 6
    assert estimate(second) == pytest.approx((1 / 6, 6, T))
    assert second.medians("web").startup_s == 5


def test_a_correction_before_the_store_was_read_replaces_what_is_stored() -> None:
    first, store = column(), Store()
    first.learn(outcome(1), T)
    store.flush(first)
    second = Column("n1", BETA)
    assert second.learn(outcome(0), T)
    assert not second.learn(outcome(0), T)
    second.load(store.records(), T)
    assert second.counted == 1
    assert estimate(second) == pytest.approx((0, 1, T))


def test_a_long_outage_at_the_start_is_bounded_and_loses_nothing() -> None:
    first, store = column(), Store()
    first.learn(outcome(0, run=0), T)
    store.flush(first)
    second = Column("n1", BETA)
    runs = MOST_RUNS + 3000
    for run in range(runs):
        assert second.learn(outcome(0, run=run), T)
        assert not second.learn(outcome(0, run=run), T)
    assert len(list(second._early)) == MOST_RUNS
    second.load(store.records(), T)
    assert second.counted == runs
    assert estimate(second) == pytest.approx((0, runs, T))
    assert not second.learn(outcome(0, run=runs - 1), T)


def test_nothing_is_learned_without_a_learner() -> None:
    one = column(learner=NoLearner())
    assert not one.learn(outcome(0), T)
    assert (len(one), one.dirty()) == (0, 0)


def test_another_learners_belief_is_left_behind_with_its_runs_known() -> None:
    first, store = column(), Store()
    first.learn(outcome(0), T)
    store.flush(first)
    second = column(store.records(), learner=EwmaLearner())
    assert second.estimate("web") is None
    assert not second.learn(outcome(0), T)
    second.learn(outcome(0, run=1), T)
    assert estimate(second).mean == pytest.approx(0.9)  # 0.9 x 1.0 + 0.1 x 0


def test_a_record_that_a_person_set_is_where_learning_goes_on() -> None:
    by_hand = RewardRecord("n1", "web", 0.2, 10, T, {"owner": {"team": "shop"}})
    one = column([by_hand])
    one.learn(outcome(1), T)
    [record] = one.records()
    # (0.2 x 10 + 1) / 11
    assert (record.mean, record.evidence) == pytest.approx((3 / 11, 11))
    assert record.extra["owner"] == {"team": "shop"}


@pytest.mark.parametrize("odd", [None, 7, "x", [], {}, [1, 2], {"u1": 1}, {"u1": {"main/run": 5}}, {"u1": {"main/run": [1]}},
                                 {"u1": {"main/run": ["a", 2, 3]}}, {"u1": {"main/run": [-1, 0, 0]}},
                                 {"u1": {"main/run": [0, 9, 0]}}, {"u1": {"main/run": [0, 0, None]}}, -3, True])  # fmt: skip
def test_fields_that_cannot_be_read_stop_nobody(odd: object) -> None:
    names = ("count", "seen", "noted", "recent", "bad", "startup_s", "duration_s", "folded")
    one = column([RewardRecord("n1", "web", 0.5, 2, T, dict.fromkeys(names, odd))])
    assert one.learn(outcome(0), T)
    for record in one.records():
        encode_value(record)


def test_pods_that_are_gone_are_forgotten_and_others_are_not() -> None:
    one, store = column(), Store()
    for uid in ("gone", "here"):
        one.learn(outcome(0, uid=uid), T)
        one.note_startup("web", uid, 1)
    store.flush(one)
    one.prune({"here"})
    assert one.dirty() == 0
    assert not one.learn(outcome(0, uid="here"), T)
    [record] = one.records()
    assert (list(record.extra["seen"]), list(record.extra["noted"])) == (["here"], ["here"])
    assert record.evidence == 2


@pytest.mark.parametrize("pruned", [True, False])
def test_a_type_with_40_000_pods_stays_small(pruned: bool) -> None:
    one = column()
    for number in range(40_000):
        uid = f"00000000-0000-4000-8000-{number:012}"
        one.learn(outcome(number % 2, uid=uid, at_s=number), T + number)
        one.note_startup("web", uid, number)
        if pruned and number % 110 == 0:
            one.prune({uid})
    [record] = one.records()
    assert len(record.extra["seen"]) <= (110 if pruned else MOST_PODS)
    assert len(encode_value(record)) < (20_000 if pruned else 200_000)
    assert (record.extra["count"], len(record.extra["startup_s"])) == (40_000, 16)
    assert len(one._type_of_pod) <= (110 if pruned else 5000)
    # one outcome a second for 40,000 s: (1 - 2^(-40000/3600)) / (1 - 2^(-1/3600)) = 5192 runs' worth
    assert record.evidence == pytest.approx(5192, abs=1)


def test_5_000_types_are_folded_and_counted() -> None:
    one, store = column(max_types=100), Store()
    for number in range(5_000):
        one.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}", at_s=number), T + number)
        if number % 20 == 0:
            store.flush(one)
    store.flush(one)
    assert (len(one), one.folded, one.counted) == (101, 4_900, 5_000)
    records = {record.pod_type: record for record in store.records()}
    assert len(records) == 101
    assert (records[OTHER_TYPES].extra["folded"], records[OTHER_TYPES].extra["count"]) == (4_900, 4_900)
    assert "t4999" in records
    # a run a second for 4900 s, half of it gone after 3600 s: 5194 x (1 - 2^(-4900/3600)) = 3172
    assert records[OTHER_TYPES].evidence == pytest.approx(3172, abs=1)


def test_the_type_with_the_least_evidence_left_is_folded() -> None:
    one = column(max_types=2)
    for run in range(3):
        one.learn(outcome(1, run=run, uid="o", pod_type="old"), T)
    one.learn(outcome(1, uid="n", pod_type="new", at_s=3 * HALF_LIFE_S), T + 3 * HALF_LIFE_S)
    one.learn(outcome(0, uid="x", pod_type="next", at_s=3 * HALF_LIFE_S), T + 3 * HALF_LIFE_S)
    # old: 3 / 8 is less than new: 1
    assert {record.pod_type for record in one.records()} == {"new", "next", OTHER_TYPES}
    assert one.estimate(OTHER_TYPES) == (1, 3, T)


def test_a_folded_types_pods_go_on_counting_once() -> None:
    one = column(max_types=1)
    one.learn(outcome(1, uid="a", pod_type="one"), T)
    one.note_startup("one", "a", 7)
    one.learn(outcome(1, uid="b", pod_type="two"), T)
    assert one.startup_of("a") == 7
    assert not one.learn(outcome(1, uid="a", pod_type="one"), T)
    assert one.learn(outcome(0, uid="a", pod_type="one"), T), "its crash takes the place of its success"
    assert estimate(one, OTHER_TYPES) == pytest.approx((0, 1, T))


def test_folded_types_leave_the_store_in_the_batch_that_writes_what_they_became() -> None:
    one, store = column(max_types=3), Store()
    for number in range(3):
        one.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}", at_s=number), T + number)
    store.flush(one)
    one.learn(outcome(0, uid="u3", pod_type="t3", at_s=3), T + 3)
    batch = one.take_batch(1)
    assert ([record.pod_type for record in batch.puts], batch.deletes) == ([OTHER_TYPES], ("t0",))
    store.write(batch)
    one.written(batch)
    store.flush(one)
    assert {record.pod_type for record in store.records()} == {"t1", "t2", "t3", OTHER_TYPES}
    assert column(store.records(), max_types=3).counted == 4


def test_a_folded_type_that_comes_back_at_once_is_not_deleted() -> None:
    one, store = column(max_types=1), Store()
    one.learn(outcome(0, uid="a", pod_type="one"), T)
    store.flush(one)
    one.learn(outcome(0, uid="b", pod_type="two"), T)
    one.learn(outcome(0, uid="c", pod_type="one"), T)
    batch = one.take_batch(1)
    assert ({record.pod_type for record in batch.puts}, batch.deletes) == ({"one", OTHER_TYPES}, ())
    assert sum(record.extra["count"] for record in batch.puts) == 3


def test_few_stored_types_are_folded_while_the_store_is_away() -> None:
    one, store = column(max_types=200), Store()
    for number in range(200):
        one.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}"), T)
    store.flush(one)
    for number in range(200, 2000):
        one.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}"), T)
    batch = one.take_batch(100)
    assert (len(batch.deletes), len(one)) == (32, 201)
    # the other 168 stored types are as they were; 32 new ones and OTHER_TYPES are to be written
    assert len(batch.puts) == 33
    store.flush(one)
    assert column(store.records(), max_types=200).counted == 2000


def test_a_column_that_was_made_for_more_types_shrinks() -> None:
    big, store = column(max_types=50), Store()
    for number in range(50):
        big.learn(outcome(0, uid=f"u{number}", pod_type=f"t{number}"), T)
    store.flush(big)
    small = column(store.records(), max_types=5)
    for number in range(5):
        store.flush(small)
        small.learn(outcome(0, run=1, uid=f"u{49 - number}", pod_type=f"t{49 - number}"), T)
    store.flush(small)
    assert len(store.records()) == len(small) == 6


@pytest.mark.parametrize("name", ["a/b", "a\nb", "ÄÖ 日本 🚀", "%2F", "..", "x" * 63, "\ud800", '"', "*x"])
def test_any_name_comes_back_from_the_store(name: str) -> None:
    one, store = column(), Store()
    one.learn(outcome(0, pod_type=name, uid=name, container=name), T)
    store.flush(one)
    again = column(store.records())
    assert not again.learn(outcome(0, pod_type=name, uid=name, container=name), T)
    assert again.counted == 1


@pytest.mark.parametrize("bound", ["max_types", "recent", "bad", "missed"])
def test_a_bound_below_1_is_named(bound: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{bound} 0 is not a whole number of 1 or more"):
        Column("n1", BETA, **{bound: 0})
