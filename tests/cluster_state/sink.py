"""The shared fake of a node table: it remembers what it was told, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from kubesteer.model.cluster import NodeSummary, PodSummary


class RecordingSink:
    """Satisfies ClusterSink. `calls` holds what was done, in order: ("put_pod", uid) and so on."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeSummary] = {}
        self.pods: dict[str, PodSummary] = {}
        self.calls: list[tuple[str, str]] = []
        self.listed_at_s: float | None = None
        self.heard_at_s: float | None = None

    def put_node(self, node: NodeSummary) -> None:
        self.calls.append(("put_node", node.name))
        self.nodes[node.name] = node

    def delete_node(self, name: str) -> None:
        self.calls.append(("delete_node", name))
        self.nodes.pop(name, None)

    def put_pod(self, pod: PodSummary) -> None:
        self.calls.append(("put_pod", pod.uid))
        self.pods[pod.uid] = pod

    def delete_pod(self, uid: str) -> None:
        self.calls.append(("delete_pod", uid))
        self.pods.pop(uid, None)

    def pods_listed(self, uids: Collection[str], at_s: float) -> None:
        self.calls.append(("pods_listed", " ".join(sorted(uids))))
        self.listed_at_s = at_s

    def listed(self) -> int:
        """How often the source said that it had listed all pods."""
        return sum(1 for call, _ in self.calls if call == "pods_listed")

    def pods_heard(self, at_s: float) -> None:
        """Not among the calls: a source says it again and again."""
        self.heard_at_s = at_s

    def pod_names(self) -> set[str]:
        return {pod.name for pod in self.pods.values()}
