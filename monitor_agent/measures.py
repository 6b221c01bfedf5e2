"""The applications' own measures by Prometheus, asked in an interval and kept by pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from kubesteer.clients.prometheus.measures import Measure, MeasuredPod
from kubesteer.model.errors import MetricsUnavailable
from kubesteer.model.runs import PodRuns
from monitor_agent.logs import Log
from monitor_agent.pod_values import PodValues
from monitor_agent.pods import PodBook

_RUNNING = "Running"


class MeasureSource(Protocol):
    """Where measures are read."""

    async def of(self, pods: Iterable[MeasuredPod]) -> Mapping[MeasuredPod, Measure]:
        """Those of these pods; pods of types without a query are left out. Raises MetricsUnavailable."""


class MeasuredPods:
    """Fills `values`; where Prometheus does not answer, they stay as they are."""

    def __init__(
        self,
        book: PodBook,
        source: MeasureSource,
        values: PodValues,
        on_problem: Callable[[PodRuns, str], None],
        *,
        settled_s: float,
        unix_clock: Callable[[], float],
        log: Log,
    ) -> None:
        """on_problem is told of each pod whose value cannot be used, once one of its containers has run `settled_s`.

        Before that its value does not count, and Prometheus may not have come by yet.
        """
        self._book = book
        self._source = source
        self._values = values
        self._on_problem = on_problem
        self._settled_s = settled_s
        self._unix_clock = unix_clock
        self._log = log
        self.fault: str | None = None

    async def step(self) -> None:
        """Asks once, about the pods that run."""
        pods = {
            MeasuredPod(pod.namespace, pod.name, pod.pod_type): pod
            for pod in self._book.runs.values()
            if pod.phase == _RUNNING and pod.deleting_since_s is None
        }
        try:
            measures = await self._source.of(pods)
        except MetricsUnavailable as exc:
            if self.fault is None:
                self._log.warning("no measures", why=str(exc))
            self.fault = str(exc)
            return
        self.fault = None
        found = []
        for measured, measure in measures.items():
            pod = self._book.runs.get(pods[measured].uid)
            if pod is None:
                continue  # It has gone meanwhile, and must not be judged again.
            if measure.value is not None:
                found.append((pod, measure.value))
            elif self._is_settled(pod):
                self._on_problem(pod, measure.problem)
        self._values.replace(found)

    def _is_settled(self, pod: PodRuns) -> bool:
        since_s = [one.running_since_s for one in pod.containers if one.running_since_s is not None and not one.init]
        return bool(since_s) and min(since_s) + self._settled_s < self._unix_clock()
