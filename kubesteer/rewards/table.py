"""The reward table: the belief about every (pod type, node) pair, laid out to be read in microseconds.

One numpy row a pod type, one column a node. Records are stored as they were put; reading applies decay, and
`refresh`, which the owner calls from time to time, the priors. No I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from kubesteer.model.errors import InvalidRecord, InvalidSettings
from kubesteer.model.reward import EDITED, RewardRecord, parse_time
from kubesteer.rewards.parents import Fit, RowPrior

Floats = NDArray[np.float64]
ReadPolicy = Literal["beta", "ewma", "none"]

UNKNOWN = -1
"""The column of a node without records. It indexes a row's last slot, which never holds one."""
EWMA_FIRST_MEAN = 1.0
"""The belief of `ewma` about an untried pair; kubeRL's initial value."""
_FIRST_COLUMNS = 16
_MEAN, _EVIDENCE, _TIME_S, _FAILED_S, _PRIOR = range(5)


@dataclass(frozen=True, slots=True)
class Belief:
    """How records become beliefs. Raises InvalidSettings when a field breaks its rule."""

    prior_mean: float = 0.5
    """What is believed of a pair while nothing is known of its type or its node either, 0..1."""
    prior_evidence: float = 4.0
    """How many runs' worth a pair's prior is; above 0."""
    half_life_s: float = 6 * 3600.0
    """Evidence is worth half after this long; 1 or more, infinity for evidence that never fades."""
    policy: ReadPolicy = "beta"
    """beta: posterior mean, decayed, with a prior from the parents. ewma: the mean as stored, where there is evidence.
    none: no belief."""

    def __post_init__(self) -> None:
        if not 0 <= self.prior_mean <= 1:
            raise InvalidSettings(f"prior_mean {self.prior_mean!r} is not from 0 to 1")
        if not 0 < self.prior_evidence < np.inf:
            raise InvalidSettings(f"prior_evidence {self.prior_evidence!r} is not a finite number above 0")
        if not self.half_life_s >= 1:
            raise InvalidSettings(f"half_life_s {self.half_life_s!r} is not 1 or more")
        if self.policy not in get_args(ReadPolicy):
            raise InvalidSettings(f"policy {self.policy!r} is not one of {', '.join(get_args(ReadPolicy))}")


class Beliefs(NamedTuple):
    """One belief a column asked for, in that order."""

    mean: Floats
    """What is believed, 0..1: with policy beta the posterior mean."""
    evidence: Floats
    """What is left of the pair's own evidence, in runs' worth; 0 for an untried pair."""
    prior: Floats
    """What would be believed without that evidence."""


class Records(NamedTuple):
    """One record a column asked for, as it was put; evidence 0 and times 0 where there is none."""

    mean: Floats
    evidence: Floats
    time_s: Floats
    failed_s: Floats
    """Of the newest outcome below one half that the record shows; 0 where it shows only better ones, time_s where it
    shows nothing or somebody edited it."""


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
        self._changes = 0
        self._unseen = np.full(self._capacity + 1, self.belief.prior_mean)
        self._released: set[int] = set()
        self._refreshes = 0
        self._refreshed_at_s: float | None = None

    @property
    def columns_version(self) -> int:
        """Changes only when a node gains or loses its column; until then an answer of `columns` stays right."""
        return self._columns_version

    @property
    def changes(self) -> int:
        """Counts what was put and deleted: while it stays, a refresh would change priors by decay alone."""
        return self._changes

    @property
    def newest_time_s(self) -> float | None:
        """Unix time of the newest record, None for an empty table."""
        return max((float(row.cells[:, _TIME_S].max()) for row in self._rows.values()), default=None)

    @property
    def refreshed_at_s(self) -> float | None:
        """Unix time that the priors are of, None before the first refresh."""
        return self._refreshed_at_s

    @property
    def type_count(self) -> int:
        """Pod types with records."""
        return len(self._rows)

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
            row = self._rows[record.pod_type] = _Row(self._unseen)
        if record.node not in row.records:
            count = self._records_of_node.get(record.node, 0)
            self._records_of_node[record.node] = count + 1
            if count == 0:
                self._columns[record.node] = self._new_column()
                self._columns_version += 1
        row.put(self._columns[record.node], record)
        self._changes += 1

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
            self._release_column(self._columns.pop(node))
            self._columns_version += 1
        self._changes += 1

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

    def refresh(self, now_s: float) -> None:
        """Brings all priors up to what the records say at `now_s`; until the first time they are prior_mean."""
        deque(self.refresh_in_steps(now_s), maxlen=0)

    def refresh_in_steps(self, now_s: float) -> Iterator[None]:
        """The same with pauses, each after one row's worth of arithmetic; the table may change during them.

        What changes then counts in the next refresh, and one that is begun then ends this one. Only policy beta has
        priors.
        """
        self._refreshes += 1
        number = self._refreshes
        if self.belief.policy == "beta":
            for _ in self._refresh(now_s):
                yield
                if number != self._refreshes:
                    return

    def columns(self, names: Sequence[str]) -> NDArray[np.intp]:
        """The column of each node, UNKNOWN for a node without records; good until `columns_version` changes."""
        column = self._columns.get
        return np.array([column(name, UNKNOWN) for name in names], dtype=np.intp)

    def read(self, pod_type: str, columns: NDArray[np.intp], *, now_s: float) -> Beliefs:
        """What is believed at `now_s` of pods of this type on the nodes of these columns.

        With policy beta, evidence halves every half-life (a time in the future counts as now), and the mean is drawn
        towards the prior: (prior x prior_evidence + mean x evidence) / (prior_evidence + evidence).
        """
        belief = self.belief
        row = self._rows.get(pod_type)
        if belief.policy == "none" or row is None:
            unknown = self._unseen.take(columns, mode="wrap")
            if belief.policy == "ewma":
                unknown[:] = EWMA_FIRST_MEAN
            return Beliefs(unknown, np.zeros(len(columns)), unknown.copy())
        mean, evidence, time_s, _, prior = row.cells.take(columns, axis=0, mode="wrap").T
        if belief.policy == "ewma":
            mean[evidence <= 0] = EWMA_FIRST_MEAN
            return Beliefs(mean, evidence, np.full(len(columns), EWMA_FIRST_MEAN))
        evidence = self._left(evidence, time_s, now_s)
        posterior = mean * evidence
        posterior += prior * belief.prior_evidence
        posterior /= evidence + belief.prior_evidence
        return Beliefs(posterior, evidence, prior)

    def records(self, pod_type: str, columns: NDArray[np.intp]) -> Records:
        """What agents wrote of pods of this type on the nodes of these columns, undecayed."""
        row = self._rows.get(pod_type)
        if row is None:
            return Records(*np.zeros((4, len(columns))))
        return Records(*row.cells.take(columns, axis=0, mode="wrap").T[:_PRIOR])

    def _refresh(self, now_s: float) -> Iterator[None]:
        rows, columns = list(self._rows.values()), self._capacity
        self._released.clear()
        fit = Fit(columns, self.belief.prior_mean)
        for row in rows:
            mean, evidence, time_s, *_ = row.cells[:columns].T
            fit.count(mean, self._left(evidence, time_s, now_s))
            yield
        for number in range(len(rows)):
            fit.relate(number)
            yield
        for number, row in enumerate(rows):
            self._assign(row.cells[:, _PRIOR], fit.prior(number))
            yield
        self._assign(self._unseen, fit.unseen())
        self._refreshed_at_s = now_s

    def _left(self, evidence: Floats, time_s: Floats, now_s: float) -> Floats:
        """What is left of the evidence, as an array of its own."""
        left: Floats = now_s - time_s
        np.maximum(left, 0.0, out=left)
        left *= -1.0 / self.belief.half_life_s
        np.exp2(left, out=left)
        left *= evidence
        return left

    def _assign(self, slots: Floats, prior: RowPrior) -> None:
        """Columns that came or were released since the prior was begun know nothing of it."""
        slots[:] = prior.elsewhere
        slots[: len(prior.on_nodes)] = prior.on_nodes
        slots[list(self._released)] = prior.elsewhere

    def _new_column(self) -> int:
        if self._free:
            return self._free.pop()
        column = len(self._columns)
        if column == self._capacity:
            self._capacity *= 2
            self._unseen = _grown(self._unseen, self._capacity + 1, self._unseen[UNKNOWN])
            for row in self._rows.values():
                row.grow(self._capacity + 1)
        return column

    def _release_column(self, column: int) -> None:
        """Priors of the node that is gone must not be those of the next that gets its column."""
        for row in self._rows.values():
            row.cells[column, _PRIOR] = row.cells[UNKNOWN, _PRIOR]
        self._unseen[column] = self._unseen[UNKNOWN]
        self._released.add(column)
        self._free.append(column)


class _Row:
    """One pod type: a cell a column, and one more that stays empty for UNKNOWN.

    A cell is mean, evidence, time, time of failure and prior side by side, so that a read fetches them together.
    """

    __slots__ = ("cells", "records")

    def __init__(self, priors: Floats) -> None:
        self.cells: Floats = np.zeros((len(priors), _PRIOR + 1))
        self.cells[:, _MEAN] = EWMA_FIRST_MEAN
        self.cells[:, _PRIOR] = priors
        self.records: dict[str, RewardRecord] = {}

    def put(self, column: int, record: RewardRecord) -> None:
        self.cells[column, :_PRIOR] = record.mean, record.evidence, record.time_s, _failed_s(record)
        self.records[record.node] = record

    def clear(self, column: int, node: str) -> None:
        self.cells[column, :_PRIOR] = self.cells[UNKNOWN, :_PRIOR]
        del self.records[node]

    def grow(self, slots: int) -> None:
        self.cells = _grown(self.cells, slots, self.cells[UNKNOWN])


def _failed_s(record: RewardRecord) -> float:
    """See Records."""
    bad = record.extra.get("bad")
    if EDITED in record.extra or not isinstance(bad, list):
        return record.time_s
    if not bad:
        return 0.0 if record.extra.get("recent") else record.time_s
    try:
        return min(parse_time(bad[-1].get("time")), record.time_s)
    except (InvalidRecord, AttributeError):
        return record.time_s


def _grown(values: Floats, slots: int, filling: Floats | np.float64) -> Floats:
    """With more slots, each filled as an unknown node's."""
    grown: Floats = np.empty((slots, *values.shape[1:]))
    grown[:] = filling
    grown[: len(values)] = values
    return grown
