"""Writes ExtenderFilterResult and HostPriorityList as bytes, in Go's exact key case. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from extender.wire.name_cells import SPACE, NameCells
from kubesteer.placement.scoring import MAX_SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.placement.table import NodeTable

NO_SCORES = b"[]"
_FILTER = b'{"Nodes":%b,"NodeNames":%b,"FailedNodes":%b,"FailedAndUnresolvableNodes":%b,"Error":%b}'
_CELL = b',{"Score":  ,"Host":'
_OPEN, _DIGIT_ZERO, _DIGIT_ONE = b"[01"
_TENS, _ONES = 10, 11
"""Where a cell has the digits of its score."""
_NULL = b"null"
_EMPTY = b"{}"
_encode = msgspec.json.Encoder().encode


def filter_error(message: str) -> bytes:
    """The request could not be judged. kube-scheduler reads this with status 200 only."""
    return _FILTER % (_NULL, _NULL, _EMPTY, _EMPTY, _encode(message))


def filter_names(names: bytes, failed: bytes = _EMPTY, unresolvable: bytes = _EMPTY) -> bytes:
    """names: the passing node names as a JSON array; the others' reasons by name as JSON objects."""
    return _FILTER % (_NULL, names, failed, unresolvable, b'""')


def filter_nodes(nodes: Sequence[bytes], failed: bytes = _EMPTY, unresolvable: bytes = _EMPTY) -> bytes:
    """nodes: the passing nodes as they came; the scheduler gets back what it sent."""
    items = b'{"metadata":{},"items":[%b]}' % b",".join(nodes)
    return _FILTER % (items, _NULL, failed, unresolvable, b'""')


def encode_names(names: Sequence[str]) -> bytes:
    """A JSON array of names."""
    return _encode(names)


class ScoreWriter:
    """Writes score lists by copying cells: a cell's score stands at a fixed place, so a list is one gather."""

    def __init__(self) -> None:
        self._cells = NameCells(_CELL, b"}")

    def write_rows(self, table: NodeTable, rows: NDArray[np.intp], scores: NDArray[np.int64]) -> bytes:
        """For rows of the table, none of them -1, in order."""
        if not len(rows):
            return NO_SCORES
        cells, apart = self._cells.take(table, rows)
        cells[:, _TENS] = np.where(scores >= MAX_SCORE, _DIGIT_ONE, SPACE)
        cells[:, _ONES] = _DIGIT_ZERO + scores % MAX_SCORE
        if len(apart):
            return self._with_long_names(table.names, rows, cells, apart.tolist())
        cells[0, 0] = _OPEN
        return cells.tobytes() + b"]"

    def _with_long_names(
        self, names: list[str], rows: NDArray[np.intp], cells: NDArray[np.uint8], apart: list[int]
    ) -> bytes:
        """The list in order, where the cells at these positions are too narrow for their names."""
        parts, done = [], 0
        for position in apart:
            score = cells[position, : _ONES + 1].tobytes()
            parts += [cells[done:position].tobytes(), score, self._cells.whole(names[rows[position]])[_ONES + 1 :]]
            done = position + 1
        return b"[" + b"".join((*parts, cells[done:].tobytes()))[1:] + b"]"


def write_scores(names: Sequence[str], scores: Sequence[int]) -> bytes:
    """A score list for any names, in order."""
    return _encode([{"Host": name, "Score": score} for name, score in zip(names, scores, strict=True)])
