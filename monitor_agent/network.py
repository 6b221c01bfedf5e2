"""The node's link in the loop: read, told to the store as the node's state, published on the node object.

What to publish is capacity.py's decision; what is read comes from the probes. Only I/O and its failures are here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from kubesteer.clients.kubernetes.backoff import Sleep
from kubesteer.clients.kubernetes.own_node import OwnNode, whole_amounts
from kubesteer.model.errors import ClusterUnavailable, StoreUnavailable
from kubesteer.model.node_state import NodeState
from monitor_agent.capacity import (
    CONDITION,
    TAINT_KEY,
    CapacityRules,
    Mark,
    NodeCondition,
    NodeEvent,
    PlanState,
    PodDemand,
    Publication,
    PublishedCapacity,
    plan,
    why_told,
)
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics
from monitor_agent.node import NodeBook
from monitor_agent.probes.links import LinkReading

PutState = Callable[[NodeState], Awaitable[None]]
"""Stores the node's state. Raises StoreUnavailable, ColumnClaimed."""
_MOST_EVENTS = 20
"""Kept while the API server does not take them; the oldest go first."""
_MOST_ROUNDS_OFF = 15
"""Readings without an attempt, once the API server has refused several in a row."""


class Link(Protocol):
    """The link that carries the node's traffic, and that traffic."""

    def read(self, now_s: float) -> tuple[LinkReading, Mapping[str, float]]:
        """How it is now, and bit/s by direction. now_s: a monotonic clock's."""


class NodeEvents(Protocol):
    """Writes Events on the node."""

    async def write(self, event: NodeEvent, uid: str) -> None:
        """Puts an Event on the node of this uid. Raises ClusterUnavailable."""


@dataclass(frozen=True, slots=True)
class NetworkPace:
    """read_s: between two readings. write_s, write_change: when the state is written again."""

    read_s: float
    write_s: float
    write_change: float
    publish: bool


class NetworkLoop:
    """Reads, decides, writes; what could not be written is decided anew at a later reading."""

    def __init__(
        self,
        link: Link,
        book: NodeBook,
        promised: Callable[[], PodDemand],
        put_state: PutState,
        node: OwnNode,
        events: NodeEvents,
        *,
        rules: CapacityRules,
        pace: NetworkPace,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        sleep: Sleep,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._link = link
        self._book = book
        self._promised = promised
        self._put_state = put_state
        self._node = node
        self._events = events
        self._rules = rules
        self._pace = pace
        self._clock = clock
        self._unix_clock = unix_clock
        self._sleep = sleep
        self._log = log
        self._metrics = metrics
        self._memory = PlanState()
        self._state: NodeState | None = None
        self._written: NodeState | None = None
        self._has_news = asyncio.Event()
        self._refusals = self._rounds_off = 0
        self._untold: deque[NodeEvent] = deque(maxlen=_MOST_EVENTS)
        self._marks: tuple[str, NodeCondition | None, bool | None] = ("", None, None)
        self._reading: LinkReading | None = None
        self._is_measured = True
        self._rate_bps: Mapping[str, float] = {}
        self.limit_bps: Mapping[str, int] = {}
        self.degraded = ""
        self.fault: str | None = None

    async def run(self, pods_are_known: Callable[[], bool]) -> None:
        """Works until it is cancelled.

        Until the pods are known, nothing is: what is published must not fall below what they were promised.
        """
        while not pods_are_known():
            self._link.read(self._clock())
            await self._sleep(self._pace.read_s)
        while True:
            await self.step()
            await self._sleep(self._pace.read_s)

    async def run_telling(self) -> None:
        """Stores the state when there is news, until cancelled: no reading waits for a slow store.

        Raises ColumnClaimed when another agent has taken over.
        """
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            if self._state is not None:
                await self._tell_store(self._state)

    async def step(self) -> None:
        """One reading, and what follows from it."""
        now_s = self._clock()
        self._reading, self._rate_bps = self._link.read(now_s)
        publication, self._memory = plan(
            self._reading, self._rules, self._published(), self._promised(), self._memory, now_s=now_s
        )
        self._tell_unmeasured(self._reading)
        self.limit_bps, self.degraded = publication.limit_bps, publication.degraded
        self._metrics.see_network(self._rate_bps, self.limit_bps, degraded=bool(self.degraded))
        for event in publication.events:
            tell = self._log.warning if event.kind == "Warning" else self._log.info
            tell("network", reason=event.reason, message=event.message)
        self._state = NodeState(self._book.name, self._unix_clock(), dict(self._rate_bps), dict(self.limit_bps))
        if self._written is None or self._is_news(self._written, self._state):
            self._has_news.set()
        if self._pace.publish:
            self._untold.extend(publication.events)
            await self._tell_cluster(publication)

    def report(self) -> dict[str, object]:
        """For the details of readiness."""
        reading = self._reading
        return {
            "interface": reading.interface if reading else None,
            "up": reading.up if reading else None,
            "why": why_told(reading, self._rules) if reading else None,
            "rate_bps": dict(self._rate_bps),
            "limit_bps": dict(self.limit_bps),
            "degraded": self.degraded,
            "last_error": self.fault,
        }

    def _tell_unmeasured(self, reading: LinkReading) -> None:
        """Where the settings give every speed, no Event tells that the link itself is not found."""
        was_measured, self._is_measured = self._is_measured, bool(reading.interface)
        if was_measured and not self._is_measured and not self._memory.no_speed_told:
            self._log.warning("no traffic is measured", why=reading.why)

    def _published(self) -> PublishedCapacity:
        status = self._book.node.status if self._book.node else None
        names = [name for rule in self._rules.directions for name in rule.resource_names]
        return PublishedCapacity(
            capacity=whole_amounts(status.capacity if status else None, names),
            allocatable=whole_amounts(status.allocatable if status else None, names),
        )

    async def _tell_store(self, state: NodeState) -> None:
        try:
            await self._put_state(state)
        except StoreUnavailable as exc:
            self._log.debug("node state not written", why=str(exc))
        else:
            self._written = state

    def _is_news(self, before: NodeState, now: NodeState) -> bool:
        """Other limits, or traffic that changed by a share of the link. A clock that was set back is news too."""
        if before.limit_bps != now.limit_bps or before.rate_bps.keys() != now.rate_bps.keys():
            return True
        changed = any(
            abs(rate - before.rate_bps[name])
            > self._pace.write_change * now.limit_bps.get(name, max(rate, before.rate_bps[name]))
            for name, rate in now.rate_bps.items()
        )
        return changed or not 0 <= now.time_s - before.time_s < self._pace.write_s

    async def _tell_cluster(self, publication: Publication) -> None:
        """Only on a node object that is there: what was published on one that was deleted is published again."""
        node = self._book.node
        if node is None:
            return
        if self._rounds_off > 0:
            self._rounds_off -= 1
            return
        uid = node.metadata.uid or ""
        try:
            if publication.numbers:
                await self._node.publish(publication.numbers)
                self._metrics.published.inc()
                self._log.info("published", **publication.numbers)
            await self._mark(publication, uid)
            while self._untold:
                await self._events.write(self._untold[0], uid)
                self._untold.popleft()
        except ClusterUnavailable as exc:
            if str(exc) != self.fault:
                self._log.warning("node not written; tried again", why=str(exc))
            self.fault = str(exc)
            self._metrics.publish_failed.inc()
            self._rounds_off = min(2**self._refusals - 1, _MOST_ROUNDS_OFF)
            self._refusals = min(self._refusals + 1, _MOST_ROUNDS_OFF)
        else:
            self.fault = None
            self._refusals = 0

    async def _mark(self, publication: Publication, uid: str) -> None:
        """Condition and taint, each written when it differs from what this agent last wrote on this very node."""
        marked, condition, taint = self._marks
        if marked != uid:
            condition = taint = None
        wanted = publication.condition
        if wanted is not None and wanted != condition:
            await self._node.set_condition(
                CONDITION, status=wanted.status == "True", reason=wanted.reason, message=wanted.message, now=self._now()
            )
        self._marks = (uid, wanted, taint)
        if self._rules.mark in {Mark.TAINT, Mark.BOTH} and publication.taint != taint:
            await self._node.set_taint(TAINT_KEY, present=publication.taint)
            self._marks = (uid, wanted, publication.taint)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._unix_clock(), UTC)
