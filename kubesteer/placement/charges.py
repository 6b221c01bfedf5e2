"""Tentative charges: what a pod just sent to a node will take there, until the watch tells of it.

kube-scheduler counts a pod at once; an extender hears of it only after it is bound. Without charges a burst of equal
pods would all see the same best node. Time comes in as an argument; nothing here decides.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.requests import PodRequests


@dataclass(frozen=True, slots=True)
class _Charge:
    rows: NDArray[np.intp]
    share: NDArray[np.float64]
    taken_s: float


class Charges:
    """One charge a pod UID, spread evenly over the nodes that the scheduler may choose; each expires after ttl_s."""

    def __init__(self, resources: int, ttl_s: float) -> None:
        self._resources = resources
        self._ttl_s = ttl_s
        self._by_uid: OrderedDict[str, _Charge] = OrderedDict()
        self._totals = np.zeros((resources, 0))

    def __len__(self) -> int:
        return len(self._by_uid)

    def take(self, uid: str, rows: NDArray[np.intp], requests: PodRequests, now_s: float) -> None:
        """Charge the pod to these rows, in place of any charge it had; -1, a node without a row, takes none."""
        self.release(uid)
        rows = rows[rows >= 0]
        if self._ttl_s <= 0 or not rows.size:
            return
        # Non-zero amounts, or a burst of pods that ask for nothing would leave no mark.
        amounts = np.array((requests.nonzero_cpu_m, requests.nonzero_memory_b, *requests.network_bps), np.float64)
        charge = _Charge(rows, amounts / len(rows), now_s)
        self._grow_to(int(rows.max()) + 1)
        self._by_uid[uid] = charge
        self._totals[:, rows] += charge.share[:, None]

    def release(self, uid: str) -> None:
        """The pod was seen on a node, or is gone: its charge ends."""
        charge = self._by_uid.pop(uid, None)
        if charge is not None:
            self._totals[:, charge.rows] -= charge.share[:, None]
            if not self._by_uid:
                self._totals[:] = 0.0

    def expire(self, now_s: float) -> None:
        """End the charges that are older than their time."""
        while self._by_uid:
            uid, charge = next(iter(self._by_uid.items()))
            if now_s - charge.taken_s < self._ttl_s:
                return
            self.release(uid)

    def release_row(self, row: int) -> None:
        """The node of this row is gone: whatever was promised there ends, before the row gets another name."""
        for uid in [uid for uid, charge in self._by_uid.items() if row in charge.rows]:
            self.release(uid)

    def on(self, rows: NDArray[np.intp], *, without: str) -> NDArray[np.int64] | None:
        """What others are charged on these rows, (resources, n); None where there is nothing.

        The pod `without` never counts against itself, so that asking twice gives the same answer.
        """
        own = self._by_uid.get(without)
        if not self._by_uid or (own is not None and len(self._by_uid) == 1):
            return None
        totals = self._totals
        if rows.size and int(rows.max()) >= totals.shape[1]:
            self._grow_to(int(rows.max()) + 1)
            totals = self._totals
        if own is not None:
            totals = totals.copy()
            totals[:, own.rows] -= own.share[:, None]
        charged = np.rint(totals.take(rows, axis=1)).astype(np.int64)
        charged[:, rows < 0] = 0
        return np.maximum(charged, 0)

    def _grow_to(self, rows: int) -> None:
        if rows > self._totals.shape[1]:
            grown = np.zeros((self._resources, max(rows, 2 * self._totals.shape[1])))
            grown[:, : self._totals.shape[1]] = self._totals
            self._totals = grown
