"""Writes ExtenderFilterResult and HostPriorityList as bytes, in Go's exact key case. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from kubesteer.placement.scoring import MAX_SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.placement.table import NodeTable

NO_SCORES = b"[]"
_FILTER = b'{"Nodes":%b,"NodeNames":%b,"FailedNodes":%b,"FailedAndUnresolvableNodes":%b,"Error":%b}'
_OPEN, _SPACE, _DIGIT_ZERO, _DIGIT_ONE = b"[ 01"
_TENS, _ONES = 10, 11
"""Where a cell has the digits of its score."""
_NULL = b"null"
_EMPTY = b"{}"
_encode = msgspec.json.Encoder().encode


def filter_error(message: str) -> bytes:
    """The request could not be judged. kube-scheduler reads this with status 200 only."""
    return _FILTER % (_NULL, _NULL, _EMPTY, _EMPTY, _encode(message))


def filter_names(names: bytes, failed: Mapping[str, str], unresolvable: Mapping[str, str]) -> bytes:
    """names: the passing node names as a JSON array."""
    return _FILTER % (_NULL, names, _reasons(failed), _reasons(unresolvable), b'""')


def filter_nodes(nodes: Sequence[bytes], failed: Mapping[str, str], unresolvable: Mapping[str, str]) -> bytes:
    """nodes: the passing nodes as they came; the scheduler gets back what it sent."""
    items = b'{"metadata":{},"items":[%b]}' % b",".join(nodes)
    return _FILTER % (items, _NULL, _reasons(failed), _reasons(unresolvable), b'""')


def encode_names(names: Sequence[str]) -> bytes:
    """A JSON array of names."""
    return _encode(names)


def _reasons(reasons: Mapping[str, str]) -> bytes:
    return _encode(reasons) if reasons else _EMPTY


class ScoreWriter:
    """Writes score lists by copying cells: for each node-table row the rendered name, padded to one width.

    JSON allows the padding, and a cell's score stands at a fixed place, so a list is one gather and two assignments.
    """

    def __init__(self) -> None:
        self._cells = np.zeros((0, 0), np.uint8)
        self._names: list[str] = []
        self._version = -1

    def write_rows(self, table: NodeTable, rows: NDArray[np.intp], scores: NDArray[np.int64]) -> bytes:
        """For rows of the table, none of them -1, in order."""
        if not len(rows):
            return NO_SCORES
        if table.names_version != self._version:
            self._render(table.names)
            self._version = table.names_version
        cells = self._cells.take(rows, axis=0)
        cells[:, _TENS] = np.where(scores >= MAX_SCORE, _DIGIT_ONE, _SPACE)
        cells[:, _ONES] = _DIGIT_ZERO + scores % MAX_SCORE
        cells[0, 0] = _OPEN
        return cells.tobytes() + b"]"

    def _render(self, names: list[str]) -> None:
        """Cells of the rows whose name changed."""
        before = self._names
        changed = [row for row, name in enumerate(names) if row >= len(before) or before[row] is not name]
        rendered = [b',{"Score":  ,"Host":%b}' % _encode(names[row]) for row in changed]
        width = max([self._cells.shape[1], *map(len, rendered)])
        if len(names) > self._cells.shape[0] or width > self._cells.shape[1]:
            grown = np.full((max(len(names), 2 * self._cells.shape[0]), width), _SPACE, np.uint8)
            grown[: self._cells.shape[0], : self._cells.shape[1]] = self._cells
            self._cells = grown
        for row, cell in zip(changed, rendered, strict=True):
            self._cells[row] = np.frombuffer(cell.ljust(width), np.uint8)
        self._names = list(names)


def write_scores(names: Sequence[str], scores: Sequence[int]) -> bytes:
    """A score list for any names, in order."""
    return b"[" + b",".join(map(_cell, names, scores)) + b"]"


def _cell(name: str, score: int) -> bytes:
    return b'{"Host":%b,"Score":%d}' % (_encode(name), score)
