"""However often an agent looks, stops, crashes or starts before its store does: each run counts once, and none is lost.

A history is what the kubelet would tell of one container, state by state, each a look at the API. The agent under test
is told each state, some of them again later, and between them it writes, restarts, or begins anew without its store.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesteer.model.reward import RewardRecord, decode_record, encode_key, encode_value
from kubesteer.model.runs import PodRuns, RunEnd
from kubesteer.rewards.column import Column
from kubesteer.rewards.learners import BetaLearner, Estimate
from tests.examples import examples
from tests.learning.runs import HALF_LIFE_S, T, end, ended, judged, pod, running, waiting

BETA = BetaLearner(HALF_LIFE_S)


@dataclass(frozen=True)
class Look:
    """One state of the pod, `now_s` seconds after T."""

    told: PodRuns
    now_s: float


def history(runs: list[tuple[int, int]], uid: str) -> list[Look]:
    """The looks at a container whose runs lasted so many seconds and had this exit code; then it goes on."""
    looks, at_s, last = [Look(pod(waiting("ContainerCreating"), uid=uid), 0)], 5, None
    number = 0
    for lasted_s, code in runs:
        looks.append(Look(pod(running(at_s, run=number, last=last), uid=uid), at_s + lasted_s))
        how: RunEnd = end(code, at_s, at_s + lasted_s)
        at_s += lasted_s + 10
        looks.append(Look(pod(ended(how, run=number, last=last), uid=uid), at_s - 9))
        looks.append(Look(pod(waiting("CrashLoopBackOff", run=number, last=how), uid=uid), at_s - 1))
        last, number = how, number + 1
    return [*looks, Look(pod(running(at_s, run=number, last=last), uid=uid), at_s + 130)]


def counts_of(runs: list[tuple[int, int]]) -> tuple[int, float]:
    """By hand: how many runs count, and the sum of their values; the last one goes on and is a success."""
    count, total = 1, 1.0
    for lasted_s, code in runs:
        if code != 0 or lasted_s >= 120:
            count += 1
        if code == 0 and lasted_s >= 120:
            total += 1.0
        elif code != 0 and lasted_s > 600:
            total += 0.5
    return count, total


class Agent:
    """A column with its store, which may crash: what it did not write is gone."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.column = Column("n1", BETA)
        self.column.load([], T)

    def look(self, look: Look, now_s: float | None = None) -> None:
        when_s = look.now_s if now_s is None else now_s
        if not self.column.is_loaded:
            judgement = judged(look.told, when_s)
        else:
            judgement = judged(look.told, when_s, startup_s=self.column.startup_of(look.told.uid))
        self.column.take(look.told, judgement, T + when_s)

    def write(self) -> None:
        batch = self.column.take_batch(100)
        self.stored |= {encode_key("/k", "n1", one.pod_type): encode_value(one) for one in batch.puts}
        self.column.written(batch)

    def restart(self, now_s: float, *, store_is_away: bool) -> None:
        self.column = Column("n1", BETA)
        if not store_is_away:
            self.load(T + now_s)

    def load(self, now_s: float) -> None:
        if not self.column.is_loaded:
            self.column.load(self.records(), now_s)

    def records(self) -> list[RewardRecord]:
        return [decode_record("/k", key, value) for key, value in self.stored.items()]


runs = st.lists(
    st.tuples(st.sampled_from([1, 60, 119, 120, 121, 600, 601, 5000]), st.sampled_from([0, 1, 137])), max_size=6
)
deeds = st.lists(
    st.sampled_from(["look again", "look back", "write", "crash", "crash, store away", "store back"]), max_size=6
)


@settings(max_examples=examples(300))
@given(runs, st.data())
def test_a_history_counts_the_same_however_it_is_followed(done: list[tuple[int, int]], data: st.DataObject) -> None:
    looks = history(done, "u1")
    agent = Agent()
    for place, look in enumerate(looks):
        agent.look(look)
        for deed in data.draw(deeds, label=f"after look {place}"):
            if deed == "look again":
                agent.look(look)
            elif deed == "look back":
                agent.look(looks[data.draw(st.integers(0, place))], look.now_s)
                agent.look(look)
            elif deed == "write":
                agent.write()
            elif deed.startswith("crash"):
                agent.restart(look.now_s, store_is_away=deed.endswith("away"))
                agent.look(look)
            else:
                agent.load(T + look.now_s)
        agent.load(T + look.now_s)
        agent.write()
    agent.restart(looks[-1].now_s, store_is_away=False)
    agent.look(looks[-1])
    count, total = counts_of(done)
    assert agent.column.counted == count
    assert_is_standing_of(done, looks, agent, total)


def assert_is_standing_of(done: list[tuple[int, int]], looks: list[Look], agent: Agent, total: float) -> None:
    """Against an agent that nothing ever happened to, and, where nothing decays, against the count by hand."""
    calm = Agent()
    for look in looks:
        calm.look(look)
    found = agent.column.estimate("web")
    assert found is not None
    assert found == pytest.approx(calm.column.estimate("web"), rel=1e-9, abs=1e-9)
    never_fades = Column("n1", BetaLearner(float("inf")))
    never_fades.load([], T)
    for look in looks:
        never_fades.take(look.told, judged(look.told, look.now_s), T + look.now_s)
    count, _ = counts_of(done)
    assert never_fades.estimate("web") == pytest.approx(
        Estimate(total / count, count, T + looks[-1].now_s), rel=1e-6, abs=1e-9
    )


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.integers(1, 280), st.just(1)), min_size=1, max_size=12), st.data())
def test_no_crash_is_lost_by_an_agent_that_sleeps(done: list[tuple[int, int]], data: st.DataObject) -> None:
    """It sees only some states and may lose what it did not write; every run fails, so those it missed did too.

    5 s + 12 x (280 s + 10 s) are less than the half-life of 3600 s: what was missed is recent.
    """
    looks = history(done, "u1")
    agent = Agent()
    for place, look in enumerate(looks[:-1]):
        deed = data.draw(
            st.sampled_from(["sleep", "look", "look and write", "crash", "crash, store away"]), label=str(place)
        )
        if deed.startswith("look"):
            agent.look(look)
        if deed == "look and write":
            agent.load(T + look.now_s)
            agent.write()
        elif deed.startswith("crash"):
            agent.restart(look.now_s, store_is_away=deed.endswith("away"))
    agent.load(T + looks[-1].now_s)
    agent.look(looks[-1])
    assert agent.column.counted == len(done) + 1


@settings(max_examples=examples(200))
@given(st.lists(runs, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_pods_of_one_type_count_apart_in_any_order(pods: list[list[tuple[int, int]]], order: object) -> None:
    queues = [history(done, f"u{number}") for number, done in enumerate(pods)]
    agent = Agent()
    while left := [queue for queue in queues if queue]:
        agent.look(order.choice(left).pop(0))  # type: ignore[attr-defined]
    assert agent.column.counted == sum(counts_of(done)[0] for done in pods)


@settings(max_examples=examples(200))
@given(runs, st.lists(st.floats(-1e12, 1e12) | st.sampled_from([-1e18, 0.0, 1e18]), min_size=1, max_size=30))
def test_no_jump_of_the_agents_clock_makes_a_record_that_cannot_be_kept(
    done: list[tuple[int, int]], clocks: list[float]
) -> None:
    looks = history(done, "u1")
    agent = Agent()
    for place, now_s in enumerate(clocks):
        agent.look(looks[place % len(looks)], now_s)
        agent.write()
        assert len(agent.records()) == len(agent.stored)
        for record in agent.records():
            assert record.evidence <= len(done) + 1 + 1e-9
