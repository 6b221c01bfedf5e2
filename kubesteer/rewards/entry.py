"""What one node's agent knows of one pod type: the standing, which runs it counts already, and the newest of them.

Everything in it is bounded, however many pods come and go. How it is written down is in entry_records.py.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kubesteer.model.reward import format_time
from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.learners import Counted, Learner, Standing, in_range
from kubesteer.rewards.reasons import UNSCALED, WENT_WELL

MOST_SAMPLES = 16
"""Start-ups and durations that are kept for the medians."""
MOST_PODS = 1000
"""Pods whose counted runs are kept: more than a node can run at once."""
STARTUP, DURATION = "startup_s", "duration_s"


class Seen(NamedTuple):
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

    standing: Standing | None = None
    count: int = 0
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    noted: dict[str, dict[str, float]] = field(default_factory=dict)
    recent: list[dict[str, Any]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=lambda: {STARTUP: [], DURATION: []})
    folded: int = 0
    unknown: dict[str, Any] = field(default_factory=dict)

    def learn(self, learner: Learner, outcome: Outcome, now_s: float, limits: Limits) -> bool:
        """Counts the outcome; False when it, or a later run of its container, was counted already."""
        key = stage_key(outcome.container, outcome.stage)
        seen = self.seen.get(outcome.pod_uid, {}).get(key)
        if seen is not None and not is_news(seen, outcome):
            return False
        replaced = None
        if seen is not None and seen.run == outcome.run and seen.value is not None:
            replaced = Counted(seen.value, seen.time_s)
        missed = 0
        if learner.counts_missed and outcome.stage is Stage.RUN and outcome.reason not in WENT_WELL:
            missed = max(0, outcome.run - (0 if seen is None else seen.run + 1))
        runs = 1 + min(missed, limits.missed)
        time_s = round(in_range(min(outcome.time_s, now_s)), 3)
        standing = learner.learn(self.standing, outcome.value, time_s, now_s, replaces=replaced, runs=runs)
        if standing is None:
            return False
        self.standing = standing
        self.count += 0 if replaced else runs
        self._remember(outcome.pod_uid, key, Seen(outcome.run, outcome.value, time_s))
        self._show(outcome, time_s, replaced, limits)
        return True

    def skip(self, pod_uid: str, container: str, run: int, time_s: float) -> bool:
        """Takes note that the run ended and is no outcome; False when it, or a later one, is known."""
        key = stage_key(container, Stage.RUN)
        seen = self.seen.get(pod_uid, {}).get(key)
        if seen is not None and run <= seen.run:
            return False
        self._remember(pod_uid, key, Seen(run, None, in_range(time_s)))
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
        if other.standing is not None:
            own = self.standing
            self.standing = other.standing if own is None else learner.merge(own, other.standing, now_s)
        self.count += other.count
        self.folded += other.folded
        for uid, samples in other.noted.items():
            self.noted.setdefault(uid, {}).update(samples)
        keep_newest(self.noted, MOST_PODS)
        for uid, key, seen in other.each_seen():
            known = self.seen.get(uid, {}).get(key)
            if known is None or known.run < seen.run:
                self._remember(uid, key, seen)
        self.recent = _newest(self.recent + other.recent, limits.recent)
        self.bad = _newest(self.bad + other.bad, limits.bad)

    def each_seen(self) -> Iterator[tuple[str, str, Seen]]:
        """Pod uid, "<container>/<stage>" and the newest run counted of it."""
        for uid, stages in self.seen.items():
            for key, seen in stages.items():
                yield uid, key, seen

    def pods(self) -> set[str]:
        """The uids of the pods that it knows."""
        return {*self.seen, *self.noted}

    def _remember(self, pod_uid: str, key: str, seen: Seen) -> None:
        self.seen.setdefault(pod_uid, {})[key] = seen
        keep_newest(self.seen, MOST_PODS)

    def _show(self, outcome: Outcome, time_s: float, replaced: Counted | None, limits: Limits) -> None:
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
        self.recent = [*self.recent, shown][-limits.recent :]
        if outcome.value < 0.5:
            self.bad = [*self.bad, shown][-limits.bad :]


def stage_key(container: str, stage: Stage) -> str:
    """How `seen` names a stage of a container."""
    return f"{container}/{stage.value}"


def is_news(seen: Seen, outcome: Outcome) -> bool:
    """Whether the outcome tells more than what was counted of its container.

    Not when it tells of success after the end of that run was seen: it comes from a list older than what was seen.
    """
    if outcome.run != seen.run:
        return outcome.run > seen.run
    if seen.value is None:
        return outcome.reason not in WENT_WELL
    return outcome.value != seen.value and outcome.reason not in UNSCALED


def _same_run(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(name) == other[name] for name in ("time", "pod", "container", "stage", "run"))


def _newest(outcomes: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    return sorted(outcomes, key=lambda each: str(each.get("time")))[-most:]


def keep_newest(by_pod: dict[str, Any], most: int) -> None:
    """Drops what was put in first, down to `most`."""
    while len(by_pod) > most:
        del by_pod[next(iter(by_pod))]
