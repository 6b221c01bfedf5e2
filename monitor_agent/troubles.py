"""The Events of pods that may need them: asked for pod by pod, ever more seldom, and kept while the pod is here.

Events have no index by node and are not in the API server's cache, so nobody watches them from every node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.runs import EventSeen, PodRuns
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics
from monitor_agent.pods import PodBook

Wants = Callable[[PodRuns, float], bool]
"""Whether the events of a pod may tell more than its status, at a unix time."""
_MOST_DOUBLINGS = 5
"""Of the wait between two questions about one pod: a pod may be stuck for months."""


class EventsOfPods(Protocol):
    """Where Events are read."""

    async def of(self, pod: PodRuns) -> list[EventSeen]:
        """Those about this pod. Raises ClusterUnavailable."""


class Troubles:
    """Events by pod."""

    def __init__(
        self,
        book: PodBook,
        wants: Wants,
        source: EventsOfPods,
        on_news: Callable[[PodRuns], None],
        *,
        every_s: float,
        at_once: int,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        log: Log,
        metrics: Metrics,
    ) -> None:
        """on_news is told of each pod of which new events are known.

        every_s: between the first two questions about one pod; each further wait is twice as long, to 32 times.
        """
        self._book = book
        self._wants = wants
        self._source = source
        self._on_news = on_news
        self._every_s = every_s
        self._at_once = at_once
        self._clock = clock
        self._unix_clock = unix_clock
        self._log = log
        self._metrics = metrics
        self._events: dict[str, tuple[EventSeen, ...]] = {}
        self._asked_s: dict[str, float] = {}
        self._asked_in_a_row: dict[str, int] = {}

    def of(self, uid: str) -> tuple[EventSeen, ...]:
        """What is known of a pod."""
        return self._events.get(uid, ())

    async def step(self) -> None:
        """Asks about the pods that are due, those asked the longest ago first, and forgets pods that are gone."""
        here = self._book.runs
        for gone in (self._events.keys() | self._asked_s.keys()) - here.keys():
            self._events.pop(gone, None)
            self._asked_s.pop(gone, None)
        now_s, unix_s = self._clock(), self._unix_clock()
        wanting = {uid: pod for uid, pod in here.items() if self._wants(pod, unix_s)}
        for well in self._asked_in_a_row.keys() - wanting.keys():
            del self._asked_in_a_row[well]
        due = [
            pod for uid, pod in wanting.items() if now_s - self._asked_s.get(uid, float("-inf")) >= self._wait_s(uid)
        ]
        due.sort(key=lambda pod: self._asked_s.get(pod.uid, float("-inf")))
        for pod in due[: self._at_once]:
            self._asked_s[pod.uid] = now_s
            self._asked_in_a_row[pod.uid] = self._asked_in_a_row.get(pod.uid, 0) + 1
            self._metrics.event_lists.inc()
            try:
                events = tuple(await self._source.of(pod))
            except ClusterUnavailable as exc:
                self._log.debug("no events", pod=f"{pod.namespace}/{pod.name}", why=str(exc))
                continue
            # Who is gone by now must not be judged again: which of its runs were counted is forgotten.
            current = here.get(pod.uid)
            if current is not None and events != self.of(pod.uid):
                self._events[pod.uid] = events
                self._on_news(current)

    def _wait_s(self, uid: str) -> float:
        return float(self._every_s * 2 ** min(max(self._asked_in_a_row.get(uid, 0) - 1, 0), _MOST_DOUBLINGS))
