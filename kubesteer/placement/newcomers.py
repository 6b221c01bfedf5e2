"""Pods that came to a node a short while ago, or were sent there, by type: their outcome is not known yet.

The node table keeps it; the rule that tries one pod at a time reads it. No clock: times come from the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEW_FOR_S = 900.0
"""A pod that is on its node for longer has an outcome, or will have none."""
_FEWEST_TO_SWEEP = 1024


class Newcomers:
    """Pods by type, then by UID: rows and unix time of arrival, infinite for one that is on its way to one of them."""

    def __init__(self) -> None:
        self._types: dict[str, dict[str, tuple[NDArray[np.intp], float]]] = {}
        self._type_of: dict[str, str] = {}
        self._newest_s = 0.0
        self._sweep_at = _FEWEST_TO_SWEEP

    def __len__(self) -> int:
        return len(self._type_of)

    def put(self, uid: str, pod_type: str, rows: NDArray[np.intp], at_s: float) -> None:
        """The pod is on one of these rows since then."""
        self.drop(uid)
        if at_s != np.inf:
            if at_s < self._newest_s - NEW_FOR_S:
                return
            self._newest_s = max(self._newest_s, at_s)
        self._types.setdefault(pod_type, {})[uid] = rows, at_s
        self._type_of[uid] = pod_type
        if len(self._type_of) >= self._sweep_at:
            self._sweep()

    def drop(self, uid: str) -> None:
        """The pod is gone from its row; one that is not here changes nothing."""
        pod_type = self._type_of.pop(uid, None)
        if pod_type is not None:
            of_type = self._types[pod_type]
            del of_type[uid]
            if not of_type:
                del self._types[pod_type]

    def newest_s(self, pod_type: str, rows: NDArray[np.intp], now_s: float, *, without: str) -> NDArray[np.float64]:
        """When the newest pod of the type came to each row, -inf where none did lately; `without`, a UID, never counts.

        A row of -1 has no pods.
        """
        newest_s = np.full(int(rows.max(initial=-1)) + 2, -np.inf)
        for uid, (of_pod, at_s) in self._types.get(pod_type, {}).items():
            if at_s > now_s - NEW_FOR_S and uid != without:
                asked = of_pod[of_pod < len(newest_s) - 1]
                newest_s[asked] = np.maximum(newest_s[asked], at_s)
        return newest_s[rows]

    def _sweep(self) -> None:
        """Drops who is new no more. The next time is at twice of what is left, so a pod costs the same whenever."""
        oldest_s = self._newest_s - NEW_FOR_S
        for of_type in list(self._types.values()):
            for uid in [uid for uid, (_, at_s) in of_type.items() if at_s < oldest_s]:
                self.drop(uid)
        self._sweep_at = max(2 * len(self._type_of), _FEWEST_TO_SWEEP)
