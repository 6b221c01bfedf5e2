"""The reward table: the belief about every (pod type, node) pair, laid out to be read in microseconds.

One numpy row a pod type, one column a node. What is stored is what was put; decay and prior are applied by reading.
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import RewardRecord

Floats = NDArray[np.float64]

UNKNOWN = -1
"""The column of a node without records. It indexes a row's last slot, which never holds one."""
_FIRST_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class Belief:
    """How records become beliefs. Raises InvalidSettings when a field breaks its rule."""

    prior_mean: float = 0.5
    """What is believed of a pair that nobody has tried, 0..1."""
    prior_evidence: float = 2.0
    """How many runs' worth that belief is; above 0."""
    half_life_s: float = 6 * 3600.0
    """Evidence is worth half after this long; 1 or more, infinity for evidence that never fades."""

    def __post_init__(self) -> None:
        if not 0 <= self.prior_mean <= 1:
            raise InvalidSettings(f"prior_mean {self.prior_mean!r} is not from 0 to 1")
        if not 0 < self.prior_evidence < np.inf:
            raise InvalidSettings(f"prior_evidence {self.prior_evidence!r} is not a finite number above 0")
        if not self.half_life_s >= 1:
            raise InvalidSettings(f"half_life_s {self.half_life_s!r} is not 1 or more")


class Beliefs(NamedTuple):
    """One belief a column asked for, in that order."""

    mean: Floats
    """Posterior mean, 0..1."""
    evidence: Floats
    """What is left of the recorded evidence, in runs' worth; 0 for a pair that nobody has tried."""


class RewardTable:
    """Satisfies the clients' RewardSink. Not safe for use from several threads."""

    def __init__(self, belief: Belief | None = None) -> None:
        self.belief = belief or Belief()
        self._columns: dict[str, int] = {}
        self._free: list[int] = []
        self._rows: dict[str, _Row] = {}
        self._records_of_node: dict[str, int] = {}
        self._capacity = _FIRST_COLUMNS
        self._columns_version = 0

    @property
    def columns_version(self) -> int:
        """Changes only when a node gains or loses its column; until then an answer of `columns` stays right."""
        return self._columns_version

    @property
    def newest_time_s(self) -> float | None:
        """Unix time of the newest record, None for an empty table."""
        return max((float(row.time_s.max()) for row in self._rows.values()), default=None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is believed of any pair; cheap enough to be asked for every decision."""
        return not self._rows

    def __len__(self) -> int:
        return sum(self._records_of_node.values())

    def rows(self) -> Iterator[RewardRecord]:
        """Every record as it was put, grouped by pod type."""
        for row in self._rows.values():
            yield from row.records.values()

    def put(self, record: RewardRecord) -> None:
        """Takes the record in place of any earlier one of its pair."""
        row = self._rows.get(record.pod_type)
        if row is None:
            row = self._rows[record.pod_type] = _Row(self._capacity)
        if record.node not in row.records:
            count = self._records_of_node.get(record.node, 0)
            self._records_of_node[record.node] = count + 1
            if count == 0:
                self._columns[record.node] = self._new_column()
                self._columns_version += 1
        row.put(self._columns[record.node], record)

    def delete(self, node: str, pod_type: str) -> None:
        """Forgets a pair; a pair that is not there is no fault."""
        row = self._rows.get(pod_type)
        if row is None or node not in row.records:
            return
        row.clear(self._columns[node], node)
        if not row.records:
            del self._rows[pod_type]
        self._records_of_node[node] -= 1
        if self._records_of_node[node] == 0:
            del self._records_of_node[node]
            self._free.append(self._columns.pop(node))
            self._columns_version += 1

    def replace(self, records: Iterable[RewardRecord]) -> None:
        """Makes these records the whole table; of two for one pair the later counts. Nodes that stay keep their column.

        When `records` raises, the table is as it was.
        """
        wanted = {(record.pod_type, record.node): record for record in records}
        gone = [(r.node, r.pod_type) for r in self.rows() if (r.pod_type, r.node) not in wanted]
        for record in wanted.values():
            self.put(record)
        for node, pod_type in gone:
            self.delete(node, pod_type)

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """The column of each node, UNKNOWN for a node without records; good until `columns_version` changes."""
        column = self._columns.get
        return np.array([column(name, UNKNOWN) for name in names], dtype=np.intp)

    def read(self, pod_type: str, columns: NDArray[np.intp], *, now_s: float) -> Beliefs:
        """What is believed at `now_s` of pods of this type on the nodes of these columns.

        Evidence halves every half-life; a time in the future counts as now. The mean is drawn towards the prior by the
        prior's evidence: (prior_mean x prior_evidence + mean x evidence) / (prior_evidence + evidence).
        """
        belief = self.belief
        row = self._rows.get(pod_type)
        if row is None:
            return Beliefs(np.full(len(columns), belief.prior_mean), np.zeros(len(columns)))
        evidence = row.time_s.take(columns, mode="wrap")
        np.subtract(now_s, evidence, out=evidence)
        np.maximum(evidence, 0.0, out=evidence)
        evidence *= -1.0 / belief.half_life_s
        np.exp2(evidence, out=evidence)
        evidence *= row.evidence.take(columns, mode="wrap")
        mean = row.mean.take(columns, mode="wrap")
        mean *= evidence
        mean += belief.prior_mean * belief.prior_evidence
        mean /= evidence + belief.prior_evidence
        return Beliefs(mean, evidence)

    def _new_column(self) -> int:
        if self._free:
            return self._free.pop()
        column = len(self._columns)
        if column == self._capacity:
            self._capacity *= 2
            for row in self._rows.values():
                row.grow(self._capacity)
        return column


class _Row:
    """One pod type: arrays with a slot a column, and one slot more that stays empty for UNKNOWN."""

    __slots__ = ("evidence", "mean", "records", "time_s")

    def __init__(self, capacity: int) -> None:
        self.mean: Floats = np.zeros(capacity + 1)
        self.evidence: Floats = np.zeros(capacity + 1)
        self.time_s: Floats = np.zeros(capacity + 1)
        self.records: dict[str, RewardRecord] = {}

    def put(self, column: int, record: RewardRecord) -> None:
        self.mean[column] = record.mean
        self.evidence[column] = record.evidence
        self.time_s[column] = record.time_s
        self.records[record.node] = record

    def clear(self, column: int, node: str) -> None:
        self.mean[column] = self.evidence[column] = self.time_s[column] = 0.0
        del self.records[node]

    def grow(self, capacity: int) -> None:
        more = capacity + 1 - len(self.mean)
        self.mean, self.evidence, self.time_s = (
            np.concatenate([old, np.zeros(more)]) for old in (self.mean, self.evidence, self.time_s)
        )
