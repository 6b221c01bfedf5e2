"""Runs found before the store was read for the first time, one by one, so that what the store counts already is told.

Bounded: once full it takes no more. Runs that the store may hold come first after a start, so later ones are new.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubesteer.model.runs import Outcome, Stage
from kubesteer.rewards.entry import Entry, NewestRun, is_news, stage_key
from kubesteer.rewards.judging import UncountedRun

MOST_RUNS = 4096
"""Many times the runs that the API tells of the pods of one node."""


class EarlyRuns:
    """Runs in the order in which they were found.

    Iterating gives each once, as it was told last, with the time since when its pod is the node's.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], tuple[Outcome | UncountedRun, float | None]] = {}
        self._newest: dict[tuple[str, str], NewestRun] = {}

    def __iter__(self) -> Iterator[tuple[Outcome | UncountedRun, float | None]]:
        return iter(self._found.values())

    def has_room(self, run: Outcome | UncountedRun) -> bool:
        """Whether it can be kept here."""
        return len(self._found) < MOST_RUNS or _identity(run) in self._found

    def learn(self, outcome: Outcome, began_s: float | None) -> bool:
        """Keeps the outcome; False when it tells nothing new."""
        newest = self._newest.get(_identity(outcome)[:2])
        if newest is not None and not is_news(newest, outcome):
            return False
        self._keep(outcome, outcome.value, began_s)
        return True

    def skip(self, passed: UncountedRun) -> bool:
        """Keeps the run that is no outcome; False when it, or a later one, is known."""
        newest = self._newest.get(_identity(passed)[:2])
        if newest is not None and passed.run <= newest.run:
            return False
        self._keep(passed, None, None)
        return True

    def hand_over(self, outcome: Outcome, entry: Entry) -> None:
        """Tells an entry up to which run the container is kept here."""
        newest = self._newest.get(_identity(outcome)[:2])
        if newest is not None and outcome.stage is Stage.RUN:
            entry.skip(outcome.pod_uid, outcome.container, newest.run, newest.time_s)

    def _keep(self, run: Outcome | UncountedRun, value: float | None, began_s: float | None) -> None:
        uid, key, number = _identity(run)
        self._found[uid, key, number] = run, began_s
        self._newest[uid, key] = NewestRun(number, value, run.time_s)


def _identity(run: Outcome | UncountedRun) -> tuple[str, str, int]:
    stage = run.stage if isinstance(run, Outcome) else Stage.RUN
    return run.pod_uid, stage_key(run.container, stage), run.run
