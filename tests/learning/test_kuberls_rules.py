"""kubeRL's own rules, one by one, and the numbers that they lead to."""

from __future__ import annotations

import pytest

from kubesteer.model.runs import PodRuns
from kubesteer.rewards import kuberl
from kubesteer.rewards.column import Column
from kubesteer.rewards.judging import JudgingContext
from kubesteer.rewards.learners import EwmaLearner
from tests.learning.runs import RULES, T, end, ended, init, pod, running, waiting

CRASH = end(1, 0, 60)


def rewards(told: PodRuns, now_s: float = 1000) -> list[float]:
    return [one.value for one in kuberl.judge(told, RULES, JudgingContext(), T + now_s).outcomes]


@pytest.mark.parametrize(
    ("told", "want"),
    [
        pytest.param(pod(ended(CRASH), phase="Failed"), [0.0], id="Failed"),
        pytest.param(pod(running(0), phase="Unknown"), [0.0], id="Unknown"),
        pytest.param(pod(running(0)), [1.0], id="Running, never terminated"),
        pytest.param(pod(running(0, name="a"), running(1, name="b")), [1.0], id="Running, all containers"),
        pytest.param(pod(running(0, name="a"), waiting("ContainerCreating", name="b")), [], id="Running, one not yet"),
        pytest.param(pod(ended(CRASH)), [0.5], id="first termination, however short: unseen"),
        pytest.param(pod(ended(end(0, 0, 60))), [0.5], id="first termination, exit 0 too"),
        pytest.param(pod(ended(end(1, 0, 601), run=1)), [0.5], id="again, after 601 s: longer than the MTTF"),
        pytest.param(pod(ended(end(1, 0, 600), run=1)), [0.0], id="again, after 600 s: not longer"),
        pytest.param(pod(ended(end(1, 59, 61 + 600), run=1)), [0.5],
                     id="again, after 602 s by the clock: seconds of the minute would say 2"),
        pytest.param(pod(ended(end(1, None, None), run=1)), [0.0], id="again, without times"),
        pytest.param(pod(ended(CRASH, name="a"), running(0, name="b")), [0.5], id="one of two terminated"),
        pytest.param(pod(waiting("CrashLoopBackOff", last=CRASH)), [], id="waits after a crash: no update"),
        pytest.param(pod(running(70, run=1, last=CRASH)), [], id="runs again: no update"),
        pytest.param(pod(ended(end(0, 0, 60)), phase="Succeeded", to_completion=True), [], id="Succeeded: no update"),
        pytest.param(pod(waiting("ContainerCreating"), phase="Pending"), [], id="Pending: no update"),
        pytest.param(pod(init(ended(end(0, 0, 5), name="setup")), running(9)), [1.0], id="init containers are done"),
    ],
)  # fmt: skip
def test_a_state_has_kuberls_reward(told: PodRuns, want: list[float]) -> None:
    assert rewards(told) == want


def test_a_crashing_pod_has_kuberls_mean_however_often_its_events_come() -> None:
    column = Column("n1", EwmaLearner())
    column.load([], T)
    second = end(1, 70, 80)
    states = [
        pod(waiting("ContainerCreating"), phase="Pending"),
        pod(running(0)),
        pod(ended(CRASH)),
        pod(waiting("CrashLoopBackOff", last=CRASH)),
        pod(running(70, run=1, last=CRASH)),
        pod(ended(second, run=1, last=CRASH)),
    ]
    means = []
    for state in states:
        for now_s in (100, 200, 300):
            column.take(state, kuberl.judge(state, RULES, JudgingContext(), T + now_s), T + now_s)
        estimate = column.estimate("web")
        means.append(estimate.mean if estimate else None)
    # 1.0; 0.9 x 1.0 + 0.1 x 1.0 = 1.0; 0.9 x 1.0 + 0.1 x 0.5 = 0.95; waits, runs again; 0.9 x 0.95 = 0.855
    assert means == pytest.approx([None, 1.0, 0.95, 0.95, 0.95, 0.855])
    assert column.counted == 3


def test_runs_that_kuberl_did_not_see_do_not_count() -> None:
    column = Column("n1", EwmaLearner())
    column.load([], T)
    state = pod(ended(end(1, 0, 10), run=9))
    column.take(state, kuberl.judge(state, RULES, JudgingContext(), T + 20), T + 20)
    assert column.counted == 1
