"""The etcd back end: gRPC for asyncio with the message classes and stubs of the aetcd package, on channels of our own.

aetcd's own client has no TLS and no way to log in again; its stubs are all that is used.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import grpc.aio
from aetcd import rpc

from kubesteer.clients.rewards.etcd_connection import EtcdConnection, Metadata
from kubesteer.clients.rewards.etcd_options import EtcdOptions, channel_credentials, channel_options
from kubesteer.clients.rewards.etcd_source import EtcdSource
from kubesteer.clients.rewards.etcd_writer import EtcdWriter
from kubesteer.clients.rewards.port import RewardSink


def etcd_source(options: EtcdOptions, sink: RewardSink) -> EtcdSource:
    """Keeps the sink equal to the store."""
    return EtcdSource("etcd", options, sink, partial(connect, options))


def etcd_writer(options: EtcdOptions) -> EtcdWriter:
    """Writes to the store; connects at the first call."""
    return EtcdWriter(options, partial(connect, options))


async def connect(options: EtcdOptions, address: str) -> EtcdConnection:
    """Opens a connection and logs in. Raises StoreUnavailable."""
    extra = channel_options(options)
    if options.tls:
        credentials = await asyncio.to_thread(channel_credentials, options)
        channel = grpc.aio.secure_channel(address, credentials, options=extra)
    else:
        channel = grpc.aio.insecure_channel(address, options=extra)
    connection = EtcdConnection(_AioWire(channel, options.call_timeout_s), address, options)
    try:
        await connection.log_in()
    except BaseException:
        await connection.close()
        raise
    return connection


class _AioWire:
    """Satisfies Wire."""

    messages: Any = rpc

    def __init__(self, channel: grpc.aio.Channel, call_timeout_s: float) -> None:
        self._channel = channel
        self._call_timeout_s = call_timeout_s
        self._stubs = {"KV": rpc.KVStub(channel), "Auth": rpc.AuthStub(channel)}
        self._watch = rpc.WatchStub(channel)

    async def call(self, service: str, method: str, request: Any, metadata: Metadata) -> Any:
        """As Wire."""
        return await getattr(self._stubs[service], method)(request, timeout=self._call_timeout_s, metadata=metadata)

    async def watch(self, request: Any, metadata: Metadata) -> _AioStream:
        """As Wire."""
        call = self._watch.Watch(metadata=metadata)
        with suppress(asyncio.InvalidStateError):  # the call is over already; the first read tells why
            await call.write(request)
        return _AioStream(call)

    async def close(self) -> None:
        """As Wire."""
        await self._channel.close()


class _AioStream:
    """Satisfies Stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> Any:
        """As Stream."""
        answer = await self._call.read()
        return None if answer is grpc.aio.EOF else answer

    def cancel(self) -> None:
        """As Stream."""
        self._call.cancel()
