"""From stored entries to what a sink holds: the one place that decides what becomes of an entry that cannot be read.

Such an entry is skipped, counted and named; what it was about counts as unknown, so that the sink depends on what the
store holds and never on what it held before. So is what a node has too many of: whoever may write for one node cannot
fill the memory of every reader. No I/O.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from kubesteer.clients.rewards.port import NodeStateSink, RewardSink
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.node_state import NodeState, decode_state, node_of_state_key, states_range
from kubesteer.model.quantity import shown
from kubesteer.model.reward import KeyRange, RewardRecord, decode_key, decode_record, table_range

Entry = tuple[bytes, bytes]
"""Key and value, as stored."""
MOST_OF_A_NODE = 1000
"""Entries of one node that are read. An agent keeps 500 pod types by default, and all others as one."""
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


class Listing(Generic[Value]):
    """Entries of the whole span that were read, and not applied: a long list comes in parts, and counts at once."""

    def __init__(self, node: Callable[[bytes], bytes], decode: Callable[[bytes, bytes], Value]) -> None:
        self.found: list[tuple[bytes, Value | InvalidRecord]] = []
        self.held: Counter[bytes] = Counter()
        self.left_out: Counter[bytes] = Counter()
        self._node = node
        self._decode = decode

    def add(self, entries: Iterable[Entry]) -> None:
        """Reads more of them."""
        for key, value in entries:
            node = self._node(key)
            if self.held[node] >= MOST_OF_A_NODE:
                self.left_out[node] += 1
            else:
                self.held[node] += 1
                self.found.append((key, _value_or_fault(self._decode, key, value)))


class Feed(Generic[Value]):
    """Applies the entries of `span` to a sink and keeps account of them.

    `decode` reads a key and its value or raises InvalidRecord; `forget` is told of a key that was read and is no more.
    Where a node has more than MOST_OF_A_NODE entries, those that came first count; room that is made later is for those
    that come then, and for the rest with the next list.
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
        self._held: Counter[bytes] = Counter()
        self._left_out: Counter[bytes] = Counter()

    @property
    def records(self) -> int:
        """Entries in the sink."""
        return len(self._good)

    @property
    def skipped(self) -> int:
        """Entries that cannot be read, now, and those that were left out since the last list."""
        return len(self._bad) + self._left_out.total()

    @property
    def last_error(self) -> str | None:
        """What is wrong with the last of them."""
        for node in self._left_out:
            name = shown(node.decode(errors="replace"))
            return f"{name} has over {MOST_OF_A_NODE} entries in the store: the rest is not read; look at its agent"
        return next(reversed(self._bad.values()), None)

    def listing(self) -> Listing[Value]:
        """Empty, to be filled and given to replace or replace_in_steps."""
        return Listing(self._node, self._decode)

    def replace(self, listing: Listing[Value]) -> None:
        """Makes these entries all there is."""
        self._sink.replace(found for _, found in listing.found if not isinstance(found, InvalidRecord))
        self._good = {key for key, found in listing.found if not isinstance(found, InvalidRecord)}
        self._bad = {key: str(found) for key, found in listing.found if isinstance(found, InvalidRecord)}
        self._held, self._left_out = listing.held, listing.left_out

    def replace_in_steps(self, listing: Listing[Value]) -> Iterator[None]:
        """The same with a pause after each change; until the end, some of what was before is there as well."""
        there = set()
        for key, found in listing.found:
            self._put(key, found)
            there.add(key)
            yield
        self._left_out = listing.left_out
        for key in [*(self._good - there), *(self._bad.keys() - there)]:
            self.delete(key)
            yield

    def put(self, key: bytes, value: bytes) -> None:
        """Applies one stored entry."""
        node = self._node(key)
        if self._held[node] >= MOST_OF_A_NODE and key not in self._good and key not in self._bad:
            self._left_out[node] += 1
        else:
            self._put(key, _value_or_fault(self._decode, key, value))

    def delete(self, key: bytes) -> None:
        """Applies one removed entry."""
        if key in self._good:
            self._good.remove(key)
            self._forget(key)
        elif self._bad.pop(key, None) is None:
            return
        node = self._node(key)
        self._held[node] -= 1
        if not self._held[node]:
            del self._held[node]

    def _put(self, key: bytes, found: Value | InvalidRecord) -> None:
        self._held[self._node(key)] += key not in self._good and key not in self._bad
        if isinstance(found, InvalidRecord):
            if key in self._good:
                self._good.remove(key)
                self._forget(key)
            self._bad[key] = str(found)
            return
        self._bad.pop(key, None)
        self._good.add(key)
        self._sink.put(found)

    def _node(self, key: bytes) -> bytes:
        """Whose range the key is in, readable or not."""
        return key[len(self.span.start) :].partition(b"/")[0]


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
