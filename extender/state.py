"""What the extender knows of the cluster: node table, charges and offers, fed by the watch. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubesteer.placement.charges import Charges
from kubesteer.placement.offers import Offers
from kubesteer.placement.table import NETWORK, NodeTable

if TYPE_CHECKING:
    from collections.abc import Collection

    from kubesteer.model.cluster import NodeSummary, PodSummary


class ClusterState:
    """The sink of the cluster source. A pod that the watch shows on a node is no longer charged."""

    def __init__(self, directions: int, *, charge_ttl_s: float) -> None:
        self.table = NodeTable(directions)
        self.charges = Charges(NETWORK + directions, charge_ttl_s)
        self.offers = Offers()

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""
        self.table.put_node(node)

    def delete_node(self, name: str) -> None:
        """A node is gone."""
        row = self.table.rows.get(name)
        self.table.delete_node(name)
        if row is not None:
            self.charges.release_row(row)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended."""
        self.table.put_pod(pod)
        if pod.node or pod.terminal:
            self._settle(pod.uid)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        self.table.delete_pod(uid)
        self._settle(uid)

    def pods_listed(self, uids: Collection[str], at_s: float) -> None:
        """These are all the pods that there were at at_s."""

    def pods_heard(self, at_s: float) -> None:
        """All that the cluster had told of pods by at_s has been put."""

    def _settle(self, uid: str) -> None:
        self.charges.release(uid)
        self.offers.forget(uid)
