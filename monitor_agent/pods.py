"""The node's pods as the API server last told: their runs, and what they were promised. No I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence

from kubesteer.clients.kubernetes.pod_runs import RunningPod, pod_runs
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.runs import PodRuns
from monitor_agent.capacity import PodDemand, promises


class PodBook:
    """Pods by uid. on_change is told of each pod that appears or changes, on_gone of the uid of one that is gone."""

    def __init__(
        self,
        network: Sequence[NetworkResource],
        *,
        on_change: Callable[[PodRuns], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self.runs: dict[str, PodRuns] = {}
        self._network = network
        self._on_change = on_change
        self._on_gone = on_gone
        self._pods: dict[str, RunningPod] = {}
        self._promises: PodDemand | None = PodDemand()
        self._last_promises = PodDemand()

    def put(self, pod: RunningPod) -> None:
        """A pod appeared or changed."""
        runs = pod_runs(pod, self._network)
        self._pods[runs.uid], self.runs[runs.uid] = pod, runs
        self._promises = None
        self._on_change(runs)

    def delete(self, uid: str) -> None:
        """A pod is gone; an unknown uid changes nothing."""
        self._pods.pop(uid, None)
        self.runs.pop(uid, None)
        self._promises = None
        self._on_gone(uid)

    def promised(self) -> PodDemand:
        """What the pods here were promised; what was last known where one of them cannot be read."""
        if self._promises is None:
            with contextlib.suppress(InvalidQuantity):
                self._last_promises = promises(self._pods.values(), self._network)
            self._promises = self._last_promises
        return self._promises

    def on_host_network(self) -> Collection[str]:
        """Uids of the pods whose traffic is the node's own."""
        return {uid for uid, pod in self._pods.items() if pod.spec.host_network}
