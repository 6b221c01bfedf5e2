"""A fake API server, and stores of a node's column: in memory, and in a real etcd."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.reward import RewardRecord
from tests.agent.builders import NODE
from tests.cluster_state.conftest import api  # noqa: F401 - a fixture
from tests.rewards.conftest import etcd, prefix  # noqa: F401 - fixtures


class Stores:
    """One store, and columns in it for as many agents as a test wants."""

    def __init__(
        self, open_column: Callable[[str, str], ColumnStore], away: Callable[[], None], back: Callable[[], None]
    ):
        self._open = open_column
        self.go_away = away
        self.come_back = back

    def column(self, holder: str = "agent-1", node: str = NODE) -> ColumnStore:
        return self._open(node, holder)

    async def records(self, node: str = NODE) -> dict[str, RewardRecord]:
        """What the store holds of a node."""
        reader = self._open("reader", "reader")
        try:
            return {one.pod_type: one for one in await reader.sample(1000, "") if one.node == node}
        finally:
            await reader.close()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(params=["memory", "etcd"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "memory":
        held = request.getfixturevalue("memory")
        return Stores(
            lambda node, holder: MemoryColumnStore(held, node=node, holder=holder),
            lambda: held.go_away("the test said so"),
            held.come_back,
        )
    server, under = request.getfixturevalue("etcd"), request.getfixturevalue("prefix")
    return Stores(
        lambda node, holder: etcd_column(server.options(under), node=node, holder=holder), server.kill, server.start
    )
