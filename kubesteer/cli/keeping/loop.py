"""The keeper's rounds: Secrets, then etcd, then the requests that wait; each part's fault stops no other part.

A fault is told once when it has come to stay and once when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from kubesteer.cli.keeping.certificates import CertificateKeeper, ends
from kubesteer.cli.keeping.done import Done
from kubesteer.cli.keeping.requests import RequestKeeper
from kubesteer.cli.keeping.settings import Pace
from kubesteer.clients.build_info import tell_build
from kubesteer.clients.faults import LastingFaults
from kubesteer.clients.kept_counter import KeptCounter

Step = Callable[[], Awaitable[Done]]


class Log(Protocol):
    """Where lines with fields go."""

    def info(self, event: str, **fields: object) -> Any:
        """What happened as it should."""

    def warning(self, event: str, **fields: object) -> Any:
        """What somebody should know."""

    def error(self, event: str, **fields: object) -> Any:
        """What somebody should mend."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did, could not do, and waits for."""

    done: Mapping[str, list[str]]
    faults: Mapping[str, str]
    waits: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    ends: Mapping[str, datetime] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "done": dict(self.done),
            "faults": dict(self.faults),
            "waits": list(self.waits),
            "foreign": list(self.foreign),
            "ends": {name: time.isoformat() for name, time in self.ends.items()},
        }


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        tell_build(self.registry)
        self._expiry = Gauge(
            "kubesteer_certificate_expiry_seconds",
            "Until the certificate in a Secret ends; at 0 and below it has.",
            ["secret"],
            registry=self.registry,
        )
        self._success: Gauge | None = None
        """Made with the first success: before, there is no such time to tell."""
        self._faults = Gauge(
            "kubesteer_keeper_fault", "1 while this part of a round has a fault.", ["part"], registry=self.registry
        )
        self._requests = Counter(
            "kubesteer_keeper_requests", "Agents' requests answered.", ["verdict"], registry=self.registry
        )
        self._counted: dict[str, int] = {}

    def lines_dropped(self, value: Callable[[], float]) -> None:
        """Tell how many lines of the log were lost."""
        KeptCounter(self.registry, "kubesteer_keeper_log_lines_dropped", "Lines of the log that found no room.", value)

    def see(self, last: Round, parts: Iterable[str], answered: Mapping[str, int], now: datetime) -> None:
        """After a round."""
        for name, time in last.ends.items():
            self._expiry.labels(name).set((time - now).total_seconds())
        for part in parts:
            self._faults.labels(part).set(part in last.faults)
        for verdict, count in answered.items():
            self._requests.labels(verdict).inc(count - self._counted.get(verdict, 0))
        self._counted = dict(answered)
        if not last.faults:
            if self._success is None:
                self._success = Gauge(
                    "kubesteer_keeper_last_success_timestamp_seconds",
                    "Unix time of the last round without a fault.",
                    registry=self.registry,
                )
            self._success.set(now.timestamp())


class Keeper:
    """The parts that the settings ask for. `last` is the last round, None before the first has ended."""

    def __init__(
        self,
        certificates: CertificateKeeper | None,
        access: Step | None,
        requests: RequestKeeper | None,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        log: Log,
    ) -> None:
        self.last: Round | None = None
        self.metrics = Metrics()
        self._certificates = certificates
        self._requests = requests
        self._parts: dict[str, Step] = {}
        if certificates is not None:
            self._parts["certificates"] = certificates.step
        if access is not None:
            self._parts["etcd"] = access
        if requests is not None:
            self._parts["requests"] = requests.step
        self._pace = pace
        self._now = now
        self._log = log
        self._faults: dict[str, str | None] = dict.fromkeys(self._parts)
        self._lasting = LastingFaults({part: (lambda part=part: self._faults[part]) for part in self._parts})  # type: ignore[misc]
        self._told: set[str] = set()
        self._foreign: tuple[str, ...] = ()

    def report(self) -> dict[str, Any]:
        """How it stands: ready after a round without a fault."""
        last = self.last
        return {"ready": last is not None and not last.faults, **(last.as_document() if last is not None else {})}

    async def round(self) -> Round:
        """Each part once."""
        done: dict[str, list[str]] = {}
        for part, step in self._parts.items():
            found = await step()
            done[part] = list(found.told)
            self._faults[part] = None if found.fault is None else str(found.fault)
        plan = self._certificates.last if self._certificates is not None else None
        self.last = Round(
            done={part: told for part, told in done.items() if told},
            faults={part: fault for part, fault in self._faults.items() if fault is not None},
            waits=plan.waits if plan else (),
            foreign=plan.foreign if plan else (),
            ends=ends(self._certificates.secrets) if self._certificates is not None else {},
        )
        self._tell(self.last)
        self.metrics.see(self.last, self._parts, self._requests.answered if self._requests else {}, self._now())
        return self.last

    async def run(self) -> None:
        """Rounds until cancelled; one at once when a request arrives."""
        while True:
            if self._requests is not None:
                self._requests.arrived.clear()
            last = await self.round()
            # What was changed may not be all: users of many nodes are made some at a time.
            hurried = last.faults or last.done or self._told
            await self._pause(self._pace.retry_s if hurried else self._pace.every_s, wake=not last.faults)

    async def _pause(self, seconds: float, *, wake: bool) -> None:
        if self._requests is None or not wake:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._requests.arrived.wait()
        except TimeoutError:
            return

    def _tell(self, last: Round) -> None:
        for part, told in last.done.items():
            for what in told:
                self._log.info("done", part=part, what=what)
        for part, fault in self._lasting.look():
            if fault is not None:
                self._told.add(part)
                self._log.warning("cannot go on for now; tries again", part=part, why=fault)
            else:
                self._told.discard(part)
                self._log.info("goes on", part=part)
        if last.foreign != self._foreign:
            self._foreign = last.foreign
            for name in last.foreign:
                self._log.warning("Secret left alone: somebody else made it; delete it to have it made", secret=name)
