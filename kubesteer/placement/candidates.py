"""What a decision sees: the candidate nodes of one request as arrays, what is learned of them, and the circumstances.

Built from node-table rows, or from nodes that came with the request. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kubesteer.placement.table import NodeTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import NodeSummary, PodSummary


@dataclass(frozen=True, slots=True)
class Candidates:
    """n candidate nodes. Resource rows as in NodeTable: CPU, memory, then the network directions.

    allocatable, requested: int64 (resources, n). nonzero_requested: int64 (2, n).
    measured_bps: float64 (directions, n); measured_at_s: float64 (n,), -inf where nothing was measured.
    limit_bps: int64 (directions, n), what the links carry, NO_CAPACITY where not known; limit_at_s: float64 (n,), -inf
        where nothing was told. Both None where nothing was told of any node.
    known, ready, usable: bool (n,). tie_break: uint64 (n,), stable by node name.
    faults: position to what is wrong with that node.
    capacity_range_bps: by direction the smallest and largest capacity of every node there is, None where none has any.
    """

    allocatable: NDArray[np.int64]
    requested: NDArray[np.int64]
    nonzero_requested: NDArray[np.int64]
    measured_bps: NDArray[np.float64]
    measured_at_s: NDArray[np.float64]
    known: NDArray[np.bool_]
    ready: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    tie_break: NDArray[np.uint64]
    faults: Mapping[int, str] = field(default_factory=dict)
    limit_bps: NDArray[np.int64] | None = None
    limit_at_s: NDArray[np.float64] | None = None
    capacity_range_bps: Sequence[tuple[int, int] | None] = ()

    def __len__(self) -> int:
        return int(self.known.shape[0])


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of the node table, and its names_version when they were found."""

    rows: NDArray[np.intp]
    names_version: int


@dataclass(frozen=True, slots=True)
class NamedNodes:
    """Candidates that the node table knows, in request order: what kube-scheduler sends with nodeCacheCapable: true.

    found: their rows, where somebody found them already.
    """

    names: Sequence[str]
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class GivenNodes:
    """Candidates that came whole, in request order; a name that the table does not know is a node yet to be."""

    nodes: Sequence[NodeSummary]

    @property
    def names(self) -> Sequence[str]:
        """Of the nodes."""
        return [node.name for node in self.nodes]


Asked = NamedNodes | GivenNodes
"""Of which nodes a request asks."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made.

    unix_s: ages rewards and measured traffic. clock_s: a clock that only moves forward, the same that the cluster
    source goes by. synced: the node table is complete.
    """

    unix_s: float
    clock_s: float
    synced: bool = True


class OnProbation(Protocol):
    """Where each pair stands, by candidate."""

    @property
    def state(self) -> NDArray[np.int8]:
        """A Standing."""

    @property
    def shut_until_s(self) -> NDArray[np.float64]:
        """Unix seconds; -inf unless it is believed bad."""

    @property
    def reward(self) -> NDArray[np.float64]:
        """What the score goes by, 0..1."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is learned of the pod's type on each candidate, float64 (n,) each, 0..1 but for the evidence.

    mean: what is believed. evidence: runs' worth behind it. prior: what was believed without the node's own runs.
    sample: a draw of the belief, where the choice is by sample. probation: where each pair stands, where the choice is
    by probation.
    """

    mean: NDArray[np.float64]
    evidence: NDArray[np.float64]
    prior: NDArray[np.float64]
    sample: NDArray[np.float64] | None = None
    probation: OnProbation | None = None

    @property
    def reward(self) -> NDArray[np.float64]:
        """What the score goes by."""
        if self.probation is not None:
            return self.probation.reward
        return self.mean if self.sample is None else self.sample


class Opinions(Protocol):
    """Has an opinion of a pod on nodes; None where it has none at all."""

    def on(self, rows: NDArray[np.intp], pod: PodSummary, now_s: float) -> Opinion | None:
        """On rows of the node table; -1 is a node that nothing is known of."""

    def for_names(self, names: Sequence[str], pod: PodSummary, now_s: float) -> Opinion | None:
        """On nodes by name."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds at the moment of a decision beside the nodes themselves; arrays are in candidate order.

    now_s: unix seconds, against which measured traffic and link limits are fresh or not.
    synced: the node table is complete; where it is not, nodes that it does not know pass unjudged.
    charged: int64 (resources, n): what was just promised to other pods that are not on a node yet; CPU and
        memory as non-zero requests. unseen_bps: int64 (directions, n): the part of it that kube-scheduler does not
        count.
    reward: float64 (n,), 0..1, what the score goes by: see Opinion.
    mean, evidence: float64 (n,): the belief's mean 0..1 and runs' worth behind it, for quarantine; mean is the reward
        where it is not given. All None where rewards have nothing to say.
    """

    now_s: float = 0.0
    synced: bool = True
    charged: NDArray[np.int64] | None = None
    unseen_bps: NDArray[np.int64] | None = None
    reward: NDArray[np.float64] | None = None
    evidence: NDArray[np.float64] | None = None
    mean: NDArray[np.float64] | None = None


def from_table(table: NodeTable, rows: NDArray[np.intp], *, judged: bool = True) -> Candidates:
    """The table's rows in this order; -1 stands for a node that the table does not know.

    judged: with what filter reads too; without it measured traffic, limits, readiness and faults stay unknown, which
    saves prioritize half of its gathers.
    """
    known = table.known.take(rows)
    if not judged:
        nothing = np.zeros(0)
        return Candidates(
            allocatable=table.allocatable.take(rows, axis=1),
            requested=table.requested.take(rows, axis=1),
            nonzero_requested=table.nonzero_requested.take(rows, axis=1),
            measured_bps=nothing,
            measured_at_s=nothing,
            known=known,
            ready=known,
            usable=known,
            tie_break=nothing.view(np.uint64),
        )
    usable = table.usable[rows]
    faults = {}
    if table.faults:
        faults = {p: table.faults[int(rows[p])] for p in np.flatnonzero(known & ~usable).tolist()}
    return Candidates(
        allocatable=table.allocatable.take(rows, axis=1),
        requested=table.requested.take(rows, axis=1),
        nonzero_requested=table.nonzero_requested.take(rows, axis=1),
        measured_bps=table.measured_bps.take(rows, axis=1),
        measured_at_s=table.measured_at_s.take(rows),
        known=known,
        ready=table.ready[rows],
        usable=usable,
        tie_break=table.name_hash[rows],
        faults=faults,
        limit_bps=table.limit_bps.take(rows, axis=1) if table.links else None,
        limit_at_s=table.limit_at_s[rows] if table.links else None,
        capacity_range_bps=table.capacity_ranges(),
    )


def from_nodes(table: NodeTable, nodes: Sequence[NodeSummary]) -> Candidates:
    """Nodes that came with the request: their own capacity, and what the table knows to be promised on their names.

    A name that the table does not know is an empty node, so that an autoscaler can ask about nodes yet to be.
    """
    own = NodeTable(table.directions, table.links)
    for node in nodes:
        own.put_node(node)
    own_rows = own.find([node.name for node in nodes])
    promised = table.find([node.name for node in nodes])
    here = promised >= 0
    given = from_table(own, own_rows)
    given.requested[:, here] = table.requested[:, promised[here]]
    given.nonzero_requested[:, here] = table.nonzero_requested[:, promised[here]]
    return given
