"""What the extender knows of the cluster: node table, charges and offers, fed by the watch. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubesteer.placement.charges import Charges
from kubesteer.placement.offers import Offers
from kubesteer.placement.table import NETWORK, NodeTable

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def replace_nodes(self, nodes: Iterable[NodeSummary]) -> None:
        """These nodes are all there are."""
        self.table.replace_nodes(nodes)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended."""
        self.table.put_pod(pod)
        if pod.node or pod.terminal:
            self._settle(pod.uid)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        self.table.delete_pod(uid)
        self._settle(uid)

    def replace_pods(self, pods: Iterable[PodSummary]) -> None:
        """These pods are all there are."""
        self.table.replace_pods(self._settled(pods))

    def _settled(self, pods: Iterable[PodSummary]) -> Iterable[PodSummary]:
        for pod in pods:
            if pod.node:
                self._settle(pod.uid)
            yield pod

    def _settle(self, uid: str) -> None:
        self.charges.release(uid)
        self.offers.forget(uid)
