"""Writes why candidates are refused, as JSON objects of name to reason. Which and why is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from extender.wire.name_cells import SPACE, NameCells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.placement.table import NodeTable
    from kubesteer.placement.verdicts import Kind, Verdicts

NO_REASONS = b"{}"
_FEW = 16
"""So few reasons are written faster one by one."""
_encode = msgspec.json.Encoder().encode


def write_reasons(names: Sequence[str], verdicts: Verdicts, positions: NDArray[np.intp]) -> bytes:
    """For candidates of any names, all of them refused."""
    return _written([names[p] for p in positions.tolist()], verdicts, positions)


def _one_by_one(table: NodeTable, rows: NDArray[np.intp], verdicts: Verdicts, positions: NDArray[np.intp]) -> bytes:
    return _written([table.names[row] for row in rows[positions].tolist()], verdicts, positions)


def _written(names: Sequence[str], verdicts: Verdicts, positions: NDArray[np.intp]) -> bytes:
    return _encode(dict(zip(names, verdicts.reasons(positions), strict=True))) if names else NO_REASONS


class ReasonWriter:
    """Writes reasons for node-table rows by copying cells: name, what is wanted, what is left.

    A node that is full stays so for many requests, so the last words of each row are kept as long as its numbers.
    """

    def __init__(self) -> None:
        self._names = NameCells(b",")
        self._ends = np.zeros((0, 0), np.uint8)
        self._told = np.full((3, 0), np.nan)
        """Cause, left and of, of which each row's end tells."""

    def write(
        self,
        table: NodeTable,
        rows: NDArray[np.intp],
        verdicts: Verdicts,
        positions: NDArray[np.intp],
    ) -> bytes:
        """The same as write_reasons, for candidates with rows, none of them -1."""
        parts = []
        if len(positions) > _FEW:
            for kind, among in verdicts.kinds(positions):
                cells, apart = self._names.take(table, rows[among])
                if len(apart) or not kind.is_plain:
                    return _one_by_one(table, rows, verdicts, positions)
                parts.append(self._lines(cells, kind, rows[among], verdicts, among))
        if not parts:
            return _one_by_one(table, rows, verdicts, positions)
        return b"{" + b"".join(parts)[1:] + b"}"

    def _lines(
        self,
        cells: NDArray[np.uint8],
        kind: Kind,
        rows: NDArray[np.intp],
        verdicts: Verdicts,
        positions: NDArray[np.intp],
    ) -> bytes:
        start = b":" + _encode(kind.start)
        ends = None
        if kind.end is not None:
            start = start[:-1]
            ends = self._ends_of(kind, rows, verdicts.left[positions], verdicts.of[positions])
        middle, width = cells.shape[1] + len(start), 0 if ends is None else ends.shape[1]
        lines = np.empty((len(rows), middle + width), np.uint8)
        lines[:, : cells.shape[1]] = cells
        lines[:, cells.shape[1] : middle] = np.frombuffer(start, np.uint8)
        if ends is not None:
            lines[:, middle:] = ends
        return lines.tobytes()

    def _ends_of(
        self, kind: Kind, rows: NDArray[np.intp], left: NDArray[np.float64], of: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        self._make_room(int(rows.max()) + 1, 0)
        told = self._told.take(rows, axis=1)
        stale = np.flatnonzero((told[0] != kind.cause) | (told[1] != left) | (told[2] != of))
        if len(stale) and kind.end is not None:
            numbers = zip(left[stale].tolist(), of[stale].tolist(), strict=True)
            ends = [f'{kind.end(*pair)}"'.encode() for pair in numbers]
            self._make_room(0, max(map(len, ends)))
            width = self._ends.shape[1]
            padded = b"".join([end.ljust(width) for end in ends])
            self._ends[rows[stale]] = np.frombuffer(padded, np.uint8).reshape(-1, width)
            self._told[:, rows[stale]] = np.vstack((np.full(len(stale), float(kind.cause)), left[stale], of[stale]))
        return self._ends.take(rows, axis=0)

    def _make_room(self, rows: int, width: int) -> None:
        before = self._ends
        if rows > before.shape[0] or width > before.shape[1]:
            room = max(before.shape[0], 2 * rows if rows > before.shape[0] else 0)
            self._ends = np.full((room, max(width, before.shape[1])), SPACE, np.uint8)
            self._ends[: before.shape[0], : before.shape[1]] = before
            told = np.full((3, room), np.nan)
            told[:, : self._told.shape[1]] = self._told
            self._told = told
