"""The node table: one row a node, one numpy column a quantity, updated in O(1) per event.

Pods are kept as the few numbers that count. A row lives while its Node exists or pods are placed or assumed on its
name, so that events may come in any order; then it is reused. No decision is made here, and nothing here reads a clock.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NO_CAPACITY
from kubesteer.placement.newcomers import Newcomers
from kubesteer.placement.pods import AssumedPod, PlacedPod
from kubesteer.placement.sums import Sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import MeasuredTraffic, NodeSummary, PodSummary
    from kubesteer.model.requests import PodRequests

CPU, MEMORY = 0, 1
"""First two resource columns; the network directions follow in the order of the settings."""
NETWORK = 2
_FIRST_ROWS = 64
_RENAMES_KEPT = 1024
_ROW_BYTES = np.dtype(np.intp).itemsize
_REMEMBERED_REQUESTS = 4096
_COLUMNS = (
    "allocatable",
    "room_bps",
    "measured_bps",
    "measured_at_s",
    "limit_bps",
    "limit_at_s",
    "known",
    "ready",
    "usable",
    "open",
    "name_hash",
)


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a node's agent tells of its network. limit_bps: by direction, NO_CAPACITY where it is not known."""

    measured: MeasuredTraffic | None
    limit_bps: tuple[int, ...]
    time_s: float


def is_slower(limit_bps: NDArray[np.int64], capacity_bps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the link carries less than the node publishes.

    Read as unsigned, NO_CAPACITY is above every number: a limit that is not known is never the lower one, and one that
    is known always is where nothing is published.
    """
    slower: NDArray[np.bool_] = limit_bps.view(np.uint64) < capacity_bps.view(np.uint64)
    return slower


def stable_hash(text: str) -> int:
    """32 bits that are the same in every process: for ties, never for secrets."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


class NodeTable:
    """Nodes and what is promised on them.

    Columns (int64, indexed [resource, row]): allocatable and requested over CPU (millicores), memory (bytes) and one
    row of bit/s a direction; nonzero_requested over CPU and memory; assumed as promised_amounts has them. allocatable
    is NO_CAPACITY where a direction is not published; room_bps is what is left of it, NO_CAPACITY likewise. Sums are
    exact and shown up to quantity.MOST. known, ready and usable are flags a row, open is all three; name_hash breaks
    ties.
    measured_bps and measured_at_s hold traffic seen, the newer of what the Node object and the agent tell.
    limit_bps (NO_CAPACITY where not known) and limit_at_s hold what the links carry, by the agents.
    """

    def __init__(self, directions: int, links: Mapping[str, LinkState] | None = None) -> None:
        """links: what is known of nodes before they appear."""
        self.directions = directions
        self.rows: dict[str, int] = {}
        self.row_bytes: dict[str, bytes] = {}
        self.names: list[str] = []
        self.faults: dict[int, str] = {}
        self.names_version = 0
        """Goes up by one whenever a row gets another name."""
        self._renames: deque[int] = deque(maxlen=_RENAMES_KEPT)
        self.links: dict[str, LinkState] = dict(links or {})
        """By node name, of nodes that are not known too."""
        self.slow_rows: set[int] = set()
        """Where an agent told that the link carries less than the node publishes, fresh or not."""
        self._told_by_object: dict[str, MeasuredTraffic] = {}
        self.newcomers = Newcomers()
        self._pods: dict[str, PlacedPod] = {}
        self._assumed: dict[str, AssumedPod] = {}
        self._equal_requests: dict[PodRequests, PodRequests] = {}
        self._pods_on: list[int] = []
        self._free: list[int] = []
        self._listeners: list[Callable[[int], None]] = []
        self._ranges: list[tuple[int, int] | None] | None = None
        resources = NETWORK + directions
        self._requested = Sums(resources, _FIRST_ROWS)
        self._nonzero = Sums(2, _FIRST_ROWS)
        self._promised = Sums(resources + directions, _FIRST_ROWS)
        self._allocate(_FIRST_ROWS)

    def _allocate(self, rows: int) -> None:
        self.allocatable = np.zeros((NETWORK + self.directions, rows), np.int64)
        self.room_bps = np.full((self.directions, rows), NO_CAPACITY, np.int64)
        self.measured_bps = np.zeros((self.directions, rows), np.float64)
        self.measured_at_s = np.full(rows, -np.inf)
        self.limit_bps = np.full((self.directions, rows), NO_CAPACITY, np.int64)
        self.limit_at_s = np.full(rows, -np.inf)
        self.known = np.zeros(rows, np.bool_)
        self.ready = np.zeros(rows, np.bool_)
        self.usable = np.zeros(rows, np.bool_)
        self.open = np.zeros(rows, np.bool_)
        self.name_hash = np.zeros(rows, np.uint64)

    @property
    def requested(self) -> NDArray[np.int64]:
        """Of placed pods."""
        return self._requested.columns

    @property
    def nonzero_requested(self) -> NDArray[np.int64]:
        """Of placed pods, with defaults for containers that ask for nothing."""
        return self._nonzero.columns

    @property
    def assumed(self) -> NDArray[np.int64]:
        """Of assumed pods."""
        return self._promised.columns

    @property
    def capacity(self) -> int:
        """Rows there is room for; the last stays empty, so that -1, which find gives for no row, reads nothing."""
        return int(self.known.shape[0])

    @property
    def node_count(self) -> int:
        """Nodes that exist."""
        return int(np.count_nonzero(self.known))

    @property
    def pod_count(self) -> int:
        """Pods that are placed and not terminal."""
        return len(self._pods)

    def on_gone(self, listener: Callable[[int], None]) -> None:
        """The listener is told each row whose node is gone, before the row can get another name."""
        self._listeners.append(listener)

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""
        row = self._row(node.name)
        network = (*node.network_bps, *[NO_CAPACITY] * (self.directions - len(node.network_bps)))
        before = self.allocatable[:, row].tolist() if self.known[row] else None
        now = [node.cpu_m, node.memory_b, *network[: self.directions]]
        if before != now:
            self.allocatable[:, row] = now
            self._ranges = None
        self.known[row] = True
        self.ready[row] = node.ready
        self.usable[row] = node.fault is None
        self.open[row] = node.ready and node.fault is None
        if node.fault is None:
            self.faults.pop(row, None)
        else:
            self.faults[row] = node.fault
        if node.measured is None:
            self._told_by_object.pop(node.name, None)
        else:
            self._told_by_object[node.name] = node.measured
        self._measure_room(row)
        self._join(node.name, row)

    def delete_node(self, name: str) -> None:
        """A node is gone; what is promised on its name stays counted until its pods are gone too."""
        row = self.rows.get(name)
        if row is None:
            return
        if self.known[row]:
            self._ranges = None
            for listener in self._listeners:
                listener(row)
        self.known[row] = self.ready[row] = self.usable[row] = self.open[row] = False
        self.faults.pop(row, None)
        self.allocatable[:, row] = 0
        self.allocatable[NETWORK:, row] = self.room_bps[:, row] = NO_CAPACITY
        self.measured_at_s[row] = self.limit_at_s[row] = -np.inf
        self.slow_rows.discard(row)
        self._told_by_object.pop(name, None)
        self._release_if_empty(row)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended; pods that are pending or terminal take nothing."""
        if not pod.node or pod.terminal:
            self.delete_pod(pod.uid)
            return
        before = self._pods.get(pod.uid)
        if before is not None and (
            before.requests == pod.requests and before.priority == pod.priority and self.names[before.row] == pod.node
        ):
            return
        row = self._row(pod.node)
        self._pods_on[row] += 1  # the row keeps its name while its only pod is counted anew
        self.delete_pod(pod.uid)
        requests = self._equal_requests.setdefault(pod.requests, pod.requests)
        if len(self._equal_requests) > _REMEMBERED_REQUESTS:
            self._equal_requests.clear()
        placed = PlacedPod(row, sys.intern(pod.namespace), pod.name, pod.priority, requests)
        self._pods[pod.uid] = placed
        self._count(placed, 1)
        self._pods_on[row] -= 1
        self.newcomers.put(pod.uid, pod.pod_type, np.array([placed.row]), pod.placed_s)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        placed = self._pods.pop(uid, None)
        if placed is not None:
            self._count(placed, -1)
            self.newcomers.drop(uid)
            self._release_if_empty(placed.row)

    def assume(self, uid: str, row: int, amounts: tuple[int, ...]) -> None:
        """A pod was sent to this row and takes `amounts` there (see promised_amounts) until it is forgotten.

        The row keeps its name for so long.
        """
        self._pods_on[row] += 1  # before the old one is forgotten, which may be all that keeps the row
        self.forget(uid)
        self._assumed[uid] = AssumedPod(row, amounts)
        self._promised.add(row, amounts, 1)

    def forget(self, uid: str) -> None:
        """The pod is not assumed any more; one that never was changes nothing."""
        assumed = self._assumed.pop(uid, None)
        if assumed is not None:
            self._promised.add(assumed.row, assumed.amounts, -1)
            self._pods_on[assumed.row] -= 1
            self._release_if_empty(assumed.row)

    def assumed_without(self, uid: str) -> tuple[int, list[int]] | None:
        """The row where this pod is assumed, and what all others are assumed to take there; None where it is not."""
        assumed = self._assumed.get(uid)
        return None if assumed is None else (assumed.row, self._promised.without(assumed.row, assumed.amounts))

    @property
    def assumed_count(self) -> int:
        """Pods that are assumed."""
        return len(self._assumed)

    def capacity_ranges(self) -> Sequence[tuple[int, int] | None]:
        """By direction the smallest and the largest capacity of every node that has some, in bit/s; else None."""
        if self._ranges is None:
            self._ranges = [self._range_of(d) for d in range(self.directions)]
        return self._ranges

    def _range_of(self, direction: int) -> tuple[int, int] | None:
        capacity_bps = self.allocatable[NETWORK + direction]
        capacity_bps = capacity_bps[self.known & (capacity_bps > 0)]
        return (int(capacity_bps.min()), int(capacity_bps.max())) if capacity_bps.size else None

    def put_link(self, name: str, link: LinkState) -> None:
        """An agent told of its node's network. Of a node that is not known it is kept until the node appears."""
        self.links[name] = link
        self._rejoin(name)

    def delete_link(self, name: str) -> None:
        """Nothing is told of the node's network any more."""
        if self.links.pop(name, None) is not None:
            self._rejoin(name)

    def replace_links(self, links: Mapping[str, LinkState]) -> None:
        """These are all that is told."""
        gone = self.links.keys() - links.keys()
        for name, link in links.items():
            self.put_link(name, link)
        for name in gone:
            self.delete_link(name)

    def placed(self, pod_uid: str) -> PlacedPod | None:
        """The pod, where it is on a node."""
        return self._pods.get(pod_uid)

    def find(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Rows of the names in their order, -1 for a name without a row."""
        try:
            return np.frombuffer(b"".join(map(self.row_bytes.__getitem__, names)), np.intp)
        except KeyError:
            return np.array([self.rows.get(name, -1) for name in names], np.intp)

    def renamed_since(self, version: int) -> Sequence[int] | None:
        """Rows that got another name since names_version was this, newest first; None: too long ago to be told."""
        count = self.names_version - version
        return list(islice(reversed(self._renames), count)) if count <= len(self._renames) else None

    def _rejoin(self, name: str) -> None:
        row = self.rows.get(name)
        if row is not None and self.known[row]:
            self._join(name, row)

    def _join(self, name: str, row: int) -> None:
        """Puts what is told of a node's network into its row."""
        link = self.links.get(name)
        told = [self._told_by_object.get(name), link.measured if link else None]
        newest = max((one for one in told if one), key=lambda one: one.time_s, default=None)
        if newest is None:
            self.measured_at_s[row] = -np.inf
        else:
            self.measured_bps[:, row] = newest.rate_bps
            self.measured_at_s[row] = newest.time_s
        if link is None:
            self.limit_at_s[row] = -np.inf
        else:
            self.limit_bps[:, row] = link.limit_bps
            self.limit_at_s[row] = link.time_s
        self.slow_rows.discard(row)
        if link is not None and is_slower(self.limit_bps[:, row], self.allocatable[NETWORK:, row]).any():
            self.slow_rows.add(row)

    def _count(self, placed: PlacedPod, sign: int) -> None:
        row, requests = placed.row, placed.requests
        self._requested.add(row, (requests.cpu_m, requests.memory_b, *requests.network_bps), sign)
        self._nonzero.add(row, (requests.nonzero_cpu_m, requests.nonzero_memory_b), sign)
        self._pods_on[row] += sign
        if any(requests.network_bps):
            self._measure_room(row)

    def _measure_room(self, row: int) -> None:
        for direction in range(self.directions):
            capacity_bps = int(self.allocatable[NETWORK + direction, row])
            left_bps = max(capacity_bps - int(self.requested[NETWORK + direction, row]), 0)
            self.room_bps[direction, row] = left_bps if capacity_bps != NO_CAPACITY else NO_CAPACITY

    def _row(self, name: str) -> int:
        row = self.rows.get(name)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
            self._pods_on.append(0)
            if row == self.capacity - 1:
                self._grow()
        self.rows[name] = row
        self.row_bytes[name] = row.to_bytes(_ROW_BYTES, sys.byteorder)
        self.name_hash[row] = stable_hash(name)
        self.allocatable[NETWORK:, row] = self.room_bps[:, row] = NO_CAPACITY
        self._note_rename(row)
        return row

    def _release_if_empty(self, row: int) -> None:
        if self.known[row] or self._pods_on[row]:
            return
        for listener in self._listeners:
            listener(row)
        name = self.names[row]
        del self.rows[name], self.row_bytes[name]
        self.names[row] = ""
        self._free.append(row)
        self._note_rename(row)

    def _note_rename(self, row: int) -> None:
        self.names_version += 1
        self._renames.append(row)

    def _grow(self) -> None:
        rows = self.capacity
        before = {column: getattr(self, column) for column in _COLUMNS}
        self._allocate(rows * 2)
        for column, values in before.items():
            getattr(self, column)[..., :rows] = values
        for sums in (self._requested, self._nonzero, self._promised):
            sums.grow(rows * 2)
