"""The keeper's rounds: Secrets, then etcd, then the requests that wait; each part's fault stops no other part.

A fault is told once when it has come to stay and once when it is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from kubesteer.cli.keeping.certificates import CertificateKeeper
from kubesteer.cli.keeping.requests import RequestKeeper
from kubesteer.cli.keeping.settings import Pace
from kubesteer.cli.keeping.snapshots import Snapshots
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.build_info import tell_build
from kubesteer.clients.faults import LastingFaults
from kubesteer.clients.kept_counter import KeptCounter

Step = Callable[[], Awaitable[StepResult]]


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
    """What one round did and could not do. foreign: Secrets of somebody else. ends: when each certificate does."""

    done: Mapping[str, list[str]]
    faults: Mapping[str, str]
    foreign: tuple[str, ...] = ()
    ends: Mapping[str, datetime] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self) | {"ends": {name: time.isoformat() for name, time in self.ends.items()}}


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        tell_build(self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self._expiry = gauge(
            "kubesteer_certificate_expiry_seconds",
            "Until the certificate in a Secret ends; at 0 and below it has.",
            ["secret"],
        )
        self._success: Gauge | None = None
        """Made with the first success: before, there is no such time to tell."""
        self._snapshot: Gauge | None = None
        self._faults = gauge("kubesteer_keeper_fault", "1 while this part of a round has a fault.", ["part"])
        self._requests = Counter(
            "kubesteer_keeper_requests", "Agents' requests answered.", ["verdict"], registry=self.registry
        )
        self._counted: dict[str, int] = {}

    def lines_dropped(self, value: Callable[[], float]) -> None:
        """Tell how many lines of the log were lost."""
        KeptCounter(self.registry, "kubesteer_keeper_log_lines_dropped", "Lines of the log that found no room.", value)

    def see_snapshot(self, last: datetime) -> None:
        """Of etcd."""
        self._snapshot = self._snapshot or Gauge(
            "kubesteer_etcd_snapshot_timestamp_seconds",
            "Unix time of etcd's last snapshot; before the first, of the CronJob's creation.",
            registry=self.registry,
        )
        self._snapshot.set(last.timestamp())

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
            self._success = self._success or Gauge(
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
        snapshots: Snapshots | None = None,
        *,
        pace: Pace,
        now: Callable[[], datetime],
        log: Log,
    ) -> None:
        self.last: Round | None = None
        self.metrics = Metrics()
        self._certificates, self._requests, self._snapshots = certificates, requests, snapshots
        steps: dict[str, Step | None] = {
            "certificates": None if certificates is None else certificates.step,
            "etcd": access,
            "requests": None if requests is None else requests.step,
            "snapshots": None if snapshots is None else snapshots.step,
        }
        self._steps = {part: step for part, step in steps.items() if step is not None}
        self._pace, self._now, self._log = pace, now, log
        self._faults: dict[str, str | None] = dict.fromkeys(self._steps)
        self._lasting = LastingFaults({part: partial(self._faults.get, part) for part in self._steps})
        self._told: set[str] = set()
        self._foreign: tuple[str, ...] = ()

    def report(self) -> dict[str, Any]:
        """How it stands: ready after a round without a fault."""
        last = self.last
        return {"ready": last is not None and not last.faults, **(last.as_document() if last is not None else {})}

    async def round(self) -> Round:
        """Each part once."""
        done: dict[str, list[str]] = {}
        for part, step in self._steps.items():
            found = await step()
            done[part] = list(found.told)
            self._faults[part] = None if found.fault is None else str(found.fault)
        certificates = self._certificates
        self.last = Round(
            done={part: told for part, told in done.items() if told},
            faults={part: fault for part, fault in self._faults.items() if fault is not None},
            foreign=certificates.foreign if certificates is not None else (),
            ends=certificates.ends() if certificates is not None else {},
        )
        self._tell(self.last)
        self.metrics.see(self.last, self._steps, self._requests.answered if self._requests else {}, self._now())
        if self._snapshots is not None and self._snapshots.last is not None:
            self.metrics.see_snapshot(self._snapshots.last)
        return self.last

    async def run(self) -> None:
        """Rounds until cancelled; one at once when a request arrives."""
        while True:
            if self._requests is not None:
                self._requests.arrived.clear()
            last = await self.round()
            # What was changed may not be all: users of many nodes are made some at a time.
            hurried = last.faults or last.done or self._told
            woken = self._requests.arrived if self._requests is not None and not last.faults else asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), self._pace.retry_s if hurried else self._pace.every_s)

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
