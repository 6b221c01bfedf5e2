"""From stored entries to what a sink holds: the one place that decides what becomes of an entry that cannot be read.

Such an entry is skipped, counted and named; what it was about counts as unknown, so that the sink depends on what the
store holds and never on what it held before. No I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from kubesteer.clients.rewards.port import NodeStateSink, RewardSink
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.node_state import NodeState, decode_state, node_of_state_key, states_range
from kubesteer.model.reward import KeyRange, RewardRecord, decode_key, decode_record, table_range

Entry = tuple[bytes, bytes]
"""Key and value, as stored."""
Value = TypeVar("Value", bound=RewardRecord | NodeState)
Taken_contra = TypeVar("Taken_contra", contravariant=True)

_NO_EXTRA: MappingProxyType[str, Any] = MappingProxyType({})

_log = logging.getLogger(__name__)


class Sink(Protocol[Taken_contra]):
    """What RewardSink and NodeStateSink have in common."""

    def put(self, value: Taken_contra, /) -> None:
        """Takes the value in place of any earlier one of its key."""

    def replace(self, values: Iterable[Taken_contra], /) -> None:
        """Makes these values all that is known, at once."""


class Feed(Generic[Value]):
    """Applies the entries of `span` to a sink and keeps account of them.

    `decode` reads a key and its value or raises InvalidRecord; `forget` is told of a key that was read and is no more.
    """

    def __init__(
        self,
        span: KeyRange,
        sink: Sink[Value],
        *,
        decode: Callable[[bytes, bytes], Value],
        forget: Callable[[bytes], None],
    ) -> None:
        self.span = span
        self._sink = sink
        self._decode = decode
        self._forget = forget
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

    def decode(self, entries: Iterable[Entry]) -> list[tuple[bytes, Value | InvalidRecord]]:
        """Reads entries without applying them, so that a long list can be read in parts and applied at once."""
        return [(key, _value_or_fault(self._decode, key, value)) for key, value in entries]

    def replace(self, decoded: list[tuple[bytes, Value | InvalidRecord]]) -> None:
        """Makes these entries all there is."""
        self._sink.replace(found for _, found in decoded if not isinstance(found, InvalidRecord))
        self._good = {key for key, found in decoded if not isinstance(found, InvalidRecord)}
        self._bad = {key: str(found) for key, found in decoded if isinstance(found, InvalidRecord)}

    def replace_in_steps(self, decoded: list[tuple[bytes, Value | InvalidRecord]]) -> Iterator[None]:
        """The same with a pause after each change; until the end, some of what was before is there as well."""
        there = set()
        for key, found in decoded:
            self._put(key, found)
            there.add(key)
            yield
        for key in [*(self._good - there), *(self._bad.keys() - there)]:
            self.delete(key)
            yield

    def put(self, key: bytes, value: bytes) -> None:
        """Applies one stored entry."""
        self._put(key, _value_or_fault(self._decode, key, value))

    def delete(self, key: bytes) -> None:
        """Applies one removed entry."""
        self._bad.pop(key, None)
        if key in self._good:
            self._good.remove(key)
            self._forget(key)

    def _put(self, key: bytes, found: Value | InvalidRecord) -> None:
        if isinstance(found, InvalidRecord):
            self.delete(key)
            self._bad[key] = str(found)
            return
        self._bad.pop(key, None)
        self._good.add(key)
        self._sink.put(found)


def reward_feed(sink: RewardSink, prefix: str) -> Feed[RewardRecord]:
    """What keeps a sink equal to the reward table."""

    def decode(key: bytes, value: bytes) -> RewardRecord:
        return bare(decode_record(prefix, key, value))

    def forget(key: bytes) -> None:
        sink.delete(*decode_key(prefix, key))

    return Feed(table_range(prefix), sink, decode=decode, forget=forget)


def bare(record: RewardRecord) -> RewardRecord:
    """The record without `extra`, which is nearly all of its memory, and which no sink reads."""
    return RewardRecord(record.node, record.pod_type, record.mean, record.evidence, record.time_s, _NO_EXTRA)


def node_state_feed(sink: NodeStateSink, prefix: str) -> Feed[NodeState]:
    """What keeps a sink equal to the states of all nodes."""

    def forget(key: bytes) -> None:
        sink.delete(node_of_state_key(prefix, key))

    return Feed(states_range(prefix), sink, decode=partial(decode_state, prefix), forget=forget)


def readable(prefix: str, entries: Iterable[Entry]) -> Iterator[RewardRecord]:
    """The records of the entries that can be read; a warning in the log for each of the others."""
    decode = partial(decode_record, prefix)
    for key, value in entries:
        found = _value_or_fault(decode, key, value)
        if isinstance(found, InvalidRecord):
            _log.warning("reward left out: %s", found)
        else:
            yield found


def _value_or_fault(decode: Callable[[bytes, bytes], Value], key: bytes, value: bytes) -> Value | InvalidRecord:
    try:
        return decode(key, value)
    except InvalidRecord as exc:
        return exc
