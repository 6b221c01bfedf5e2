"""Builders of pods and how their containers ran, and of outcomes. Times count from T, the second they were scheduled.

Nothing is asserted here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kubesteer.model.runs import ContainerRuns, EventSeen, Outcome, PodRuns, RunEnd, Stage
from kubesteer.rewards.judging import Judgement, JudgingContext, Rules, judge

T = 1_700_000_000.0
RULES = Rules()
HALF_LIFE_S = 3600.0


def pod(*containers: ContainerRuns, uid: str = "u1", pod_type: str = "web", **parts: Any) -> PodRuns:
    """A pod that was scheduled at T; times in `parts` are seconds after T."""
    since_t = {name: None if value is None else T + value for name, value in parts.items() if name.endswith("_s")}
    rest = {name: value for name, value in parts.items() if not name.endswith("_s")}
    defaults = {"phase": "Running", "scheduled_s": T, "started_s": T, "ready_s": None}
    return PodRuns(uid, "default", f"{pod_type}-1", pod_type, containers, **{**defaults, **rest, **since_t})


def end(code: int, began_s: float | None, ended_s: float | None, reason: str = "") -> RunEnd:
    """The end of a run; times are seconds after T. A failure without a reason has the kubelet's, Error."""
    named = reason or ("Error" if code else "Completed")
    return RunEnd(code, named, None if began_s is None else T + began_s, None if ended_s is None else T + ended_s)


def running(since_s: float, *, run: int = 0, last: RunEnd | None = None, name: str = "main") -> ContainerRuns:
    """A container that runs since so long after T."""
    return ContainerRuns(name, restarts=run, running_since_s=T + since_s, last=last)


def ended(how: RunEnd, *, run: int = 0, last: RunEnd | None = None, name: str = "main") -> ContainerRuns:
    """A container whose present run has ended."""
    return ContainerRuns(name, restarts=run, ended=how, last=last)


def waiting(
    reason: str, message: str = "", *, run: int = 0, last: RunEnd | None = None, name: str = "main"
) -> ContainerRuns:
    """A container that does not run; `run` is the kubelet's restartCount."""
    return ContainerRuns(name, restarts=run, last=last, waiting_reason=reason, waiting_message=message)


def init(container: ContainerRuns) -> ContainerRuns:
    """The container as an init container."""
    return replace(container, init=True)


def event(reason: str, message: str = "", at_s: float = 5) -> EventSeen:
    """An Event so long after T."""
    return EventSeen(reason, message, T + at_s)


def judged(told: PodRuns, now_s: float, rules: Rules = RULES, **surroundings: Any) -> Judgement:
    """The pod judged so long after T."""
    return judge(told, rules, JudgingContext(**surroundings), T + now_s)


def told(judgement: Judgement) -> list[tuple[str, str, int, float, str]]:
    """Container, stage, run, value and reason of each outcome."""
    return [(one.container, one.stage.value, one.run, one.value, one.reason) for one in judgement.outcomes]


def outcome(
    value: float,
    *,
    run: int = 0,
    reason: str | None = None,
    at_s: float = 0,
    uid: str = "u1",
    pod_type: str = "web",
    container: str = "main",
    stage: Stage = Stage.RUN,
) -> Outcome:
    """An outcome so long after T; of value 1 it ran, below it failed."""
    named = reason or ("Ran" if value == 1 else "Error (exit 1)")
    return Outcome(pod_type, uid, f"default/{uid}", container, stage, run, value, named, T + at_s)
