"""What the runs of a pod are worth, from what the API records of it now.

A pure function, made to be asked again and again: what was counted already is dropped by the column. What a user or
the scheduler did to a pod is no outcome.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import shown
from kubesteer.model.runs import ContainerRuns, EventSeen, Outcome, PodRuns, RunEnd, Stage
from kubesteer.rewards.reasons import Reason
from kubesteer.rewards.starting import has_begun, is_pulling_in_vain, last_run, start_outcomes

_NUMBER = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_PROBE_KILL = re.compile(r"failed (liveness|startup) probe")
_BY_SIGNAL = frozenset({137, 143})
_LONGEST_REASON = 64
_LONGEST_NUMBER = 64


@dataclass(frozen=True, slots=True)
class Rules:
    """When a run counts, and as what. Raises InvalidSettings when a field is not a finite number of 0 or more.

    slow_from is 1 or more.
    """

    success_after_s: float = 120.0
    """A container that ran so long did well."""
    mttf_s: float = 600.0
    """A run that failed after more than this counts half."""
    stuck_after_s: float = 30.0
    """A pod that did not start within this is stuck, and its events are worth a look."""
    slack_s: float = 2.0
    """Times in the API are whole seconds; two differences of them differ by this without meaning anything."""
    slow_from: float = 2.0
    """A start-up or a duration is slow from so many times the usual on. Smaller differences are chance: with 1, half of
    all runs would count less than 1, and nodes with lucky ones would gather pods."""
    clock_skew_s: float = 10.0
    """By how much a node's clock may be behind the API server's, which tells when a deletion was asked for."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise InvalidSettings(f"{one.name} {shown(value)} is not a finite number of 0 or more")
        if self.slow_from < 1:
            raise InvalidSettings(f"slow_from {shown(self.slow_from)} is not 1 or more: times the usual")


@dataclass(frozen=True, slots=True)
class JudgingContext:
    """What is known beside the pod's own record; None is what is not known."""

    usual_startup_s: float | None = None
    """Of this type on other nodes, from scheduled to ready."""
    usual_duration_s: float | None = None
    """Of this type on other nodes."""
    startup_s: float | None = None
    """This pod's own, as it was noted first: Ready tells only of its last change. See Column.startup_of."""
    achieved: float | None = None
    """The part of the asked network rate that it gets where it offers so much traffic, 0..1; None where not."""
    measure: float | None = None
    """The application's own, 0..1, where it comes from elsewhere than the annotation."""
    events: tuple[EventSeen, ...] = ()
    pull_fails_elsewhere: bool = False
    """Whether other nodes cannot pull this type's image either."""


@dataclass(frozen=True, slots=True)
class UncountedRun:
    """A run that ended and is no outcome. It has to be known of, or it would be taken for one that was missed."""

    pod_type: str
    pod_uid: str
    container: str
    run: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What there is to learn of a pod now; Column.take learns it.

    outcomes, passed: the runs of a container in their order. startup_s, duration_s: this pod's own, for the medians.
    problems: bad input, a sentence each. next_look_s: unix time at which time alone changes the answer, for
    simulations, which jump from one such time to the next; an agent asks every few seconds.
    """

    outcomes: tuple[Outcome, ...] = ()
    passed: tuple[UncountedRun, ...] = ()
    startup_s: float | None = None
    duration_s: float | None = None
    problems: tuple[str, ...] = ()
    next_look_s: float | None = None


def judge(pod: PodRuns, rules: Rules, surroundings: JudgingContext, now_s: float) -> Judgement:
    """The outcomes of every run that the API still tells of. `now_s` is unix time."""
    annotated, problems = _annotated(pod)
    case = _Case(pod, rules, surroundings, now_s, _startup_s(pod, surroundings), _duration_s(pod), annotated)
    start = start_outcomes(
        pod,
        surroundings.events,
        now_s,
        pull_fails_elsewhere=surroundings.pull_fails_elsewhere,
        slack_s=rules.slack_s,
    )
    runs = [found for container in pod.containers for found in _runs(case, container)]
    return Judgement(
        outcomes=(*start, *(found for found in runs if isinstance(found, Outcome))),
        passed=tuple(found for found in runs if isinstance(found, UncountedRun)),
        startup_s=case.startup_s,
        duration_s=case.duration_s,
        problems=problems,
        next_look_s=_next_look_s(case),
    )


def wants_events(pod: PodRuns, rules: Rules, now_s: float) -> bool:
    """Whether the events of this pod may tell what its status does not: why it is stuck, or who ended a run."""
    if pod.deleting_since_s is not None or pod.phase in ("Succeeded", "Failed"):
        return False
    if any(is_pulling_in_vain(one) for one in pod.containers):
        return True
    if not any(has_begun(one) for one in pod.containers):
        stuck_s = _stuck_s(pod, rules)
        return stuck_s is not None and now_s >= stuck_s
    ends = [one.last or one.ended for one in pod.containers if not one.init]
    recent_s = now_s - 2 * rules.stuck_after_s
    well = [end for end in ends if end is not None and end.exit_code == 0 and not pod.to_completion]
    return any(end.finished_s is not None and end.finished_s >= recent_s for end in well)


def taken_on_s(pod: PodRuns) -> float | None:
    """Since when the pod is its node's."""
    return pod.started_s if pod.scheduled_s is None else pod.scheduled_s


@dataclass(frozen=True, slots=True)
class _Case:
    pod: PodRuns
    rules: Rules
    around: JudgingContext
    now_s: float
    startup_s: float | None
    duration_s: float | None
    annotated: float | None

    def outcome(self, container: ContainerRuns, run: int, value: float, reason: str, time_s: float) -> Outcome:
        pod = self.pod
        where, reason = f"{pod.namespace}/{pod.name}", reason[:_LONGEST_REASON]
        return Outcome(pod.pod_type, pod.uid, where, container.name, Stage.RUN, run, value, reason, time_s)

    def passed(self, container: ContainerRuns, run: int) -> UncountedRun:
        return UncountedRun(self.pod.pod_type, self.pod.uid, container.name, run, self.now_s)


def _runs(case: _Case, container: ContainerRuns) -> Iterator[Outcome | UncountedRun]:
    """The runs of a container that the API tells of, oldest first."""
    if container.last is not None:
        run = last_run(container)
        yield _end(case, container, run, container.last, is_final=False) or case.passed(container, run)
    if container.ended is not None:
        run = container.restarts
        yield _end(case, container, run, container.ended, is_final=True) or case.passed(container, run)
    elif container.running_since_s is not None:
        since_s = container.running_since_s
        success = _success(case, container, container.restarts, since_s, case.now_s, is_final=True)
        if success is not None:
            yield success
    elif container.last is None and container.waiting_reason == Reason.CRASH_LOOP:
        run = max(0, container.restarts - 1)
        yield case.outcome(container, run, 0.0, Reason.CRASH_LOOP, case.now_s)


def _end(case: _Case, container: ContainerRuns, run: int, end: RunEnd, *, is_final: bool) -> Outcome | None:
    """is_final: nothing of the container came after it so far."""
    pod = case.pod
    went_well = end.exit_code == 0 and end.reason != "OOMKilled"
    if container.init and went_well:
        return None
    if is_final and pod.status_reason == Reason.EVICTED:
        return _failure(case, container, run, end, Reason.EVICTED)
    if _was_ended_by_somebody(case, end, is_final=is_final):
        return _earned(case, container, run, end, is_final=is_final)
    if _was_killed_by_a_probe(case, container, end):
        return _failure(case, container, run, end, Reason.LIVENESS)
    if not went_well and pod.phase != "Succeeded":
        named = end.reason if end.reason not in ("", "Error") else f"Error (exit {end.exit_code})"
        return _failure(case, container, run, end, named)
    if went_well and pod.to_completion:
        time_s = case.now_s if end.finished_s is None else end.finished_s
        return _scaled(case, container, run, Reason.COMPLETED, time_s, is_final=is_final)
    # An end that says nothing: of what should run for ever, or of a sidecar after the pod has succeeded.
    return _earned(case, container, run, end, is_final=is_final)


def _failure(case: _Case, container: ContainerRuns, run: int, end: RunEnd, reason: str) -> Outcome:
    known = end.started_s is not None and end.finished_s is not None
    ran_s = end.finished_s - end.started_s if known else 0.0  # type: ignore[operator]
    time_s = case.now_s if end.finished_s is None else end.finished_s
    return case.outcome(container, run, 0.5 if ran_s > case.rules.mttf_s else 0.0, reason, time_s)


def _earned(case: _Case, container: ContainerRuns, run: int, end: RunEnd, *, is_final: bool) -> Outcome | None:
    """The success that the run had reached before it was ended."""
    if end.started_s is None or end.finished_s is None:
        return None
    return _success(case, container, run, end.started_s, end.finished_s, is_final=is_final)


def _success(
    case: _Case, container: ContainerRuns, run: int, started_s: float, until_s: float, *, is_final: bool
) -> Outcome | None:
    deleting_s = math.inf if case.pod.deleting_since_s is None else case.pod.deleting_since_s
    reached_s = started_s + case.rules.success_after_s
    if container.init or reached_s > min(until_s, deleting_s):
        return None
    return _scaled(case, container, run, Reason.RAN, reached_s, is_final=is_final)


def _scaled(case: _Case, container: ContainerRuns, run: int, good: Reason, time_s: float, *, is_final: bool) -> Outcome:
    """A success, as far as it was one: the smallest of what is known of the run, and its name."""
    around, terms = case.around, []
    is_running = is_final and container.running_since_s is not None
    if run == 0:
        terms.append((_share(around.usual_startup_s, _starting_for_s(case, is_running), case.rules), Reason.SLOW_START))
    if good is Reason.COMPLETED:
        terms.append((_share(around.usual_duration_s, case.duration_s, case.rules), Reason.SLOW_RUN))
    if is_final:
        own = [value for value in (case.annotated, around.measure) if value is not None]
        terms += [(around.achieved, Reason.NETWORK), (min(own, default=None), Reason.MEASURE)]
    known = [(min(max(value, 0.0), 1.0), reason) for value, reason in terms if value is not None]
    value, reason = min(known, key=lambda term: term[0], default=(1.0, good))
    if is_running and reason in (Reason.NETWORK, Reason.MEASURE):
        time_s = case.now_s
    return case.outcome(container, run, round(value, 2), reason, time_s)


def _share(usual_s: float | None, this_s: float | None, rules: Rules) -> float | None:
    """What still passes for usual by what this took; None where one is not known or this is no slower than that."""
    if usual_s is None or this_s is None:
        return None
    # The API's times are whole seconds: what is usual may be 0.
    passes_s = max(usual_s * rules.slow_from, usual_s + rules.slack_s)
    return passes_s / this_s if this_s > passes_s else None


def _starting_for_s(case: _Case, is_running: bool) -> float | None:
    """The start-up, or how long it has lasted so far where the pod never was ready."""
    began_s = taken_on_s(case.pod)
    if case.startup_s is None and is_running and began_s is not None and case.pod.ready_s is None:
        return case.now_s - began_s
    return case.startup_s


def _was_ended_by_somebody(case: _Case, end: RunEnd, *, is_final: bool) -> bool:
    """Deleted, drained, preempted, shut down with the node, past its deadline, or not admitted at all."""
    pod, rules = case.pod, case.rules
    if not is_final:
        return False
    if pod.deleting_since_s is not None:
        is_signal = end.exit_code in _BY_SIGNAL and end.reason != "OOMKilled"
        from_s = pod.deleting_since_s - (rules.clock_skew_s if is_signal else 0.0)
        if end.finished_s is None or end.finished_s >= from_s:
            return True
    by_kubelet = pod.disruption == "TerminationByKubelet"
    return pod.status_reason != "" or by_kubelet or (pod.disruption != "" and pod.deleting_since_s is None)


def _was_killed_by_a_probe(case: _Case, container: ContainerRuns, end: RunEnd) -> bool:
    slack_s = case.rules.slack_s
    from_s = -math.inf if end.started_s is None else end.started_s - slack_s
    to_s = math.inf if end.finished_s is None else end.finished_s + slack_s
    return any(
        event.reason == "Killing"
        and from_s <= event.time_s <= to_s
        and event.message.startswith(f"Container {container.name} ")
        and _PROBE_KILL.search(event.message)
        for event in case.around.events
    )


def _annotated(pod: PodRuns) -> tuple[float | None, tuple[str, ...]]:
    if pod.measure is None:
        return None, ()
    text = pod.measure.strip()
    value = float(text) if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) else math.nan
    if 0 <= value <= 1:
        return value, ()
    where = f"pod {shown(f'{pod.namespace}/{pod.name}')}: annotation kubesteer.io/reward"
    rule = f"is not a number from 0 to 1 in {_LONGEST_NUMBER} characters or fewer; write one such as 0.8"
    return None, (f"{where} {shown(pod.measure)} {rule}",)


def _startup_s(pod: PodRuns, around: JudgingContext) -> float | None:
    began_s = taken_on_s(pod)
    is_first = all(one.restarts == 0 and one.last is None for one in pod.containers if not one.init)
    if around.startup_s is not None or pod.ready_s is None or began_s is None or not is_first:
        return around.startup_s
    return max(0.0, pod.ready_s - began_s)


def _duration_s(pod: PodRuns) -> float | None:
    """The longest last run of a pod that did its work."""
    if not pod.to_completion or pod.phase != "Succeeded":
        return None
    ends = [one.ended for one in pod.containers if not one.init and one.ended is not None]
    ran = [end.finished_s - end.started_s for end in ends if end.started_s is not None and end.finished_s is not None]
    return max(0.0, *ran) if ran else None


def _stuck_s(pod: PodRuns, rules: Rules) -> float | None:
    began_s = taken_on_s(pod)
    return None if began_s is None else began_s + rules.stuck_after_s


def _next_look_s(case: _Case) -> float | None:
    pod, rules, now_s = case.pod, case.rules, case.now_s
    if pod.deleting_since_s is not None:
        return None
    running = [one for one in pod.containers if one.running_since_s is not None and not one.init]
    looks: list[float | None] = [
        one.running_since_s + rules.success_after_s for one in running if one.running_since_s is not None
    ]
    if not any(has_begun(one) for one in pod.containers):
        looks.append(_stuck_s(pod, rules))
    starting_s = _starting_for_s(case, is_running=bool(running))
    if case.startup_s is None and starting_s is not None and case.around.usual_startup_s is not None:
        looks.append(now_s + max(starting_s, rules.success_after_s))
    return min((look_s for look_s in looks if look_s is not None and look_s > now_s), default=None)
