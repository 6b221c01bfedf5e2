"""What is known of the cluster: node table, promises, offers and observations, fed by the watch.

Decides nothing, reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kubesteer.placement.observations import Observations, ObservedPlacement
from kubesteer.placement.offers import Offers
from kubesteer.placement.promises import Promises
from kubesteer.placement.table import NodeTable

if TYPE_CHECKING:
    from kubesteer.model.cluster import NodeSummary, PodSummary


class ClusterState:
    """The sink of the cluster source. A pod that the watch shows on a node is promised no more: it is counted there."""

    def __init__(
        self,
        directions: int,
        *,
        charge_ttl_s: float,
        on_observed: Callable[[ObservedPlacement], object] = lambda _: None,
        on_node: Callable[[NodeSummary], object] = lambda _: None,
    ) -> None:
        """on_observed is told where each pod went that was only observed, on_node each node that is put."""
        self._on_node = on_node
        self.table = NodeTable(directions)
        self.promises = Promises(self.table, ttl_s=charge_ttl_s)
        self.offers = Offers()
        self.observations = Observations(self.table, on_observed)

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""
        self.table.put_node(node)
        self._on_node(node)

    def delete_node(self, name: str) -> None:
        """A node is gone."""
        self.table.delete_node(name)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended."""
        self.table.put_pod(pod)
        self.promises.told(pod)
        self.observations.told(pod)
        if pod.node or pod.terminal:
            self.offers.forget(pod.uid)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        self.table.delete_pod(uid)
        self.promises.gone(uid)
        self.observations.forget(uid)
        self.offers.forget(uid)

    def pods_listed(self, uids: Collection[str], at_s: float) -> None:
        """These are all the pods that there were at at_s, by the clock that decisions go by."""
        self.promises.listed(uids, at_s)

    def pods_heard(self, at_s: float) -> None:
        """All that the cluster had told of pods by at_s has been put."""
        self.promises.heard(at_s)
