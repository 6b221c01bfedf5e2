"""What the users of this room see: where nodes and pods come from, where they go, and how fresh they are.

Only Protocols and values; no I/O.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from kubesteer.model.cluster import NodeSummary, PodSummary


class ClusterSink(Protocol):
    """What keeps the nodes and pods; placement.cluster_state is one."""

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""

    def delete_node(self, name: str) -> None:
        """A node is gone; unknown names change nothing."""

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared or changed."""

    def delete_pod(self, uid: str) -> None:
        """A pod is gone; unknown uids change nothing."""

    def pods_listed(self, uids: Collection[str], at_s: float) -> None:
        """These are all the pods that there were at at_s (seconds of a steady clock), and each of them has been put."""

    def pods_heard(self, at_s: float) -> None:
        """All that the cluster had told of pods by at_s has been put. Not called while the source is deaf or behind."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """How far a source has come and how fresh it is.

    nodes_synced, pods_synced: everything there was has been put once; a later fault does not take that back.
    last_contact_age_s: since the cluster was last heard of, the older of nodes and pods; None before that. A quiet
        API server is heard of about once a minute.
    nodes, pods: objects in use. skipped: objects that cannot be used now.
    relists: lists (or readings of the file) after the first. events: changes that a watch brought.
    last_error: what is wrong now, with the fix where there is one; None when nothing is.
    """

    kind: Literal["kubernetes", "file"]
    nodes_synced: bool = False
    pods_synced: bool = False
    last_contact_age_s: float | None = None
    nodes: int = 0
    pods: int = 0
    relists: int = 0
    skipped: int = 0
    events: int = 0
    last_error: str | None = None


class ClusterSource(Protocol):
    """Where nodes and pods come from. Pods that have ended are not among them."""

    async def run(self, sink: ClusterSink) -> None:
        """Keep the sink as the cluster is, until cancelled. One sink for the life of a source."""

    def status(self) -> ClusterStatus:
        """How it stands now."""
