"""Keeps the agents' reports on their nodes' networks in the node table. No I/O, and nothing is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NO_CAPACITY, MeasuredTraffic
from kubesteer.placement.table import LinkState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kubesteer.model.network import NetworkResource
    from kubesteer.model.node_state import NodeState
    from kubesteer.placement.table import NodeTable

_MOST_BPS = 2**53
"""No link carries so much, and a hundred times it is still a whole number of 64 bits."""


class NodeStates:
    """Satisfies the clients' NodeStateSink. Directions that the settings do not name are passed over."""

    def __init__(self, table: NodeTable, network: Sequence[NetworkResource]) -> None:
        self._table = table
        self._directions = tuple(resource.direction for resource in network)

    def __len__(self) -> int:
        return len(self._table.links)

    @property
    def newest_time_s(self) -> float | None:
        """Unix time of the newest state, None while there is none."""
        return max((link.time_s for link in self._table.links.values()), default=None)

    @property
    def oldest_time_s(self) -> float | None:
        """Unix time of the oldest state of a node that exists, None without one. Those of others stay a week."""
        told_s = self._table.limit_at_s[self._table.known]
        told_s = told_s[np.isfinite(told_s)]
        return float(told_s.min()) if told_s.size else None

    def put(self, state: NodeState) -> None:
        """Takes the state in place of the node's earlier one; the node may be one that is not known yet."""
        self._table.put_link(state.node, self._link(state))

    def delete(self, node: str) -> None:
        """Forgets a node's state."""
        self._table.delete_link(node)

    def replace(self, states: Iterable[NodeState]) -> None:
        """Makes these states all that is known."""
        self._table.replace_links({state.node: self._link(state) for state in states})

    def _link(self, state: NodeState) -> LinkState:
        measured = None
        if not state.rate_bps.keys().isdisjoint(self._directions):
            rates = tuple(float(state.rate_bps.get(direction, 0.0)) for direction in self._directions)
            measured = MeasuredTraffic(rates, state.time_s)
        limits = tuple(_whole_bps(state.limit_bps, direction) for direction in self._directions)
        return LinkState(measured, limits, state.time_s)


def _whole_bps(limit_bps: Mapping[str, int], direction: str) -> int:
    limit = limit_bps.get(direction)
    return NO_CAPACITY if limit is None else int(min(limit, _MOST_BPS))
