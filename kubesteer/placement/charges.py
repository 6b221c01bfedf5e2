"""Charges: what a pod will take on one of several nodes, while it is not known which; spread evenly over them.

How exact that is: the shares of one charge sum to what the pod asks for, rounded up to whole units on each node, so a
node may be promised up to all but one share more than it is charged. Where one node is known, the node table assumes
the pod there instead, exactly. When a charge ends is decided in promises.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.quantity import MOST

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Charge:
    """amounts: of the pod. share: float64 (resources,), of each row."""

    rows: NDArray[np.intp]
    amounts: Sequence[int]
    share: NDArray[np.float64]


def _spread(rows: NDArray[np.intp], amounts: Sequence[int]) -> _Charge:
    count = len(rows)
    return _Charge(rows, amounts, np.array([-(-amount // count) for amount in amounts], np.float64))


class Charges:
    """One charge a pod UID over node-table rows. Sums are whole numbers in floating point: they never wrap."""

    def __init__(self, resources: int, *, on_end: Callable[[str], object] = lambda _: None) -> None:
        """on_end is told the pod of a charge that ends because none of its nodes is left."""
        self._on_end = on_end
        self._by_uid: dict[str, _Charge] = {}
        self._totals = np.zeros((0, resources))
        """By row: a charge touches few rows and every resource."""
        self._gone: list[int] = []

    def __len__(self) -> int:
        self.settle()
        return len(self._by_uid)

    def take(self, uid: str, rows: NDArray[np.intp], amounts: Sequence[int]) -> None:
        """Charge the pod to these rows, each of them once and none -1, in place of any charge it had."""
        self.release(uid)
        self._grow_to(int(rows.max()) + 1)
        charge = self._by_uid[uid] = _spread(rows, amounts)
        self._totals[rows] += charge.share

    def release(self, uid: str) -> None:
        """The charge ends."""
        self.settle()
        charge = self._by_uid.pop(uid, None)
        if charge is not None:
            self._totals[charge.rows] -= charge.share
            self._forget_rounding()

    def drop_row(self, row: int) -> None:
        """The node of this row is gone: its shares go to the nodes that are left.

        It is done by settle, for all rows that went by then: deletions come in numbers.
        """
        if self._by_uid:
            self._gone.append(row)

    def settle(self) -> None:
        """Spread anew what was charged to nodes that are gone; every other call here begins with it."""
        if not self._gone:
            return
        gone = np.zeros(len(self._totals), np.bool_)
        gone[[row for row in self._gone if row < len(gone)]] = True
        self._gone.clear()
        for uid, charge in list(self._by_uid.items()):
            here = gone[charge.rows]
            if here.all():
                del self._by_uid[uid]
                self._on_end(uid)
            elif here.any():
                left = self._by_uid[uid] = _spread(charge.rows[~here], charge.amounts)
                self._totals[left.rows] += left.share - charge.share
        self._totals[gone] = 0.0
        self._forget_rounding()

    def on(self, rows: NDArray[np.intp], *, without: str) -> NDArray[np.int64] | None:
        """What is charged on these rows, (resources, n), up to MOST, but for one pod; None where there is nothing.

        On a row of -1 there is nothing.
        """
        self.settle()
        own = self._by_uid.get(without)
        if len(self._by_uid) == (own is not None):
            return None
        self._grow_to(int(rows.max(initial=-1)) + 1)
        charged = self._totals.take(rows, axis=0)
        if own is not None:
            here = np.zeros(len(self._totals))
            here[own.rows] = 1.0
            charged -= here.take(rows)[:, None] * own.share
        np.minimum(charged, MOST, out=charged)
        return charged.T.astype(np.int64, order="C")

    def _forget_rounding(self) -> None:
        """Sums beyond 2^53 are rounded; that must not outlive the charges."""
        if not self._by_uid:
            self._totals[:] = 0.0

    def _grow_to(self, rows: int) -> None:
        """Room for so many rows, and a last one that stays empty: -1 reads it."""
        before = self._totals
        if rows >= len(before):
            self._totals = np.zeros((max(rows + 1, 2 * len(before)), before.shape[1]))
            self._totals[: len(before)] = before
