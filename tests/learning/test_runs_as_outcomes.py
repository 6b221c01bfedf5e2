"""What a container's run is worth: every way in which it can go well, fail, or be ended by somebody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.runs import ContainerRuns, PodRuns
from kubesteer.rewards.judging import Rules, wants_events
from tests.learning.runs import T, end, ended, event, init, judged, pod, running, told, waiting


def ran(run: int, value: float, reason: str, container: str = "main") -> tuple[str, str, int, float, str]:
    return (container, "run", run, value, reason)


CRASHED = end(1, 0, 60)


@pytest.mark.parametrize(
    ("container", "want"),
    [
        pytest.param(running(10), [], id="119 s: too early"),
        pytest.param(running(9), [ran(0, 1.0, "Ran")], id="120 s: success"),
        pytest.param(running(60, run=1, last=CRASHED), [ran(0, 0.0, "Error (exit 1)")], id="runs again after a crash"),
        pytest.param(
            running(5, run=7, last=end(2, 0, 4)),
            [ran(6, 0.0, "Error (exit 2)"), ran(7, 1.0, "Ran")],
            id="the run before crashed, this one is good",
        ),
        pytest.param(ended(end(3, 0, 100)), [ran(0, 0.0, "Error (exit 3)")], id="crash after 100 s"),
        pytest.param(ended(end(3, -600, 0)), [ran(0, 0.0, "Error (exit 3)")], id="crash after 600 s, not more: 0"),
        pytest.param(ended(end(3, -601, 0)), [ran(0, 0.5, "Error (exit 3)")], id="crash after 601 s: half"),
        pytest.param(ended(end(137, 0, 9, "OOMKilled")), [ran(0, 0.0, "OOMKilled")], id="out of memory"),
        pytest.param(ended(end(0, 0, 9, "OOMKilled")), [ran(0, 0.0, "OOMKilled")], id="a child out of memory"),
        pytest.param(ended(end(137, None, None, "ContainerStatusUnknown")), [ran(0, 0.0, "ContainerStatusUnknown")],
                     id="lost by the kubelet, without times"),
        pytest.param(ended(end(1, 100, 0)), [ran(0, 0.0, "Error (exit 1)")], id="ended before it began: clock set back"),
        pytest.param(ended(end(128, None, 5, "StartError")), [ran(0, 0.0, "StartError")], id="could not be started"),
        pytest.param(waiting("CrashLoopBackOff", last=CRASHED), [ran(0, 0.0, "Error (exit 1)")],
                     id="back-off after the first crash: restartCount is still 0"),
        pytest.param(waiting("CrashLoopBackOff", run=4, last=CRASHED), [ran(4, 0.0, "Error (exit 1)")],
                     id="back-off after the fifth run"),
        pytest.param(waiting("CrashLoopBackOff"), [ran(0, 0.0, "CrashLoopBackOff")], id="back-off, no end recorded"),
        pytest.param(waiting("ContainerCreating", run=1, last=CRASHED), [ran(0, 0.0, "Error (exit 1)")],
                     id="the next container is made: restartCount already counts it"),
        pytest.param(waiting("ContainerCreating"), [], id="not started yet"),
        pytest.param(ended(end(0, 0, 60)), [], id="exit 0 of what should run for ever"),
        pytest.param(ended(end(0, 0, 121)), [ran(0, 1.0, "Ran")], id="exit 0 after a run that had been long enough"),
        pytest.param(ended(end(1, 0, 60), run=2, last=end(137, 0, 50, "OOMKilled")),
                     [ran(1, 0.0, "OOMKilled"), ran(2, 0.0, "Error (exit 1)")], id="two ends told at once"),
        pytest.param(init(ended(end(1, 0, 3), name="setup")), [ran(0, 0.0, "Error (exit 1)", "setup")],
                     id="an init container failed"),
        pytest.param(init(ended(end(0, 0, 300), name="setup")), [], id="an init container did its work"),
        pytest.param(init(running(0, name="setup")), [], id="an init container runs for long"),
    ],
)  # fmt: skip
def test_a_run_counts_for_how_it_went(container: ContainerRuns, want: list[object]) -> None:
    assert told(judged(pod(container), now_s=129)) == want


@pytest.mark.parametrize(
    ("how", "usual_s", "want"),
    [
        pytest.param(end(0, 0, 300), None, ran(0, 1.0, "Completed"), id="nothing is usual yet"),
        pytest.param(end(0, 0, 300), 300, ran(0, 1.0, "Completed"), id="as fast as usual"),
        pytest.param(end(0, 0, 300), 600, ran(0, 1.0, "Completed"), id="faster: no more than 1"),
        pytest.param(end(0, 0, 300), 75, ran(0, 0.5, "SlowRun"), id="2 x 75 / 300 = 0.5"),
        pytest.param(end(0, 0, 300), 150, ran(0, 1.0, "Completed"), id="twice as long: chance"),
        pytest.param(end(0, 0, 3), 1, ran(0, 1.0, "Completed"), id="2 s more, in times of whole seconds: no slower"),
        pytest.param(end(0, None, None), 75, ran(0, 1.0, "Completed"), id="no times: no speed"),
    ],
)
def test_a_job_counts_for_its_speed(how: object, usual_s: float | None, want: object) -> None:
    job = pod(ended(how), to_completion=True, phase="Succeeded")  # type: ignore[arg-type]
    assert told(judged(job, 400, usual_duration_s=usual_s)) == [want]


def test_a_job_of_two_containers_took_as_long_as_the_longer_one() -> None:
    both = (ended(end(0, 0, 40), name="a"), ended(end(0, 0, 100), name="b"))
    job = pod(*both, to_completion=True, phase="Succeeded")
    judgement = judged(job, 400, usual_duration_s=25)
    # 2 x 25 / 100
    assert told(judgement) == [ran(0, 0.5, "SlowRun", "a"), ran(0, 0.5, "SlowRun", "b")]
    assert judgement.duration_s == 100


def test_a_job_that_has_not_ended_has_no_duration_yet() -> None:
    both = (ended(end(0, 0, 40), name="a"), running(0, name="b"))
    judgement = judged(pod(*both, to_completion=True), 60, usual_duration_s=1)
    assert (told(judgement), judgement.duration_s) == ([ran(0, 1.0, "Completed", "a")], None)


def test_a_sidecar_that_is_stopped_when_the_job_is_done_did_not_fail() -> None:
    stopped = (ended(end(0, 0, 40), name="work"), ended(end(143, 0, 41), name="sidecar"))
    job = pod(*stopped, to_completion=True, phase="Succeeded")
    assert told(judged(job, 60)) == [ran(0, 1.0, "Completed", "work")]


SHORT, LONG = end(143, 0, 60), end(143, 0, 200)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"deleting_since_s": 60}, id="deleted by hand, scaled down, rolled over"),
        pytest.param({"deleting_since_s": 62}, id="deleted, and the node's clock is 2 s behind"),
        pytest.param({"deleting_since_s": 50, "disruption": "EvictionByEvictionAPI"}, id="drained"),
        pytest.param({"deleting_since_s": 50, "disruption": "PreemptionByScheduler"}, id="preempted"),
        pytest.param({"disruption": "PreemptionByScheduler"}, id="about to be deleted by the scheduler"),
        pytest.param({"disruption": "DeletionByTaintManager", "deleting_since_s": 30}, id="taint"),
        pytest.param({"disruption": "DeletionByPodGC"}, id="pod garbage collection"),
        pytest.param({"phase": "Failed", "status_reason": "Preempting", "disruption": "TerminationByKubelet"},
                     id="made way for a critical pod"),
        pytest.param({"phase": "Failed", "status_reason": "Terminated", "disruption": "TerminationByKubelet"},
                     id="node shut down"),
        pytest.param({"disruption": "TerminationByKubelet", "deleting_since_s": 100}, id="by the kubelet, then deleted"),
        pytest.param({"phase": "Failed", "status_reason": "NodeShutdown"}, id="node shut down, older kubelet"),
        pytest.param({"phase": "Failed", "status_reason": "DeadlineExceeded"}, id="the user's deadline"),
        pytest.param({"phase": "Failed", "status_reason": "OutOfcpu"}, id="not admitted: OutOfcpu"),
        pytest.param({"phase": "Failed", "status_reason": "OutOfexample.com/SLO"}, id="not admitted: OutOf..."),
        pytest.param({"phase": "Failed", "status_reason": "NodeAffinity"}, id="not admitted: NodeAffinity"),
        pytest.param({"phase": "Failed", "status_reason": "UnexpectedAdmissionError"}, id="not admitted: device"),
    ],
)  # fmt: skip
def test_what_somebody_did_is_no_outcome_and_takes_back_no_success(parts: dict[str, Any]) -> None:
    assert told(judged(pod(ended(SHORT), **parts), 300)) == []
    later = {name: value + 140 if name == "deleting_since_s" else value for name, value in parts.items()}
    assert told(judged(pod(ended(LONG), **later), 300)) == [ran(0, 1.0, "Ran")]


@pytest.mark.parametrize(
    ("how", "want"),
    [
        pytest.param(end(1, 0, 60), "Error (exit 1)", id="crashed 40 s before"),
        pytest.param(end(137, 0, 95, "OOMKilled"), "OOMKilled", id="out of memory 5 s before"),
        pytest.param(end(143, 0, 89), "Error (exit 143)", id="a signal 11 s before: no clock is so far behind"),
    ],
)
def test_what_failed_before_the_deletion_failed_by_itself(how: object, want: str) -> None:
    assert told(judged(pod(ended(how), deleting_since_s=100), 200)) == [ran(0, 0.0, want)]  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1, 137, 143])
def test_any_exit_after_the_deletion_is_the_deletions(code: int) -> None:
    judgement = judged(pod(ended(end(code, 0, 100)), deleting_since_s=100), 200)
    assert judgement.outcomes == ()
    assert [(one.container, one.run) for one in judgement.passed] == [("main", 0)]


def test_a_pod_that_is_being_deleted_no_longer_earns_its_success() -> None:
    told_late = judged(pod(running(0), deleting_since_s=119), 200)
    assert (told(told_late), told_late.next_look_s) == ([], None)
    assert told(judged(pod(running(0), deleting_since_s=120), 200)) == [ran(0, 1.0, "Ran")]


def test_eviction_by_the_node_counts_against_every_container_that_ran() -> None:
    evicted = pod(
        ended(end(137, 0, 60), name="a"),
        ended(end(0, -900, 60), name="b"),
        waiting("PodInitializing", name="never"),
        init(ended(end(0, -960, -950), name="setup")),
        phase="Failed",
        status_reason="Evicted",
        disruption="TerminationByKubelet",
    )
    # b ran 960 s, more than the MTTF of 600 s
    assert told(judged(evicted, 70)) == [ran(0, 0.0, "Evicted", "a"), ran(0, 0.5, "Evicted", "b")]


def test_a_pod_refused_for_pressure_on_the_node_has_no_run_that_could_count() -> None:
    refused = pod(waiting("ContainerCreating"), phase="Failed", status_reason="Evicted")
    assert told(judged(refused, 70)) == []


@pytest.mark.parametrize("probe", ["liveness", "startup"])
@pytest.mark.parametrize("code", [0, 137])
def test_a_liveness_kill_counts_even_when_the_container_exits_well(code: int, probe: str) -> None:
    container = running(61, run=1, last=end(code, 0, 60))
    killing = event("Killing", f"Container main failed {probe} probe, will be restarted", 30)
    assert told(judged(pod(container), 65, events=(killing,))) == [ran(0, 0.0, "LivenessProbeFailed")]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(event("Killing", "Stopping container main", 30), id="stopped"),
        pytest.param(event("Killing", "Container main2 failed liveness probe, will be restarted", 30), id="another"),
        pytest.param(event("Killing", "Container main failed liveness probe, will be restarted", 90), id="a later run"),
        pytest.param(event("Unhealthy", "Liveness probe failed: timeout", 30), id="not killed for it"),
    ],
)
def test_other_events_do_not_make_an_exit_0_a_liveness_kill(other: object) -> None:
    container = running(61, run=1, last=end(0, 0, 60))
    assert told(judged(pod(container), 95, events=(other,))) == []


def test_a_reason_is_never_long() -> None:
    [found] = judged(pod(ended(end(1, 0, 5, "x" * 5000))), 10).outcomes
    assert len(found.reason) == 64


@pytest.mark.parametrize(
    ("told_pod", "now_s", "want_s"),
    [
        pytest.param(pod(running(5)), 10, 125, id="success after 120 s"),
        pytest.param(pod(running(5), running(50, name="b")), 130, 170, id="the next one's success"),
        pytest.param(pod(running(5)), 126, None, id="nothing to come"),
        pytest.param(pod(waiting("ContainerCreating")), 10, 30, id="stuck after 30 s"),
        pytest.param(pod(waiting("ContainerCreating")), 31, None, id="stuck already"),
        pytest.param(pod(waiting(""), scheduled_s=None, started_s=None), 31, None, id="no times"),
        pytest.param(pod(running(5)), -99999, 125, id="clock set back"),
    ],
)
def test_the_next_look_is_when_time_alone_changes_the_answer(told_pod: PodRuns, now_s: float, want_s: object) -> None:
    assert judged(told_pod, now_s).next_look_s == (None if want_s is None else T + want_s)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("told_pod", "want"),
    [
        pytest.param(pod(waiting("ContainerCreating")), True, id="not started within 30 s"),
        pytest.param(pod(waiting("ImagePullBackOff"), running(0, name="b")), True, id="waits for an image"),
        pytest.param(pod(waiting("ContainerCreating"), running(0, name="b")), False, id="one is on its way"),
        pytest.param(pod(running(1)), False, id="runs"),
        pytest.param(pod(running(31, run=1, last=end(0, 0, 30))), True, id="restarted 10 s after an exit 0"),
        pytest.param(pod(running(-60, run=1, last=end(0, -99, -61))), False, id="an exit 0 long ago"),
        pytest.param(pod(running(31, run=1, last=end(0, 0, 30)), to_completion=True), False, id="an exit 0 as meant"),
        pytest.param(pod(waiting(""), deleting_since_s=1), False, id="being deleted"),
        pytest.param(pod(ended(end(0, 0, 30)), phase="Succeeded"), False, id="done"),
    ],
)
def test_events_are_asked_for_where_the_status_does_not_tell(told_pod: PodRuns, want: bool) -> None:
    assert wants_events(told_pod, Rules(), T + 40) is want


def test_judging_again_gives_the_same() -> None:
    one = pod(running(5, run=3, last=CRASHED))
    assert judged(one, 200) == judged(replace(one), 200)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "60"])
def test_a_rule_that_is_no_time_is_named(value: object) -> None:
    with pytest.raises(InvalidSettings, match=r"mttf_s .* is not a finite number of 0 or more"):
        Rules(mttf_s=value)  # type: ignore[arg-type]
