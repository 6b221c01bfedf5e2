"""The reward of one pod type on candidate rows: joins the reward table's columns to the node table's rows.

No learning and no I/O here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.clients.rewards.port import RewardSource
    from kubesteer.placement.table import NodeTable
    from kubesteer.rewards.table import Beliefs, RewardTable


class RewardView:
    """Reads rewards for node-table rows; neutral (None) while there are none, or the store was away for too long."""

    def __init__(self, rewards: RewardTable, source: RewardSource, nodes: NodeTable, *, stale_after_s: float) -> None:
        self.rewards = rewards
        self.source = source
        self._nodes = nodes
        self._stale_after_s = stale_after_s
        self._versions = (-1, -1)
        self._column_of_row: NDArray[np.intp] = np.zeros(0, np.intp)

    def is_stale(self) -> bool:
        """The store has not been heard of for longer than the settings allow."""
        age_s = self.source.status().last_contact_age_s
        return age_s is None or age_s > self._stale_after_s

    def on(self, rows: NDArray[np.intp], pod_type: str, now_s: float) -> Beliefs | None:
        """Mean and evidence for each row; a row of -1 gets the prior."""
        if self.rewards.is_empty or self.is_stale():
            return None
        versions = (self._nodes.names_version, self.rewards.columns_version)
        if versions != self._versions:
            self._column_of_row = np.append(self.rewards.columns(self._nodes.names), np.intp(-1))
            self._versions = versions
        # The last entry answers for -1.
        return self.rewards.read(pod_type, self._column_of_row[rows], now_s=now_s)

    def for_names(self, names: list[str], pod_type: str, now_s: float) -> Beliefs | None:
        """The same for nodes that came with the request."""
        if self.rewards.is_empty or self.is_stale():
            return None
        return self.rewards.read(pod_type, self.rewards.columns(names), now_s=now_s)
