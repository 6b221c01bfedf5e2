"""The node table: one row a node, one numpy column a quantity, updated in O(1) per event.

Pods are kept as the few numbers that count. A row lives while its Node exists or pods are placed on its name, so that
events may come in any order; then it is reused. No decision is made here, and nothing here reads a clock.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NO_CAPACITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import MeasuredTraffic, NodeSummary, PodSummary

CPU, MEMORY = 0, 1
"""First two resource columns; the network directions follow in the order of the settings."""
NETWORK = 2
_FIRST_ROWS = 64
_RENAMES_KEPT = 1024
_ROW_BYTES = np.dtype(np.intp).itemsize
_COLUMNS = (
    "allocatable",
    "requested",
    "nonzero_requested",
    "measured_bps",
    "measured_at_s",
    "limit_bps",
    "limit_at_s",
    "known",
    "ready",
    "usable",
    "name_hash",
)


@dataclass(frozen=True, slots=True)
class _Placed:
    """What one pod takes: its row and its numbers, plain and non-zero."""

    row: int
    amounts: tuple[int, ...]
    nonzero: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LinkState:
    """What a node's agent tells of its network. limit_bps: by direction, NO_CAPACITY where it is not known."""

    measured: MeasuredTraffic | None
    limit_bps: tuple[int, ...]
    time_s: float


def stable_hash(text: str) -> int:
    """32 bits that are the same in every process: for ties, never for secrets."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


class NodeTable:
    """Nodes and what is promised on them.

    Columns (int64, indexed [resource, row]): allocatable and requested over CPU (millicores), memory (bytes) and one
    row of bit/s a direction; nonzero_requested over CPU and memory. allocatable is NO_CAPACITY where a direction is
    not published. known, ready and usable are flags a row; name_hash breaks ties.
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
        self._told_by_object: dict[str, MeasuredTraffic] = {}
        self._pods: dict[str, _Placed] = {}
        self._pods_on: list[int] = []
        self._free: list[int] = []
        self._allocate(_FIRST_ROWS)

    def _allocate(self, rows: int) -> None:
        resources = NETWORK + self.directions
        self.allocatable = np.zeros((resources, rows), np.int64)
        self.requested = np.zeros((resources, rows), np.int64)
        self.nonzero_requested = np.zeros((2, rows), np.int64)
        self.measured_bps = np.zeros((self.directions, rows), np.float64)
        self.measured_at_s = np.full(rows, -np.inf)
        self.limit_bps = np.full((self.directions, rows), NO_CAPACITY, np.int64)
        self.limit_at_s = np.full(rows, -np.inf)
        self.known = np.zeros(rows, np.bool_)
        self.ready = np.zeros(rows, np.bool_)
        self.usable = np.zeros(rows, np.bool_)
        self.name_hash = np.zeros(rows, np.uint64)

    @property
    def capacity(self) -> int:
        """Rows there is room for."""
        return int(self.known.shape[0])

    @property
    def node_count(self) -> int:
        """Nodes that exist."""
        return int(np.count_nonzero(self.known))

    @property
    def pod_count(self) -> int:
        """Pods that are placed and not terminal."""
        return len(self._pods)

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""
        row = self._row(node.name)
        self.allocatable[CPU, row] = node.cpu_m
        self.allocatable[MEMORY, row] = node.memory_b
        for direction in range(self.directions):
            self.allocatable[NETWORK + direction, row] = (
                node.network_bps[direction] if direction < len(node.network_bps) else NO_CAPACITY
            )
        self.known[row] = True
        self.ready[row] = node.ready
        self.usable[row] = node.fault is None
        if node.fault is None:
            self.faults.pop(row, None)
        else:
            self.faults[row] = node.fault
        if node.measured is None:
            self._told_by_object.pop(node.name, None)
        else:
            self._told_by_object[node.name] = node.measured
        self._join(node.name, row)

    def delete_node(self, name: str) -> None:
        """A node is gone; what is promised on its name stays counted until its pods are gone too."""
        row = self.rows.get(name)
        if row is None:
            return
        self.known[row] = self.ready[row] = self.usable[row] = False
        self.faults.pop(row, None)
        self.allocatable[:, row] = 0
        self.measured_at_s[row] = self.limit_at_s[row] = -np.inf
        self._told_by_object.pop(name, None)
        self._release_if_empty(row)

    def replace_nodes(self, nodes: Iterable[NodeSummary]) -> None:
        """These nodes are all there are."""
        seen = set()
        for node in nodes:
            self.put_node(node)
            seen.add(node.name)
        for name in [name for name, row in self.rows.items() if self.known[row] and name not in seen]:
            self.delete_node(name)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended; pods that are pending or terminal take nothing."""
        if not pod.node or pod.terminal:
            self.delete_pod(pod.uid)
            return
        requests = pod.requests
        amounts = (requests.cpu_m, requests.memory_b, *requests.network_bps)
        nonzero = (requests.nonzero_cpu_m, requests.nonzero_memory_b)
        before = self._pods.get(pod.uid)
        if before is not None:
            if before.amounts == amounts and before.nonzero == nonzero and self.names[before.row] == pod.node:
                return
            self.delete_pod(pod.uid)
        placed = _Placed(self._row(pod.node), amounts, nonzero)
        self._pods[pod.uid] = placed
        self._count(placed, 1)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        placed = self._pods.pop(uid, None)
        if placed is not None:
            self._count(placed, -1)
            self._release_if_empty(placed.row)

    def replace_pods(self, pods: Iterable[PodSummary]) -> None:
        """These pods are all there are."""
        seen = set()
        for pod in pods:
            self.put_pod(pod)
            seen.add(pod.uid)
        for uid in [uid for uid in self._pods if uid not in seen]:
            self.delete_pod(uid)

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

    def row_of(self, pod_uid: str) -> int | None:
        """The row that a placed pod is counted on."""
        placed = self._pods.get(pod_uid)
        return None if placed is None else placed.row

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

    def _count(self, placed: _Placed, sign: int) -> None:
        row = placed.row
        for resource, amount in enumerate(placed.amounts):
            if amount:
                self.requested[resource, row] += sign * amount
        self.nonzero_requested[CPU, row] += sign * placed.nonzero[CPU]
        self.nonzero_requested[MEMORY, row] += sign * placed.nonzero[MEMORY]
        self._pods_on[row] += sign

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
            if row == self.capacity:
                self._grow()
        self.rows[name] = row
        self.row_bytes[name] = row.to_bytes(_ROW_BYTES, sys.byteorder)
        self.name_hash[row] = stable_hash(name)
        self.allocatable[NETWORK:, row] = NO_CAPACITY
        self._note_rename(row)
        return row

    def _release_if_empty(self, row: int) -> None:
        if self.known[row] or self._pods_on[row]:
            return
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
