"""The second etcd back end: the etcd3 package (optional extra), which blocks, so its calls run in threads.

Of its client the channel, the stubs and the messages are used. Its range ignores limit and revision, its watcher starts
again from nowhere after an error, and its login refuses a plain channel; those parts are the shared EtcdConnection.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from functools import partial
from typing import Any

import grpc

from kubesteer.clients.rewards.etcd3_import import import_etcd3
from kubesteer.clients.rewards.etcd_connection import EtcdConnection, Metadata
from kubesteer.clients.rewards.etcd_options import EtcdOptions, channel_options
from kubesteer.clients.rewards.etcd_source import EtcdSource
from kubesteer.clients.rewards.etcd_writer import EtcdWriter
from kubesteer.clients.rewards.feed import node_state_feed, reward_feed
from kubesteer.clients.rewards.port import NodeStateSink, RewardSink
from kubesteer.model.errors import InvalidSettings, StoreUnavailable


def etcd3_source(options: EtcdOptions, sink: RewardSink) -> EtcdSource:
    """Keeps the sink equal to the reward table in the store. Raises InvalidSettings where it cannot be used."""
    feed = reward_feed(sink, options.prefix)
    return EtcdSource("etcd3", options, feed, partial(connect, options, _usable_etcd3(options)))


def etcd3_node_states(options: EtcdOptions, sink: NodeStateSink) -> EtcdSource:
    """Keeps the sink equal to the node states in the store. Raises InvalidSettings where it cannot be used."""
    feed = node_state_feed(sink, options.prefix)
    return EtcdSource("etcd3", options, feed, partial(connect, options, _usable_etcd3(options)))


def etcd3_writer(options: EtcdOptions) -> EtcdWriter:
    """Writes to the store; connects at the first call. Raises InvalidSettings when the back end cannot be used."""
    return EtcdWriter(options, partial(connect, options, _usable_etcd3(options)))


async def connect(options: EtcdOptions, etcd3: Any, address: str) -> EtcdConnection:
    """Opens a connection and logs in. Raises StoreUnavailable."""
    try:
        client = await asyncio.to_thread(_client, options, etcd3, address)
    except OSError as exc:
        raise StoreUnavailable(f"etcd: a TLS file cannot be read: {exc}") from exc
    connection = EtcdConnection(_ThreadWire(client, etcd3.etcdrpc, options.call_timeout_s), address, options)
    try:
        await connection.log_in()
    except BaseException:
        await connection.close()
        raise
    return connection


def _usable_etcd3(options: EtcdOptions) -> Any:
    if options.tls and options.ca_file is None:
        raise InvalidSettings("ca_file is not set; the etcd3 back end needs it for TLS, the etcd back end does not")
    return import_etcd3()


def _client(options: EtcdOptions, etcd3: Any, address: str) -> Any:
    host, _, port = address.rpartition(":")
    ca, cert, key = (str(path) if path else None for path in (options.ca_file, options.cert_file, options.key_file))
    return etcd3.client(
        host, int(port), ca_cert=ca, cert_cert=cert, cert_key=key, grpc_options=channel_options(options)
    )


class _ThreadWire:
    """Satisfies Wire."""

    def __init__(self, client: Any, messages: Any, call_timeout_s: float) -> None:
        self.messages = messages
        self._client = client
        self._call_timeout_s = call_timeout_s
        self._stubs = {"KV": client.kvstub, "Auth": messages.AuthStub(client.channel)}
        self._watch = messages.WatchStub(client.channel)

    async def call(self, service: str, method: str, request: Any, metadata: Metadata) -> Any:
        """As Wire."""
        stub = getattr(self._stubs[service], method)
        return await asyncio.to_thread(stub, request, timeout=self._call_timeout_s, metadata=metadata)

    async def watch(self, request: Any, metadata: Metadata) -> _ThreadStream:
        """As Wire."""
        return _ThreadStream(self._watch, request, metadata)

    async def close(self) -> None:
        """As Wire."""
        await asyncio.to_thread(self._client.close)


class _ThreadStream:
    """Satisfies Stream: a thread reads the blocking watch and hands each message to the event loop."""

    def __init__(self, stub: Any, request: Any, metadata: Metadata) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self._to_send: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._to_send.put(request)
        self._call = stub.Watch(iter(self._to_send.get, None), metadata=metadata)
        threading.Thread(target=self._receive, name="etcd3-watch", daemon=True).start()

    async def read(self) -> Any:
        """As Stream."""
        arrived = await self._arrived.get()
        if isinstance(arrived, grpc.RpcError):
            raise arrived
        return arrived

    def cancel(self) -> None:
        """As Stream."""
        self._call.cancel()
        self._to_send.put(None)

    def _receive(self) -> None:
        with suppress(RuntimeError):  # the loop may be closed by now, and then nobody waits
            try:
                for answer in self._call:
                    self._loop.call_soon_threadsafe(self._arrived.put_nowait, answer)
            except grpc.RpcError as exc:
                self._loop.call_soon_threadsafe(self._arrived.put_nowait, exc)
            else:
                self._loop.call_soon_threadsafe(self._arrived.put_nowait, None)
