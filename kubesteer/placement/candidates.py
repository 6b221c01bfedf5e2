"""The candidate nodes of one request as arrays, and the circumstances: all that a decision sees of the cluster.

Built from node-table rows, or from nodes that came with the request. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.placement.table import NodeTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import NodeSummary


@dataclass(frozen=True, slots=True)
class Candidates:
    """n candidate nodes. Resource rows as in NodeTable: CPU, memory, then the network directions.

    allocatable, requested: int64 (resources, n). nonzero_requested: int64 (2, n).
    measured_bps: float64 (directions, n); measured_at_s: float64 (n,), -inf where nothing was measured.
    limit_bps: int64 (directions, n), what the links carry, NO_CAPACITY where not known; limit_at_s: float64 (n,), -inf
        where nothing was told. Both None where nothing was told of any node.
    known, ready, usable: bool (n,). tie_break: uint64 (n,), stable by node name.
    faults: position to what is wrong with that node.
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

    def __len__(self) -> int:
        return int(self.known.shape[0])


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds at the moment of a decision beside the nodes themselves; arrays are in candidate order.

    now_s: unix seconds, against which measured traffic and link limits are fresh or not.
    synced: the node table is complete; where it is not, nodes that it does not know pass unjudged.
    charged: int64 (resources, n): what was just promised to other pods and is not in the node table yet; CPU and
        memory as non-zero requests.
    reward: float64 (n,), 0..1, what the score goes by: the belief's mean, or a sample of it.
    mean, evidence: float64 (n,): the belief's mean 0..1 and runs' worth behind it, for quarantine; mean is the reward
        where it is not given. All None where rewards have nothing to say.
    """

    now_s: float = 0.0
    synced: bool = True
    charged: NDArray[np.int64] | None = None
    reward: NDArray[np.float64] | None = None
    evidence: NDArray[np.float64] | None = None
    mean: NDArray[np.float64] | None = None


def from_table(table: NodeTable, rows: NDArray[np.intp]) -> Candidates:
    """The table's rows in this order; -1 stands for a node that the table does not know."""
    known = table.known[rows]
    if rows.size and rows.min() < 0:
        known &= rows >= 0
    usable = table.usable[rows]
    faults = {}
    if table.faults:
        faults = {p: table.faults[int(rows[p])] for p in np.flatnonzero(known & ~usable).tolist()}
    return Candidates(
        allocatable=table.allocatable.take(rows, axis=1),
        requested=table.requested.take(rows, axis=1),
        nonzero_requested=table.nonzero_requested.take(rows, axis=1),
        measured_bps=table.measured_bps.take(rows, axis=1),
        measured_at_s=table.measured_at_s[rows],
        known=known,
        ready=table.ready[rows],
        usable=usable,
        tie_break=table.name_hash[rows],
        faults=faults,
        limit_bps=table.limit_bps.take(rows, axis=1) if table.links else None,
        limit_at_s=table.limit_at_s[rows] if table.links else None,
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
    own.requested[:, own_rows[here]] = table.requested[:, promised[here]]
    own.nonzero_requested[:, own_rows[here]] = table.nonzero_requested[:, promised[here]]
    return from_table(own, own_rows)
