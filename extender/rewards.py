"""The reward of one pod type on candidate rows: joins the reward table's columns to the node table's rows.

No learning and no I/O here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.candidates import Opinion
from kubesteer.placement.table import stable_hash
from kubesteer.rewards.probation import all_open, believed_bad, cut_short, shut_until, standings
from kubesteer.rewards.sampling import beta_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.clients.rewards.port import RewardSource
    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.table import NodeTable
    from kubesteer.rewards.probation import Probation
    from kubesteer.rewards.table import RewardTable

    Rows = NDArray[np.intp]
    Hashes = NDArray[np.uint64]


class RewardView:
    """Reads rewards for node-table rows; neutral (None) while there are none, or the store was away for too long."""

    def __init__(
        self,
        rewards: RewardTable,
        source: RewardSource,
        nodes: NodeTable,
        *,
        stale_after_s: float,
        sample_seed: int | None = None,
        probation: Probation | None = None,
        repaired_s: Callable[[Sequence[str]], NDArray[np.float64]] | None = None,
    ) -> None:
        """sample_seed: choose by Thompson samples of this seed. probation: by this rule. Neither: by the mean.

        repaired_s: when nodes, by name, last showed a sign of repair, -inf where they did not; None: nobody knows.
        """
        self.rewards = rewards
        self.source = source
        self._nodes = nodes
        self._stale_after_s = stale_after_s
        self._sample_seed = sample_seed
        self._probation = probation
        self._repaired_s = repaired_s
        self._versions = (-1, -1)
        self._column_of_row: NDArray[np.intp] = np.zeros(0, np.intp)

    def is_stale(self) -> bool:
        """The store has not been heard of for longer than the settings allow."""
        age_s = self.source.last_contact_age_s()
        return age_s is None or age_s > self._stale_after_s

    def is_neutral(self) -> bool:
        """Rewards have no say."""
        return self.rewards.is_empty or self.rewards.belief.policy == "none" or self.is_stale()

    def on(self, rows: NDArray[np.intp], pod: PodSummary, now_s: float) -> Opinion | None:
        """The opinion of the pod's type on each row; of a row of -1, of a node that nothing is known of."""
        if self.is_neutral():
            return None
        if (self._nodes.names_version, self.rewards.columns_version) != self._versions:
            self._join()
        # The last entry answers for -1.
        columns = self._column_of_row[rows]
        nodes = self._nodes
        return self._opinion(
            columns,
            pod,
            now_s,
            lambda place: nodes.names[rows[place]] if rows[place] >= 0 else "",
            lambda: rows,
            lambda: nodes.name_hash.take(rows),
        )

    def _join(self) -> None:
        """Columns of rows: of those with another name, or of all where columns moved."""
        nodes, columns = self._nodes, self.rewards.columns
        names_version, columns_version = self._versions
        renamed = nodes.renamed_since(names_version) if columns_version == self.rewards.columns_version else None
        if renamed is None or len(nodes.names) >= len(self._column_of_row):
            self._column_of_row = np.full(2 * len(nodes.names) + 1, -1, np.intp)
            renamed = range(len(nodes.names))
        if renamed:
            self._column_of_row[list(renamed)] = columns([nodes.names[row] for row in renamed])
        self._versions = (nodes.names_version, self.rewards.columns_version)

    def for_names(self, names: Sequence[str], pod: PodSummary, now_s: float) -> Opinion | None:
        """The same for nodes that came with the request."""
        if self.is_neutral():
            return None
        columns = self.rewards.columns(names)
        return self._opinion(
            columns, pod, now_s, names.__getitem__, lambda: self._nodes.find(names), lambda: _hashes(names)
        )

    def _opinion(
        self,
        columns: Rows,
        pod: PodSummary,
        now_s: float,
        name_at: Callable[[int], str],
        rows: Callable[[], Rows],
        hashes: Callable[[], Hashes],
    ) -> Opinion:
        """The pod is the decision: filter, prioritize and a later attempt of the same pod draw the same sample.

        name_at: of the node at a place; rows: of all in the node table; hashes: of their names.
        """
        beliefs = self.rewards.read(pod.pod_type, columns, now_s=now_s)
        if self._probation is not None:
            records = self.rewards.records(pod.pod_type, columns)
            bad = believed_bad(beliefs, records, self.rewards.belief.prior_evidence, self._probation.short_by)
            if not records.failed_s.any():
                return Opinion(*beliefs, None, all_open(beliefs))
            until_s = shut_until(records, self._probation, hashes(), stable_hash(pod.pod_type))
            if self._repaired_s is not None:
                repaired_s, some = np.full(len(bad), -np.inf), np.flatnonzero(bad)
                repaired_s[some] = self._repaired_s([name_at(place) for place in some.tolist()])
                until_s = cut_short(until_s, records, repaired_s)
            newest_s = self._nodes.newcomers.newest_s(pod.pod_type, rows(), now_s, without=pod.uid)
            return Opinion(*beliefs, None, standings(beliefs, records, bad, until_s, newest_s, now_s))
        sample = None
        if self._sample_seed is not None:
            evidence = beliefs.evidence + self.rewards.belief.prior_evidence
            decision = stable_hash(pod.uid)
            sample = beta_samples(beliefs.mean, evidence, hashes(), decision=decision, seed=self._sample_seed)
        return Opinion(beliefs.mean, beliefs.evidence, beliefs.prior, sample)


def _hashes(names: Sequence[str]) -> Hashes:
    return np.array([stable_hash(name) for name in names], np.uint64)
