"""Readiness, and which sources are stale. No I/O: it reads the status of the sources."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extender.node_states import NodeStates
    from extender.rewards import RewardView
    from extender.tasks import TaskStatus
    from kubesteer.clients.kubernetes.port import ClusterSource
    from kubesteer.clients.rewards.port import RewardSource
    from kubesteer.placement.cluster_state import ClusterState


class Health:
    """Ready once nodes and pods are synced, and rewards are or were waited for long enough."""

    def __init__(
        self,
        cluster: ClusterSource,
        rewards: RewardView,
        state: ClusterState,
        node_states: NodeStates,
        node_states_source: RewardSource | None,
        tasks: Mapping[str, TaskStatus],
        *,
        mode: str,
        cluster_stale_after_s: float,
        rewards_wait_s: float,
        unix_s: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._rewards = rewards
        self._state = state
        self._node_states = node_states
        self._node_states_source = node_states_source
        self._tasks = tasks
        self._mode = mode
        self._cluster_stale_after_s = cluster_stale_after_s
        self._unix_s = unix_s
        self._clock = clock
        self._waits_until_s = clock() + rewards_wait_s
        self.draining = False
        self._cluster_synced = False

    def cluster_synced(self) -> bool:
        """Nodes and pods have been read whole once; it stays so, whatever happens to the source afterwards."""
        if not self._cluster_synced:
            status = self._cluster.status()
            self._cluster_synced = status.nodes_synced and status.pods_synced
        return self._cluster_synced

    def is_ready(self) -> bool:
        """Fit to decide."""
        return not self.waiting_for()

    def waiting_for(self) -> list[str]:
        """What readiness still waits for, in words."""
        waiting = []
        cluster = self._cluster.status()
        if not cluster.nodes_synced:
            waiting.append(f"nodes from {cluster.kind}: {cluster.last_error or 'first list under way'}")
        if not cluster.pods_synced:
            waiting.append(f"pods from {cluster.kind}: {cluster.last_error or 'first list under way'}")
        rewards = self._rewards.source.status()
        if not rewards.synced and self._clock() < self._waits_until_s:
            waiting.append(f"rewards from {rewards.kind}: {rewards.last_error or 'first list under way'}")
        if self.draining:
            waiting.append("nothing: shutting down")
        return waiting

    def report(self) -> dict[str, Any]:
        """Everything /readyz tells."""
        waiting = self.waiting_for()
        cluster, rewards = self._cluster.status(), self._rewards.source.status()
        age_s = cluster.last_contact_age_s
        return {
            "ready": not waiting,
            "waitingFor": waiting,
            "mode": self._mode,
            "cluster": {
                **asdict(cluster),
                "stale": age_s is None or age_s > self._cluster_stale_after_s,
                "table_nodes": self._state.table.node_count,
                "table_pods": self._state.table.pod_count,
            },
            "rewards": {
                **asdict(rewards),
                "neutral": self._rewards.is_neutral(),
                "types": self._rewards.rewards.type_count,
                "parents_age_s": self.parents_age_s(),
            },
            "nodeStates": self._told_of_node_states(),
            "charges": len(self._state.promises),
            "tasks": {name: asdict(standing) for name, standing in self._tasks.items()},
        }

    def parents_age_s(self) -> float | None:
        """Since the priors were brought up to date; None before they ever were."""
        return self._since(self._rewards.rewards.refreshed_at_s)

    def node_states_age_s(self) -> float | None:
        """Since the newest word of an agent about its node."""
        return self._since(self._node_states.newest_time_s)

    def oldest_node_state_age_s(self) -> float | None:
        """Since the word of the agent that has been silent for longest."""
        return self._since(self._node_states.oldest_time_s)

    def _told_of_node_states(self) -> dict[str, Any]:
        source = self._node_states_source
        own = {"nodes": len(self._node_states), "newest_age_s": self.node_states_age_s()}
        return own if source is None else {**asdict(source.status()), **own}

    def _since(self, time_s: float | None) -> float | None:
        return None if time_s is None else self._unix_s() - time_s
