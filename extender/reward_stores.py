"""Opens the store that the settings name, for rewards and node states. Nothing is read before its sources run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kubesteer.clients.rewards.file import RewardFileSource
from kubesteer.clients.rewards.memory import MemorySource, MemoryStore

if TYPE_CHECKING:
    from extender.settings import Rewards
    from kubesteer.clients.rewards.etcd_options import EtcdOptions
    from kubesteer.clients.rewards.port import NodeStateSink, RewardSink, RewardSource


def reward_source(choice: Rewards, sink: RewardSink) -> RewardSource:
    """The source that keeps the sink equal to the store. Raises InvalidSettings where they cannot be used.

    The etcd back ends are imported here: only one of their protobuf packages can be loaded in a process.
    """
    match choice.source:
        case "memory":
            return MemorySource(MemoryStore(choice.prefix), sink, clock=time.monotonic)
        case "file":
            return RewardFileSource(
                choice.file, sink, clock=time.monotonic, unix_clock=time.time, poll_interval_s=choice.poll_s
            )
        case "etcd":
            from kubesteer.clients.rewards.etcd import etcd_source  # noqa: PLC0415

            return etcd_source(_etcd_options(choice), sink)
        case "etcd3":
            from kubesteer.clients.rewards.etcd3_backend import etcd3_source  # noqa: PLC0415

            return etcd3_source(_etcd_options(choice), sink)


def node_state_source(choice: Rewards, sink: NodeStateSink) -> RewardSource | None:
    """The source of the agents' node states, from the same etcd; None where the store is none that agents write to."""
    match choice.source:
        case "etcd":
            from kubesteer.clients.rewards.etcd import etcd_node_states  # noqa: PLC0415

            return etcd_node_states(_etcd_options(choice), sink)
        case "etcd3":
            from kubesteer.clients.rewards.etcd3_backend import etcd3_node_states  # noqa: PLC0415

            return etcd3_node_states(_etcd_options(choice), sink)
        case _:
            return None


def _etcd_options(choice: Rewards) -> EtcdOptions:
    from kubesteer.clients.rewards.etcd_options import chosen_etcd  # noqa: PLC0415

    return chosen_etcd(choice, section="rewards.", endpoints=choice.endpoints, prefix=choice.prefix)
