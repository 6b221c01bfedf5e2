"""Sums by resource and node-table row that never wrap: exact inside, shown as int64. No nodes and no pods here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubesteer.model.quantity import MOST


class Sums:
    """What is counted on each row. columns: int64 (resources, rows), each sum cut at MOST, so that three still add."""

    def __init__(self, resources: int, rows: int) -> None:
        self.columns: NDArray[np.int64] = np.zeros((resources, rows), np.int64)
        self._exact = [[0] * rows for _ in range(resources)]

    def add(self, row: int, amounts: Sequence[int], sign: int) -> None:
        """Count the amounts in (sign 1) or out (-1)."""
        for resource, amount in enumerate(amounts):
            if amount:
                exact = self._exact[resource]
                exact[row] += sign * amount
                self.columns[resource, row] = min(exact[row], MOST)

    def without(self, row: int, amounts: Sequence[int]) -> list[int]:
        """The row's sums as they would be without these amounts."""
        return [min(exact[row] - amount, MOST) for exact, amount in zip(self._exact, amounts, strict=True)]

    def grow(self, rows: int) -> None:
        """Room for so many rows."""
        more = rows - self.columns.shape[1]
        self.columns = np.pad(self.columns, ((0, 0), (0, more)))
        for exact in self._exact:
            exact.extend([0] * more)
