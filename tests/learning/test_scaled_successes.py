"""A success counts as far as it was one: start-up, network, and the application's own measure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.learning.runs import T, end, ended, judged, pod, running, told, waiting

NOW_S = 300


@pytest.mark.parametrize(
    ("ready_s", "usual_s", "want"),
    [
        pytest.param(10, 10, (1.0, "Ran"), id="as usual"),
        pytest.param(5, 10, (1.0, "Ran"), id="faster"),
        pytest.param(12, 10, (1.0, "Ran"), id="2 s later: whole seconds cannot tell"),
        pytest.param(20, 10, (1.0, "Ran"), id="twice as long: chance"),
        pytest.param(40, 10, (0.5, "SlowStart"), id="2 x 10 / 40 = 0.5"),
        pytest.param(8, 0, (0.25, "SlowStart"), id="usually within a second: (0 + 2) / 8 = 0.25"),
        pytest.param(40, None, (1.0, "Ran"), id="nothing is usual yet"),
        pytest.param(None, 30, (0.2, "SlowStart"), id="not ready after 300 s: 2 x 30 / 300 = 0.2 so far"),
    ],
)
def test_a_slow_start_makes_less_of_the_first_run(ready_s: object, usual_s: object, want: tuple[float, str]) -> None:
    judgement = judged(pod(running(5), ready_s=ready_s), NOW_S, usual_startup_s=usual_s)
    assert told(judgement) == [("main", "run", 0, *want)]
    assert judgement.startup_s == ready_s


def test_a_start_up_that_was_noted_counts_and_not_a_readiness_that_came_back() -> None:
    judgement = judged(pod(running(5), ready_s=290), NOW_S, usual_startup_s=10, startup_s=40.0)
    assert told(judgement) == [("main", "run", 0, 0.5, "SlowStart")]  # 2 x 10 / 40, not 2 x 10 / 290
    assert judgement.startup_s == 40


def test_a_pod_that_lost_its_readiness_did_not_start_slowly() -> None:
    judgement = judged(pod(running(5), ready_s=None), NOW_S, usual_startup_s=10, startup_s=10.0)
    assert told(judgement) == [("main", "run", 0, 1.0, "Ran")]


def test_a_run_after_a_restart_has_no_start_up() -> None:
    judgement = judged(pod(running(100, run=1, last=end(1, 5, 90)), ready_s=250), NOW_S, usual_startup_s=10)
    assert told(judgement)[1] == ("main", "run", 1, 1.0, "Ran")
    assert judgement.startup_s is None
    noted = judged(pod(running(100, run=1, last=end(1, 5, 90))), NOW_S, usual_startup_s=10, startup_s=40.0)
    assert told(noted)[1] == ("main", "run", 1, 1.0, "Ran")


def test_what_is_measured_now_says_nothing_of_the_run_before() -> None:
    judgement = judged(pod(running(150, run=1, last=end(0, 5, 140)), measure="0.5"), NOW_S, achieved=0.7)
    assert told(judgement) == [("main", "run", 0, 1.0, "Ran"), ("main", "run", 1, 0.5, "Measure")]


def test_a_pod_that_is_not_ready_is_looked_at_less_and_less_often() -> None:
    looks = [300.0]
    for _ in range(4):
        next_look_s = judged(pod(running(5)), looks[-1], usual_startup_s=10).next_look_s
        assert next_look_s is not None
        looks.append(next_look_s - T)
    assert looks == [300, 600, 1200, 2400, 4800]


def test_a_network_that_falls_short_makes_less_of_a_run() -> None:
    judgement = judged(pod(running(5), asked_bps=(10**9,)), NOW_S, achieved=0.4)
    assert told(judgement) == [("main", "run", 0, 0.4, "Network")]
    assert judgement.outcomes[0].time_s == T + NOW_S, "it was measured now, not when the run became a success"


def test_the_smallest_of_what_is_known_counts() -> None:
    known: dict[str, Any] = {"usual_startup_s": 10, "achieved": 0.5, "measure": 0.8}
    slow = pod(running(5), ready_s=80, measure="0.9")
    assert told(judged(slow, NOW_S, **known)) == [("main", "run", 0, 0.25, "SlowStart")]
    quick = pod(running(5), ready_s=10, measure="0.3")
    assert told(judged(quick, NOW_S, **known)) == [("main", "run", 0, 0.3, "Measure")]


def test_small_differences_of_a_measured_value_are_not_worth_a_write() -> None:
    values = [judged(pod(running(5)), NOW_S, achieved=value).outcomes[0].value for value in (0.4012, 0.3987, 0.41)]
    assert values == [0.4, 0.4, 0.41]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("1.0", 1.0),
        (" 0.75\n", 0.75),
        (".5", 0.5),
        ("5e-1", 0.5),
        ("+0.5", 0.5),
        ("1e-999", 0.0),
    ],
)
def test_an_annotated_measure_counts(text: str, value: float) -> None:
    judgement = judged(pod(running(5), measure=text), NOW_S)
    assert told(judgement) == [("main", "run", 0, value, "Measure")]
    assert judgement.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "nan",
        "inf",
        "2",
        "1.001",
        "-0.1",
        "good",
        "",
        " ",
        "0,5",
        "0_1",
        "½",
        "\u0660.\u0665",
        "1e999",
        "0x1",
        "x" * 10_000,
        "0." + "5" * 63,
        "1" * 256_000 + "x",
        "1" * 256_000,
    ],
)
def test_a_bad_measure_is_named_and_changes_nothing(text: str) -> None:
    judgement = judged(pod(running(5), measure=text), NOW_S)
    assert told(judgement) == [("main", "run", 0, 1.0, "Ran")]
    [problem] = judgement.problems
    assert problem.startswith("pod 'default/web-1': annotation kubesteer.io/reward ")
    assert problem.endswith(" is not a number from 0 to 1 in 64 characters or fewer; write one such as 0.8")
    assert repr(text)[:80] in problem
    assert len(problem) < 300


def test_a_measure_is_no_outcome_of_a_run_that_has_not_lasted_or_failed() -> None:
    assert told(judged(pod(running(290), measure="0.1"), NOW_S)) == []
    assert told(judged(pod(waiting("ContainerCreating"), measure="0.1"), NOW_S)) == []
    assert told(judged(pod(ended(end(1, 5, 20)), measure="0.9"), NOW_S)) == [("main", "run", 0, 0.0, "Error (exit 1)")]


def test_a_measure_counts_for_a_job_that_is_done() -> None:
    job = pod(ended(end(0, 5, 20)), measure="0.9", to_completion=True, phase="Succeeded")
    [found] = judged(job, NOW_S).outcomes
    assert (found.value, found.reason, found.time_s) == (0.9, "Measure", T + 20)
