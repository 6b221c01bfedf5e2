"""From stored entries to records in a sink: the one place that decides what becomes of an entry that cannot be read.

Such an entry is skipped, counted and named; its pair counts as never tried, so that the sink depends on what the store
holds and never on what it held before. No I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from kubesteer.clients.rewards.port import RewardSink
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import RewardRecord, decode_key, decode_record

Entry = tuple[bytes, bytes]
"""Key and value, as stored."""

_log = logging.getLogger(__name__)


class Feed:
    """Applies entries to a sink and keeps account of them."""

    def __init__(self, sink: RewardSink, prefix: str) -> None:
        self._sink = sink
        self._prefix = prefix
        self._good: set[bytes] = set()
        self._bad: dict[bytes, str] = {}

    @property
    def records(self) -> int:
        """Entries in the sink."""
        return len(self._good)

    @property
    def skipped(self) -> int:
        """Entries that cannot be read, now."""
        return len(self._bad)

    @property
    def last_error(self) -> str | None:
        """What is wrong with the last of them."""
        return next(reversed(self._bad.values()), None)

    def decode(self, entries: Iterable[Entry]) -> list[tuple[bytes, RewardRecord | InvalidRecord]]:
        """Reads entries without applying them, so that a long list can be read in parts and applied at once."""
        return [(key, _record_or_fault(self._prefix, key, value)) for key, value in entries]

    def replace(self, decoded: list[tuple[bytes, RewardRecord | InvalidRecord]]) -> None:
        """Makes these entries all there is."""
        self._sink.replace(found for _, found in decoded if isinstance(found, RewardRecord))
        self._good = {key for key, found in decoded if isinstance(found, RewardRecord)}
        self._bad = {key: str(found) for key, found in decoded if isinstance(found, InvalidRecord)}

    def put(self, key: bytes, value: bytes) -> None:
        """Applies one stored entry."""
        found = _record_or_fault(self._prefix, key, value)
        if isinstance(found, InvalidRecord):
            self.delete(key)
            self._bad[key] = str(found)
            return
        self._bad.pop(key, None)
        self._good.add(key)
        self._sink.put(found)

    def delete(self, key: bytes) -> None:
        """Applies one removed entry."""
        self._bad.pop(key, None)
        if key in self._good:
            self._good.remove(key)
            self._sink.delete(*decode_key(self._prefix, key))


def readable(prefix: str, entries: Iterable[Entry]) -> Iterator[RewardRecord]:
    """The records of the entries that can be read; a warning in the log for each of the others."""
    for key, value in entries:
        found = _record_or_fault(prefix, key, value)
        if isinstance(found, InvalidRecord):
            _log.warning("reward left out: %s", found)
        else:
            yield found


def _record_or_fault(prefix: str, key: bytes, value: bytes) -> RewardRecord | InvalidRecord:
    try:
        return decode_record(prefix, key, value)
    except InvalidRecord as exc:
        return exc
