"""Gauges of the extender's parts. They only read the parts; metrics.py counts requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extender.server.expiry import certificate_files, expiry_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from extender.app import Parts
    from extender.rewards import RewardView


def add_gauges(parts: Parts, view: RewardView, unix_s: Callable[[], float]) -> None:
    """Read when they are asked for."""
    gauge, counter = parts.metrics.gauge, parts.metrics.counter
    cluster, rewards = parts.cluster.status, parts.rewards.status
    state, nan = parts.state, float("nan")

    def age(age_s: float | None) -> float:
        return nan if age_s is None else age_s

    def reward_age() -> float:
        newest_s = parts.reward_table.newest_time_s
        return nan if newest_s is None else unix_s() - newest_s

    gauge("ready", "1 when fit to decide.", lambda: float(parts.health.is_ready()))
    gauge("cluster_age_seconds", "Since the cluster was last heard of.", lambda: age(cluster().last_contact_age_s))
    counter("cluster_relists", "Lists of nodes or pods after the first.", lambda: cluster().relists)
    counter("cluster_events", "Changes of nodes and pods that the watches brought.", lambda: cluster().events)
    gauge("cluster_skipped", "Nodes and pods that cannot be used now.", lambda: cluster().skipped)
    gauge("rewards_age_seconds", "Since the reward store was last heard of.", lambda: age(rewards().last_contact_age_s))
    gauge("reward_newest_age_seconds", "Age of the newest reward.", reward_age)
    gauge("rewards_neutral", "1 while rewards have no say.", lambda: float(view.is_neutral()))
    gauge("rewards_skipped", "Stored rewards that are bad, or too many of a node, now.", lambda: rewards().skipped)
    counter("rewards_resyncs", "Lists of the reward store after the first.", lambda: rewards().resyncs)
    gauge("nodes", "Nodes in the table.", lambda: state.table.node_count)
    gauge("pods", "Pods in the table.", lambda: state.table.pod_count)
    gauge("rewards", "Rewards in the table.", lambda: len(parts.reward_table))
    gauge("reward_types", "Pod types with rewards.", lambda: parts.reward_table.type_count)
    gauge(
        "reward_parents_age_seconds",
        "Since the rewards' priors were refreshed.",
        lambda: age(parts.health.parents_age_s()),
    )
    gauge("node_states", "Nodes whose agent tells of its network.", lambda: len(parts.node_states))
    gauge(
        "node_states_age_seconds",
        "Age of the newest word of an agent on its network.",
        lambda: age(parts.health.node_states_age_s()),
    )
    gauge(
        "node_states_oldest_age_seconds",
        "Age of the oldest of the agents' last words.",
        lambda: age(parts.health.oldest_node_state_age_s()),
    )
    counter("pods_placed", "Pods of cluster.schedulers that were seen to get a node.", lambda: parts.arrivals.placed)
    gauge("pods_faulty", "Pods that wait because a scheduler had a fault with them.", lambda: parts.arrivals.faulty)
    parts.metrics.gauges(
        "certificate_file_expiry_seconds",
        "Until the certificate in a file of the settings ends; at 0 and below it has.",
        "file",
        {str(file): lambda file=file: expiry_s(file) - unix_s() for file in certificate_files(parts.settings)},  # type: ignore[misc]
    )
    gauge("charges", "Pods promised and not seen by the watch yet.", lambda: len(state.promises))
