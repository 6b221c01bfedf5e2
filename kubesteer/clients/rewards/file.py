"""Rewards from a YAML or JSON file that somebody else writes: a list of {node, podType, mean, evidence, time}.

The file is looked at every interval and read again when it has changed; one that cannot be used leaves the last good
one in force. Read only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from kubesteer.clients.rewards.feed import bare
from kubesteer.clients.rewards.port import RewardSink, SourceStatus
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import RewardRecord, parse_time, shown

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileSource:
    """Keeps a sink equal to a file; satisfies RewardSource."""

    def __init__(
        self,
        path: Path,
        sink: RewardSink,
        *,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        poll_interval_s: float = 5.0,
    ) -> None:
        self._path = path
        self._sink = sink
        self._clock = clock
        self._unix_clock = unix_clock
        self._poll_interval_s = poll_interval_s
        self._last_seen: tuple[int, ...] | None = None
        self._last_contact_s: float | None = None
        self._last_error: str | None = None
        self._records = 0
        self._loads = 0

    async def run(self) -> None:
        """As RewardSource."""
        while True:
            try:
                await self._look()
            except (OSError, InvalidRecord) as exc:
                self._last_error = f"{self._path}: {exc}"
            await asyncio.sleep(self._poll_interval_s)

    def status(self) -> SourceStatus:
        """As RewardSource; the revision counts the good versions of the file."""
        return SourceStatus(
            kind="file",
            synced=self._loads > 0,
            last_contact_age_s=None if self._last_contact_s is None else self._clock() - self._last_contact_s,
            revision=self._loads,
            records=self._records,
            skipped=0,
            last_error=self._last_error,
            resyncs=max(self._loads - 1, 0),
        )

    async def _look(self) -> None:
        """Reads the file if it has changed; raises OSError or InvalidRecord, and then the sink is as it was."""
        seen = await asyncio.to_thread(_identity, self._path)
        if seen != self._last_seen:
            self._last_seen = None
            text = await asyncio.to_thread(self._path.read_bytes)
            self._last_seen = seen
            records = await asyncio.to_thread(parse_rewards, text, loaded_at_s=self._unix_clock())
            self._sink.replace(map(bare, records))
            self._records = len(records)
            self._loads += 1
            self._last_error = None
        if self._last_error is None:
            self._last_contact_s = self._clock()


def parse_rewards(text: bytes, *, loaded_at_s: float) -> list[RewardRecord]:
    """The records of a file; one without a time gets `loaded_at_s`. Raises InvalidRecord naming item and rule."""
    try:
        items = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, the C one where there is one
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise InvalidRecord(f"not YAML or JSON: {exc}") from exc
    if not isinstance(items, list):
        raise InvalidRecord(f"{shown(items)} is not a list; write a list of {{node, podType, mean, evidence}}")
    return list(_unique(_records(items, loaded_at_s)))


def _records(items: list[Any], loaded_at_s: float) -> Iterator[RewardRecord]:
    for number, item in enumerate(items, start=1):
        try:
            yield _record(item, loaded_at_s)
        except InvalidRecord as exc:
            raise InvalidRecord(f"item {number}: {exc}") from exc


def _record(item: Any, loaded_at_s: float) -> RewardRecord:
    if not isinstance(item, dict):
        raise InvalidRecord(f"{shown(item)} is not a mapping of node, podType, mean, evidence")
    fields = dict(item)
    try:
        node, pod_type = fields.pop("node"), fields.pop("podType")
        mean, evidence = fields.pop("mean"), fields.pop("evidence")
    except KeyError as exc:
        raise InvalidRecord(f"{exc.args[0]} is missing") from exc
    for name, value in (("mean", mean), ("evidence", evidence)):
        if isinstance(value, bool):
            raise InvalidRecord(f"{name} {value!r} is not a number")
    time_s = _time_s(fields.pop("time")) if "time" in fields else loaded_at_s
    return RewardRecord(node, pod_type, mean, evidence, time_s, fields)


def _time_s(value: object) -> float:
    """YAML reads an unquoted time by itself; without an offset it means UTC."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return parse_time(value)


def _unique(records: Iterator[RewardRecord]) -> Iterator[RewardRecord]:
    seen: set[tuple[str, str]] = set()
    for record in records:
        pair = (record.node, record.pod_type)
        if pair in seen:
            raise InvalidRecord(f"node {shown(record.node)} and podType {shown(record.pod_type)} are there twice")
        seen.add(pair)
        yield record


def _identity(path: Path) -> tuple[int, ...]:
    """What changes when the file does, also when a mounted ConfigMap is swapped for another by a link."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
