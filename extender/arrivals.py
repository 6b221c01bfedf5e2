"""Pods of kubesteer's schedulers as the watch shows them: given a node, or waiting for a scheduler's fault.

It only counts what goes by; who asked kubesteer about them, metrics.py counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from kubesteer.clients.kubernetes.port import ClusterSink
    from kubesteer.model.cluster import NodeSummary, PodSummary

_FAULT = "SchedulerError"
"""The reason of PodScheduled=False where a scheduler could not judge, as when an extender that it must ask is away."""


class Arrivals:
    """Satisfies the clients' ClusterSink, and hands all on to another. Pods count that were seen without a node."""

    def __init__(self, sink: ClusterSink, schedulers: Collection[str]) -> None:
        """schedulers: the schedulerName of pods that kubesteer ought to be asked about."""
        self.placed = 0
        self._sink = sink
        self._schedulers = frozenset(schedulers)
        self._waiting: dict[str, bool] = {}

    @property
    def faulty(self) -> int:
        """Pods that wait because a scheduler had a fault with them."""
        return sum(self._waiting.values())

    def put_node(self, node: NodeSummary) -> None:
        """A node appeared or changed."""
        self._sink.put_node(node)

    def delete_node(self, name: str) -> None:
        """A node is gone."""
        self._sink.delete_node(name)

    def put_pod(self, pod: PodSummary) -> None:
        """A pod appeared, changed, moved or ended."""
        if pod.scheduler in self._schedulers:
            if not pod.node:
                self._waiting[pod.uid] = f"|{_FAULT}|" in pod.unscheduled
            elif self._waiting.pop(pod.uid, None) is not None:
                self.placed += 1
        self._sink.put_pod(pod)

    def delete_pod(self, uid: str) -> None:
        """A pod is gone."""
        self._waiting.pop(uid, None)
        self._sink.delete_pod(uid)

    def pods_listed(self, uids: Collection[str], at_s: float) -> None:
        """These are all the pods that there were at at_s."""
        self._sink.pods_listed(uids, at_s)

    def pods_heard(self, at_s: float) -> None:
        """All that the cluster had told of pods by at_s has been put."""
        self._sink.pods_heard(at_s)
