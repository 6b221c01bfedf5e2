"""What is left of a connection that failed: nothing, and not only when the garbage collector comes by."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from kubesteer.clients.rewards import etcd as aio_backend
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_connection import EtcdConnection
from kubesteer.clients.rewards.etcd_options import EtcdOptions, channel_options
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import table_range
from tests.rewards.etcd_server import free_ports


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
async def test_failed_connections_do_not_stay_open_until_the_collector_comes() -> None:
    """Each would connect again by itself once etcd is back, and hold its socket."""
    [port] = free_ports(1)
    options = EtcdOptions(endpoints=(f"127.0.0.1:{port}",), call_timeout_s=1.0)
    opened: list[weakref.ref[EtcdConnection]] = []

    async def connect(address: str) -> EtcdConnection:
        connection = await aio_backend.connect(options, address)
        opened.append(weakref.ref(connection))
        return connection

    caller = EtcdCaller(options, connect)
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="UNAVAILABLE"):
            await caller.call(lambda connection: connection.page(table_range("/k")))
    assert len(opened) == 5
    assert not [connection for connection in opened if connection() is not None]


def test_a_quiet_channel_is_not_pinged() -> None:
    """etcd by default ends connections that ping without a call (too_many_pings)."""
    assert "grpc.keepalive_permit_without_calls" not in dict(channel_options(EtcdOptions(endpoints=("a:1",))))
