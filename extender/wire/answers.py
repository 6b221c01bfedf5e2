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
_CELL, _HOST = b',{"Score":  ', b',"Host":%b}'
_OPEN, _SPACE, _DIGIT_ZERO, _DIGIT_ONE = b"[ 01"
_TENS, _ONES = 10, 11
"""Where a cell has the digits of its score."""
_WIDEST = len(_CELL + _HOST) + 253
"""A cell with the longest name that a Node may have; longer ones, of a cluster file, are encoded when asked for."""
_SLACK = 1.5
_NO_ROWS = np.zeros(0, np.intp)
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
    Names that are much longer than the others of a list are put in apart, so padding stays below _SLACK of the list.
    """

    def __init__(self) -> None:
        self._cells = np.zeros((0, 0), np.uint8)
        self._lengths = np.zeros(0, np.intp)
        self._even = False
        self._version = -1

    def write_rows(self, table: NodeTable, rows: NDArray[np.intp], scores: NDArray[np.int64]) -> bytes:
        """For rows of the table, none of them -1, in order."""
        if not len(rows):
            return NO_SCORES
        if table.names_version != self._version:
            self._follow(table)
        if self._even:
            cells, apart = self._cells.take(rows, axis=0), _NO_ROWS
        else:
            lengths = self._lengths.take(rows)
            usual = lengths <= lengths.mean() * _SLACK
            width = min(int(lengths.max(where=usual, initial=0)), self._cells.shape[1])
            cells, apart = self._cells[rows, :width], np.flatnonzero(lengths > width)
        cells[:, _TENS] = np.where(scores >= MAX_SCORE, _DIGIT_ONE, _SPACE)
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
            parts += [cells[done:position].tobytes(), score, _HOST % _encode(names[rows[position]])]
            done = position + 1
        return b"[" + b"".join((*parts, cells[done:].tobytes()))[1:] + b"]"

    def _follow(self, table: NodeTable) -> None:
        """Cells of the rows that got another name. A row that was released keeps its cell: nobody asks for it."""
        renamed, names = table.renamed_since(self._version), table.names
        every = range(len(names)) if renamed is None else set(renamed)
        rendered = {row: _CELL + _HOST % _encode(names[row]) for row in every if table.rows.get(names[row]) == row}
        self._version = table.names_version
        if not rendered:
            return
        widest = max(map(len, rendered.values()))
        self._make_room(len(names), min(widest, _WIDEST))
        width = self._cells.shape[1]
        for row, cell in rendered.items():
            self._cells[row] = np.frombuffer(cell[:width].ljust(width), np.uint8)
            self._lengths[row] = len(cell)
        used = self._lengths[: len(names)]
        self._even = int(used.max()) <= width <= int(used.min()) * _SLACK

    def _make_room(self, rows: int, width: int) -> None:
        """For this many rows and cells of this width."""
        before = self._cells
        if rows > before.shape[0] or width > before.shape[1]:
            room = before.shape[0] if rows <= before.shape[0] else max(rows, 2 * before.shape[0])
            self._cells = np.full((room, max(width, before.shape[1])), _SPACE, np.uint8)
            self._cells[: before.shape[0], : before.shape[1]] = before
            self._lengths = np.append(self._lengths, np.full(room - len(self._lengths), width, np.intp))


def write_scores(names: Sequence[str], scores: Sequence[int]) -> bytes:
    """A score list for any names, in order."""
    return _encode([{"Host": name, "Score": score} for name, score in zip(names, scores, strict=True)])
