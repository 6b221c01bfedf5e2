"""The shared fake of a node table: it remembers what it was told, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubesteer.model.cluster import NodeSummary, PodSummary


class RecordingSink:
    """Satisfies ClusterSink. `calls` holds what was done, in order: ("put_pod", uid) and so on."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeSummary] = {}
        self.pods: dict[str, PodSummary] = {}
        self.calls: list[tuple[str, str]] = []

    def put_node(self, node: NodeSummary) -> None:
        self.calls.append(("put_node", node.name))
        self.nodes[node.name] = node

    def delete_node(self, name: str) -> None:
        self.calls.append(("delete_node", name))
        self.nodes.pop(name, None)

    def replace_nodes(self, nodes: Iterable[NodeSummary]) -> None:
        self.calls.append(("replace_nodes", ""))
        self.nodes = {node.name: node for node in nodes}

    def put_pod(self, pod: PodSummary) -> None:
        self.calls.append(("put_pod", pod.uid))
        self.pods[pod.uid] = pod

    def delete_pod(self, uid: str) -> None:
        self.calls.append(("delete_pod", uid))
        self.pods.pop(uid, None)

    def replace_pods(self, pods: Iterable[PodSummary]) -> None:
        self.calls.append(("replace_pods", ""))
        self.pods = {pod.uid: pod for pod in pods}

    def pod_names(self) -> set[str]:
        return {pod.name for pod in self.pods.values()}
