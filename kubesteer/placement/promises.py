"""Promises: what pods that were just answered for will take, until the watch tells what became of them.

kube-scheduler counts a pod at once; an extender hears of it only after it is bound. Without promises a burst of equal
pods would all see the same best node, and an SLO asked for by annotation, which kube-scheduler does not count, would be
promised twice. A pod sent to one node is assumed there, exactly, in the node table; one that may go to several is
charged to all of them (charges.py). A pod that preemption makes room for counts on its nominated node.

A promise ends when the watch shows its pod on a node, ended, gone, or not scheduled after all; else by time, but only
by time in which the watch was heard: a watch that is deaf tells nothing of what became of a pod. No clock here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.quantity import MOST
from kubesteer.placement.charges import Charges
from kubesteer.placement.pods import promised_amounts
from kubesteer.placement.table import NETWORK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.table import NodeTable


_MOST_PLACES = 4_000_000
"""Nodes of all promises together, 32 MB: beyond, while a watch is deaf, the oldest promises end."""


@dataclass(frozen=True, slots=True)
class _Promise:
    """taken_s: when, by the steady clock. version, unscheduled: the pod's, as the scheduler knew it then.

    places: nodes that it was made on.
    """

    taken_s: float
    version: int
    unscheduled: str
    is_unseen: bool
    places: int


@dataclass(frozen=True, slots=True)
class _Nominated:
    node: str
    priority: int
    amounts: tuple[int, ...]


class Promises:
    """At most one promise a pod UID."""

    def __init__(self, table: NodeTable, *, ttl_s: float) -> None:
        """ttl_s: how long a promise lives while the watch is heard and tells nothing of the pod; 0 makes none."""
        self._table = table
        self._ttl_s = ttl_s
        self._charges = Charges(len(table.assumed), on_end=self._drop)
        self._by_uid: OrderedDict[str, _Promise] = OrderedDict()
        self._nominated: dict[str, _Nominated] = {}
        self._unseen = 0
        self._places = 0
        table.on_gone(self._charges.drop_row)

    def __len__(self) -> int:
        self._charges.settle()
        return len(self._by_uid)

    @property
    def any_unseen(self) -> bool:
        """Whether some of what is promised is bandwidth that kube-scheduler does not count."""
        return self._unseen > 0 or bool(self._nominated)

    def take(self, pod: PodSummary, rows: NDArray[np.intp], clock_s: float) -> None:
        """The pod was just sent to one of these rows, -1 being none; in place of its earlier promise."""
        version = self._table.names_version
        self.end(pod.uid)
        rows = _each_once(rows[rows >= 0], self._table.capacity)
        if version != self._table.names_version:
            # The row of a node that is gone ends with the promise that kept it.
            rows = rows[[bool(self._table.names[row]) for row in rows.tolist()]]
        if self._ttl_s <= 0 or not rows.size or self._table.placed(pod.uid) is not None:
            return
        amounts = promised_amounts(pod.requests)
        if len(rows) == 1:
            self._table.assume(pod.uid, int(rows[0]), amounts)
        else:
            self._charges.take(pod.uid, rows, amounts)
        self._table.newcomers.put(pod.uid, pod.pod_type, rows, np.inf)
        is_unseen = any(pod.requests.by_annotation)
        self._unseen += is_unseen
        self._by_uid[pod.uid] = _Promise(clock_s, pod.version, pod.unscheduled, is_unseen, len(rows))
        self._places += len(rows)
        while self._places > _MOST_PLACES:
            self.end(next(iter(self._by_uid)))

    def end(self, uid: str) -> None:
        """What was promised to the pod is free again, or counted where it is now.

        Dropped first: as it is released, charges may end whose nodes are gone, and tell of it.
        """
        if self._drop(uid):
            self._table.forget(uid)
            self._charges.release(uid)

    def told(self, pod: PodSummary) -> None:
        """The watch tells of a pod."""
        if pod.node or pod.terminal:
            self.gone(pod.uid)
            return
        promise = self._by_uid.get(pod.uid)
        if promise is not None and _failed_since(promise, pod):
            self.end(pod.uid)
        if pod.nominated_node:
            self._nominated[pod.uid] = _Nominated(pod.nominated_node, pod.priority, promised_amounts(pod.requests))
        else:
            self._nominated.pop(pod.uid, None)

    def gone(self, uid: str) -> None:
        """The pod is placed, has ended, or is gone."""
        self.end(uid)
        self._nominated.pop(uid, None)

    def listed(self, uids: Collection[str], at_s: float) -> None:
        """These are all the pods that there were at at_s: of others, what was promised before is free."""
        for uid in [uid for uid, promise in self._by_uid.items() if promise.taken_s < at_s and uid not in uids]:
            self.end(uid)
        for uid in [uid for uid in self._nominated if uid not in uids]:
            del self._nominated[uid]

    def heard(self, at_s: float) -> None:
        """All that was told by at_s is known: promises that lived their time by then end."""
        while self._by_uid:
            uid, promise = next(iter(self._by_uid.items()))
            if at_s - promise.taken_s < self._ttl_s:
                return
            self.end(uid)

    def on(self, rows: NDArray[np.intp], pod: PodSummary) -> NDArray[np.int64] | None:
        """What is promised to others on these rows, as promised_amounts has it, (amounts, n); None where it is nothing.

        The pod never counts against itself, so that asking twice gives the same answer; nominated pods count where they
        are at least as important, as kube-scheduler counts them.
        """
        self._charges.settle()
        nominated = [
            one
            for uid, one in self._nominated.items()
            if uid != pod.uid and uid not in self._by_uid and one.priority >= pod.priority
        ]
        if not nominated and len(self._by_uid) == (pod.uid in self._by_uid):
            return None
        charged = self._charges.on(rows, without=pod.uid)
        # Each part is at most MOST, 2^61, so that three of them do not wrap.
        for part in (self._assumed_on(rows, pod), self._nominated_on(rows, nominated) if nominated else None):
            if part is not None:
                charged = part if charged is None else np.minimum(charged + part, MOST, out=part)
        return charged

    def _assumed_on(self, rows: NDArray[np.intp], pod: PodSummary) -> NDArray[np.int64] | None:
        table = self._table
        if not table.assumed_count:
            return None
        assumed = table.assumed.take(rows, axis=1)
        own = table.assumed_without(pod.uid)
        if own is not None:
            assumed[:, rows == own[0]] = np.array(own[1], np.int64)[:, None]
        return assumed

    def _nominated_on(self, rows: NDArray[np.intp], nominated: Sequence[_Nominated]) -> NDArray[np.int64]:
        table = self._table
        # -1 is the table's empty last row: nodes without a row take nothing.
        by_row = np.zeros((len(table.assumed), table.capacity))
        at = [table.rows.get(one.node, -1) for one in nominated]
        np.add.at(by_row.T, at, np.array([one.amounts for one in nominated], np.float64))
        by_row[:, -1] = 0
        return np.minimum(by_row.take(rows, axis=1), MOST).astype(np.int64)

    def _drop(self, uid: str) -> bool:
        promise = self._by_uid.pop(uid, None)
        if promise is not None:
            if self._table.placed(uid) is None:
                self._table.newcomers.drop(uid)
            self._unseen -= promise.is_unseen
            self._places -= promise.places
        return promise is not None


def unseen_bps(charged: NDArray[np.int64], directions: int) -> NDArray[np.int64]:
    """The part of what is promised that kube-scheduler does not count, (directions, n)."""
    return charged[NETWORK + directions :]


def _each_once(rows: NDArray[np.intp], capacity: int) -> NDArray[np.intp]:
    """A request may name a node twice."""
    if len(rows) < 2:
        return rows
    named = np.zeros(capacity, np.bool_)
    named[rows] = True
    return rows if np.count_nonzero(named) == len(rows) else np.flatnonzero(named)


def _failed_since(promise: _Promise, pod: PodSummary) -> bool:
    """Whether the pod's condition tells of an attempt that failed after the one that the promise was made in."""
    is_news = bool(pod.unscheduled) and pod.unscheduled != promise.unscheduled
    return is_news and (pod.version >= promise.version or not pod.version)
