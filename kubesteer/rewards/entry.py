"""What one node's agent knows of one pod type: the estimate, which runs it counts already, and the newest of them.

Everything in it is bounded, however many pods come and go. How it is written down is in entry_records.py.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import format_time, parse_time
from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.learners import CountedOutcome, Estimate, Learner, NewOutcome, in_range
from kubesteer.rewards.reasons import MEASURED, UNSCALED, WENT_WELL

MOST_SAMPLES = 16
"""Start-ups and durations that are kept for the medians."""
MOST_PODS = 1000
"""Pods whose counted runs are kept: more than a node can run at once."""
_ROUNDED_S = 0.001
"""By how much a time that was written down may be ahead of what it was made from."""
STARTUP, DURATION = "startup_s", "duration_s"


class NewestRun(NamedTuple):
    """The newest run of a container that was counted; value None: it ended, and is no outcome."""

    run: int
    value: float | None
    time_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: outcomes, bad outcomes, and how many missed runs one outcome may stand for."""

    recent: int = 10
    bad: int = 5
    missed: int = 100


@dataclass(slots=True)
class Entry:
    """One pod type on the node.

    seen: by pod uid and "<container>/<stage>". noted: by pod uid, which samples it gave already. samples: by name.
    folded: how many types were folded into this one. unknown: fields of the record that this version does not know.
    """

    estimate: Estimate | None = None
    count: int = 0
    seen: dict[str, dict[str, NewestRun]] = field(default_factory=dict)
    noted: dict[str, dict[str, float]] = field(default_factory=dict)
    recent: list[dict[str, Any]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=lambda: {STARTUP: [], DURATION: []})
    folded: int = 0
    unknown: dict[str, Any] = field(default_factory=dict)

    def learn(
        self, learner: Learner, outcome: Outcome, now_s: float, limits: Limits, began_s: float | None = None
    ) -> bool:
        """Counts the outcome; False when it, or a later run of its container, was counted already.

        began_s: since when the pod is its node's, None where that is not known.
        """
        key = stage_key(outcome.container, outcome.stage)
        seen = self.seen.get(outcome.pod_uid, {}).get(key)
        if seen is not None and not is_news(seen, outcome, fresh_s=learner.half_life_s / 2):
            return False
        replaced = None
        if seen is not None and seen.run == outcome.run and seen.value is not None:
            replaced = CountedOutcome(seen.value, seen.time_s)
        time_s = round(in_range(min(outcome.time_s, now_s)), 3)
        runs = 1 + min(_missed(learner, outcome, seen, time_s, began_s), limits.missed)
        estimate = learner.learn(self.estimate, NewOutcome(outcome.value, time_s, replaced, runs), now_s)
        if estimate is None:
            return False
        self.estimate = estimate
        self.count += 0 if replaced else runs
        self._remember(outcome.pod_uid, key, NewestRun(outcome.run, outcome.value, time_s))
        self._show(outcome, time_s, replaced, now_s, limits)
        return True

    def set_right(self, now_s: float) -> bool:
        """Dates what is ahead of now as of now, since it would not fade; False when nothing was."""
        now_s = in_range(now_s)
        if self.estimate is None or self.estimate.time_s <= now_s:
            return False
        self.estimate = self.estimate._replace(time_s=now_s)
        for uid, key, seen in list(self.each_seen()):
            self.seen[uid][key] = seen._replace(time_s=min(seen.time_s, now_s))
        return True

    def skip(self, pod_uid: str, container: str, run: int, time_s: float) -> bool:
        """Takes note that the run ended and is no outcome; False when it, or a later one, is known."""
        key = stage_key(container, Stage.RUN)
        seen = self.seen.get(pod_uid, {}).get(key)
        if seen is not None and run <= seen.run:
            return False
        self._remember(pod_uid, key, NewestRun(run, None, in_range(time_s)))
        return True

    def note(self, pod_uid: str, name: str, seconds: float) -> bool:
        """Keeps a sample; False when the pod gave it before."""
        noted = self.noted.setdefault(pod_uid, {})
        keep_newest(self.noted, MOST_PODS)
        if name in noted:
            return False
        noted[name] = seconds
        self.samples[name] = [*self.samples[name], seconds][-MOST_SAMPLES:]
        return True

    def forget_pods_but(self, live: Container[str]) -> None:
        """Forgets what was counted of pods that no longer exist, and so can be told of no more."""
        for by_pod in (self.seen, self.noted):
            for uid in [uid for uid in by_pod if uid not in live]:
                del by_pod[uid]

    def absorb(self, other: Entry, learner: Learner, now_s: float, limits: Limits) -> None:
        """Takes over the evidence of another entry, which counted none of the runs that this one did.

        Its samples stay behind: they are of another type, or were noted here before.
        """
        if other.estimate is not None:
            own = self.estimate
            self.estimate = other.estimate if own is None else learner.merge(own, other.estimate, now_s)
        self.count += other.count
        self.folded += other.folded
        for uid, samples in other.noted.items():
            self.noted.setdefault(uid, {}).update(samples)
        keep_newest(self.noted, MOST_PODS)
        for uid, key, seen in other.each_seen():
            known = self.seen.get(uid, {}).get(key)
            if known is None or known.run < seen.run:
                self._remember(uid, key, seen)
        self.recent = _newest(self.recent + other.recent, now_s, limits.recent)
        self.bad = _newest(self.bad + other.bad, now_s, limits.bad)

    def each_seen(self) -> Iterator[tuple[str, str, NewestRun]]:
        """Pod uid, "<container>/<stage>" and the newest run counted of it."""
        for uid, stages in self.seen.items():
            for key, seen in stages.items():
                yield uid, key, seen

    def pods(self) -> set[str]:
        """The uids of the pods that it knows."""
        return {*self.seen, *self.noted}

    def _remember(self, pod_uid: str, key: str, seen: NewestRun) -> None:
        self.seen.setdefault(pod_uid, {})[key] = seen
        keep_newest(self.seen, MOST_PODS)

    def _show(
        self, outcome: Outcome, time_s: float, replaced: CountedOutcome | None, now_s: float, limits: Limits
    ) -> None:
        shown = {
            "time": format_time(time_s),
            "pod": outcome.pod,
            "container": outcome.container,
            "stage": outcome.stage.value,
            "run": outcome.run,
            "value": outcome.value,
            "reason": outcome.reason,
        }
        if replaced is not None:
            its = {**shown, "time": format_time(replaced.time_s)}
            self.recent = [each for each in self.recent if not _same_run(each, its)]
            self.bad = [each for each in self.bad if not _same_run(each, its)]
        self.recent = _newest([*self.recent, shown], now_s, limits.recent)
        if outcome.value < 0.5:
            self.bad = _newest([*self.bad, shown], now_s, limits.bad)


def stage_key(container: str, stage: Stage) -> str:
    """How `seen` names a stage of a container."""
    return f"{container}/{stage.value}"


def is_news(seen: NewestRun, outcome: Outcome, *, fresh_s: float = math.inf) -> bool:
    """Whether the outcome tells more than what was counted of its container.

    Not when it tells of success after the end of that run was seen: it comes from a list older than what was seen.
    What is measured again and again is news even when it is as it was, `fresh_s` after it was counted: it would fade.
    """
    if outcome.run != seen.run:
        return outcome.run > seen.run
    if seen.value is None:
        return outcome.reason not in WENT_WELL
    if outcome.reason in MEASURED and outcome.time_s > seen.time_s + fresh_s:
        return True
    return outcome.value != seen.value and outcome.reason not in UNSCALED


def _missed(learner: Learner, outcome: Outcome, seen: NewestRun | None, time_s: float, began_s: float | None) -> int:
    """Runs before this one that no agent saw.

    When those of a container that is new here ended is not known: as many count as fall into the last half-life, had
    they come evenly since the pod began.
    """
    if not learner.counts_missed or outcome.stage is not Stage.RUN or outcome.reason in WENT_WELL:
        return 0
    if seen is not None:
        return max(0, outcome.run - seen.run - 1)
    age_s = 0.0 if began_s is None else time_s - began_s
    return outcome.run if age_s <= learner.half_life_s else int(outcome.run * learner.half_life_s / age_s)


def _same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(name) == other[name] for name in ("time", "pod", "container", "stage", "run"))


def _newest(outcomes: list[dict[str, Any]], now_s: float, most: int) -> list[dict[str, Any]]:
    """In the order of time. Those dated ahead of now, or not at all, are dropped first."""

    def when_s(outcome: dict[str, Any]) -> float:
        try:
            time_s = parse_time(outcome.get("time"))
        except InvalidRecord:
            return 0.0
        return time_s if time_s <= now_s + _ROUNDED_S else 0.0

    return sorted(outcomes, key=when_s)[-most:]


def keep_newest(by_pod: dict[str, Any], most: int) -> None:
    """Drops what was put in first, down to `most`."""
    while len(by_pod) > most:
        del by_pod[next(iter(by_pod))]
