"""The names of one request: kept as the JSON that came, found in the node table, made text for who asks. No decision.

The finding is compiled code where it was built (compile_names.py). Without it the reader decodes the names, and means
the same by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

import msgspec
import numpy as np

from kubesteer.placement.candidates import Found

try:
    from extender.wire import _names
except ImportError:
    IS_COMPILED = False
else:
    IS_COMPILED = True

if TYPE_CHECKING:
    from kubesteer.placement.table import NodeTable

Finder = Callable[[bytes, "Found | None"], "Found | None"]
"""Rows of a JSON array of names, and what the same bytes gave the last time: see NameFinder.find."""
_decoder = msgspec.json.Decoder(list[str])


class SentNames(Sequence[str]):
    """Names as JSON that was checked, decoded when one is asked for."""

    def __init__(self, raw: bytes, count: int) -> None:
        self._raw = raw
        self._count = count

    @cached_property
    def _names(self) -> list[str]:
        return _decoder.decode(self._raw)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._names[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)


def finder(table: NodeTable) -> Finder:
    """The fastest there is."""
    return NameFinder(table).find if IS_COMPILED else find_nothing


def find_nothing(_raw: bytes, _before: Found | None) -> Found | None:
    """Leaves all names to the decoder."""
    return None


class NameFinder:
    """Finds JSON names in one node table. Only for the thread that changes the table."""

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self._index = _names.Index([])
        self._version = 0

    def find(self, raw: bytes, before: Found | None) -> Found | None:
        """The rows of a JSON array of names, each of which has one; None where it cannot tell, whatever came.

        before: what these bytes gave the last time.
        """
        version = self._table.names_version
        if before is not None and before.names_version == version:
            return before
        if version != self._version:
            self._follow()
        rows = self._index.find(raw)
        return None if rows is None else Found(np.frombuffer(rows, np.intp), version)

    def _follow(self) -> None:
        table, renamed = self._table, self._table.renamed_since(self._version)
        names, put = table.names, self._index.put
        if renamed is None or not all(put(row, names[row]) for row in set(renamed)):
            self._index = _names.Index(names)
        self._version = table.names_version
