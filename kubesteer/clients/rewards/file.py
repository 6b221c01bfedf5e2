"""Rewards from a YAML or JSON file that another program writes: a list of {node, podType, mean, evidence, time}.

The file is looked at every interval and read again when it has changed; one that cannot be used leaves the last good
one in force. Read only. How a file is read safely is told in kubesteer/clients/file_reading.py; `python -m` of this
is the process that reads a large one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from kubesteer.clients.file_reading import answer, read_apart
from kubesteer.clients.plain_yaml import documents
from kubesteer.clients.rewards.port import RewardSink, SourceStatus
from kubesteer.model.errors import InvalidInput, InvalidRecord
from kubesteer.model.reward import RewardRecord, parse_time, shown

_MOST = 1 << 53
"""The last whole number up to which a float has all."""
_AT_ONCE = 1000
"""Records decoded before the other tasks get a turn."""


class RewardFileSource:
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
            except (OSError, InvalidInput) as exc:
                self._last_error = f"{self._path}: {exc}"
            await asyncio.sleep(self._poll_interval_s)

    def status(self) -> SourceStatus:
        """As RewardSource; the revision counts the good versions of the file."""
        return SourceStatus(
            kind="file",
            synced=self._loads > 0,
            last_contact_age_s=self.last_contact_age_s(),
            revision=self._loads,
            records=self._records,
            skipped=0,
            last_error=self._last_error,
            resyncs=max(self._loads - 1, 0),
        )

    def last_contact_age_s(self) -> float | None:
        """As RewardSource."""
        return None if self._last_contact_s is None else self._clock() - self._last_contact_s

    async def _look(self) -> None:
        """Reads the file if it has changed; raises OSError or InvalidInput, and then the sink is as it was."""
        seen = await asyncio.to_thread(_identity, self._path)
        if seen != self._last_seen:
            self._last_seen = None
            records = await self._records_now(seen)
            self._sink.replace(records)
            self._records = len(records)
            self._loads += 1
            self._last_error = None
        if self._last_error is None:
            self._last_contact_s = self._clock()

    async def _records_now(self, seen: tuple[int, ...]) -> list[RewardRecord]:
        now_s = self._unix_clock()
        try:
            found = await read_apart(
                self._path, lambda text: _lines(text, now_s), "kubesteer.clients.rewards.file", [repr(now_s)]
            )
        except InvalidInput:
            self._last_seen = seen
            raise
        self._last_seen = seen
        records = []
        for number, line in enumerate(found.splitlines()):
            records.append(RewardRecord(*msgspec.json.decode(line)))
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        return records


def parse_rewards(text: bytes, *, loaded_at_s: float) -> list[RewardRecord]:
    """The records of a file; one without a time gets `loaded_at_s`. Raises InvalidRecord naming item and rule."""
    return records_of(parse_items(text), loaded_at_s=loaded_at_s)


def parse_items(text: bytes) -> list[Any]:
    """The items of a file as they are written there. Raises InvalidRecord."""
    try:
        found = documents(text) or [None]
    except InvalidInput as exc:
        raise InvalidRecord(f"not YAML or JSON: {exc}") from exc
    if len(found) > 1:
        raise InvalidRecord(f"there are {len(found)} documents; write one list")
    if not isinstance(found[0], list):
        raise InvalidRecord(f"{shown(found[0])} is not a list; write a list of {{node, podType, mean, evidence}}")
    return found[0]


def records_of(items: list[Any], *, loaded_at_s: float) -> list[RewardRecord]:
    """As parse_rewards, of the items."""
    return list(_unique(_records(items, loaded_at_s)))


def _lines(text: bytes, loaded_at_s: float) -> bytes:
    """A line of JSON for each record, without what no sink reads."""
    records = parse_rewards(text, loaded_at_s=loaded_at_s)
    return msgspec.json.Encoder().encode_lines([(r.node, r.pod_type, r.mean, r.evidence, r.time_s) for r in records])


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
        if isinstance(value, bool) or (isinstance(value, int) and abs(value) > _MOST):
            raise InvalidRecord(f"{name} {shown(value)} is not a number that can be used")
    time_s = _time_s(fields.pop("time")) if "time" in fields else loaded_at_s
    return RewardRecord(node, pod_type, mean, evidence, time_s, fields)


def _time_s(value: object) -> float:
    """RFC 3339, or a date, or a time without an offset, which means UTC: as a person writes them in YAML."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        return parse_time(value)
    return found.replace(tzinfo=UTC).timestamp()


def _unique(records: Iterator[RewardRecord]) -> Iterator[RewardRecord]:
    seen: set[tuple[str, str]] = set()
    for record in records:
        pair = (record.node, record.pod_type)
        if pair in seen:
            raise InvalidRecord(f"node {shown(record.node)} and podType {shown(record.pod_type)} are there twice")
        seen.add(pair)
        yield record


def _identity(path: Path) -> tuple[int, ...]:
    """A value that changes when the file does, also when a mounted ConfigMap is swapped by a link."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


if __name__ == "__main__":
    _now_s = float(sys.argv[1])
    answer(lambda text: _lines(text, _now_s))
