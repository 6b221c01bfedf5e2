"""Node names rendered as cells of one width, by node-table row: an answer is a gather of them. No decision here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.placement.table import NodeTable

SPACE = 0x20
_LONGEST_NAME = 253
"""The longest name that a Node may have; longer ones, of a cluster file, are encoded when asked for."""
_SLACK = 1.5
_NO_ROWS = np.zeros(0, np.intp)
_encode = msgspec.json.Encoder().encode


class NameCells:
    """For each row before + the name as JSON + after, padded with spaces, which JSON allows there.

    Names that are much longer than the others of a list stand apart, so padding stays below _SLACK of the list.
    """

    def __init__(self, before: bytes, after: bytes = b"") -> None:
        self._template = before.replace(b"%", b"%%") + b"%b" + after.replace(b"%", b"%%")
        self._widest = len(before + after) + len('""') + _LONGEST_NAME
        self._cells = np.zeros((0, 0), np.uint8)
        self._lengths = np.zeros(0, np.intp)
        self._even = False
        self._version = -1

    def take(self, table: NodeTable, rows: NDArray[np.intp]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """A copy of the cells of these rows, none of them -1, (n, width); and positions of cells that are cut short."""
        if table.names_version != self._version:
            self._follow(table)
        if self._even:
            return self._cells.take(rows, axis=0), _NO_ROWS
        lengths = self._lengths.take(rows)
        usual = lengths <= lengths.mean() * _SLACK
        width = min(int(lengths.max(where=usual, initial=0)), self._cells.shape[1])
        return self._cells[rows, :width], np.flatnonzero(lengths > width)

    def whole(self, name: str) -> bytes:
        """The cell of a name, however long."""
        return self._template % _encode(name)

    def _follow(self, table: NodeTable) -> None:
        """Cells of the rows that got another name. A released row keeps its cell, which is never asked for."""
        renamed, names = table.renamed_since(self._version), table.names
        every = range(len(names)) if renamed is None else set(renamed)
        rendered = {row: self.whole(names[row]) for row in every if table.rows.get(names[row]) == row}
        self._version = table.names_version
        if not rendered:
            return
        widest = max(map(len, rendered.values()))
        self._make_room(len(names), min(widest, self._widest))
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
            self._cells = np.full((room, max(width, before.shape[1])), SPACE, np.uint8)
            self._cells[: before.shape[0], : before.shape[1]] = before
            self._lengths = np.append(self._lengths, np.full(room - len(self._lengths), width, np.intp))
