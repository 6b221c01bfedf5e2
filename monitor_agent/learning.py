"""From pods to the column: every pod is judged when it changes, when something else is known of it, and now and then.

What counts is decided in kubesteer.rewards; asking too often does no harm, since the column drops what it counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kubesteer.model.runs import Outcome, PodRuns
from kubesteer.rewards.column import Column
from kubesteer.rewards.judging import Judgement, JudgingContext, Rules
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics

_BAD_BELOW = 0.5


class Judge(Protocol):
    """A rule from a pod's history to outcomes."""

    def __call__(self, pod: PodRuns, rules: Rules, surroundings: JudgingContext, now_s: float, /) -> Judgement:
        """See kubesteer.rewards.judging.judge."""


class Learning:
    """Judges pods and hands what was learned to the column."""

    def __init__(
        self,
        column: Column,
        judge: Judge,
        rules: Rules,
        surroundings: Callable[[PodRuns], JudgingContext],
        on_problem: Callable[[PodRuns, str], None],
        *,
        unix_clock: Callable[[], float],
        log: Log,
        metrics: Metrics,
    ) -> None:
        """on_problem is told of bad input of a pod, as often as it is judged."""
        self._column = column
        self._judge = judge
        self._rules = rules
        self._surroundings = surroundings
        self._on_problem = on_problem
        self._unix_clock = unix_clock
        self._log = log
        self._metrics = metrics

    def see(self, pod: PodRuns) -> None:
        """Learns what there is to learn of a pod now."""
        now_s = self._unix_clock()
        judgement = self._judge(pod, self._rules, self._surroundings(pod), now_s)
        for outcome in self._column.take(pod, judgement, now_s):
            self._tell(outcome)
        for problem in judgement.problems:
            self._on_problem(pod, problem)

    def step(self, here: dict[str, PodRuns]) -> None:
        """Judges all pods of the node, and lets the column forget the others."""
        for pod in list(here.values()):
            self.see(pod)
        self._column.prune(here.keys())

    def _tell(self, outcome: Outcome) -> None:
        is_bad = outcome.value < _BAD_BELOW
        self._metrics.outcomes.inc()
        self._metrics.failures.inc(is_bad)
        (self._log.info if is_bad else self._log.debug)(
            "outcome",
            pod_type=outcome.pod_type,
            pod=outcome.pod,
            container=outcome.container,
            stage=outcome.stage.value,
            run=outcome.run,
            value=outcome.value,
            reason=outcome.reason,
        )
