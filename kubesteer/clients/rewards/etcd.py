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

from kubesteer.clients.rewards.etcd_column import EtcdColumnStore
from kubesteer.clients.rewards.etcd_connection import EtcdConnection, Metadata
from kubesteer.clients.rewards.etcd_options import EtcdOptions, channel_credentials, channel_options
from kubesteer.clients.rewards.etcd_source import EtcdSource
from kubesteer.clients.rewards.etcd_writer import EtcdWriter
from kubesteer.clients.rewards.feed import node_state_feed, reward_feed
from kubesteer.clients.rewards.port import NodeStateSink, RewardSink

_A_WEEK_S = 7 * 86400.0


def etcd_source(options: EtcdOptions, sink: RewardSink) -> EtcdSource:
    """Keeps the sink equal to the reward table in the store."""
    return EtcdSource("etcd", options, reward_feed(sink, options.prefix), partial(connect, options))


def etcd_node_states(options: EtcdOptions, sink: NodeStateSink) -> EtcdSource:
    """Keeps the sink equal to the node states in the store."""
    return EtcdSource("etcd", options, node_state_feed(sink, options.prefix), partial(connect, options))


def etcd_column(
    options: EtcdOptions, *, node: str, holder: str, claim_ttl_s: float = 15.0, column_ttl_s: float = _A_WEEK_S
) -> EtcdColumnStore:
    """One node's column; connects at the first call. Raises InvalidRecord or InvalidSettings for what cannot be one.

    Time to live is in whole seconds, rounded up; below 2 s, etcd by default gives 2 s.
    """
    return EtcdColumnStore(
        options, partial(connect, options), node=node, holder=holder, claim_ttl_s=claim_ttl_s, column_ttl_s=column_ttl_s
    )


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
        self._stubs = {"KV": rpc.KVStub(channel), "Auth": rpc.AuthStub(channel), "Lease": _lease_stub(channel)}
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


def _lease_stub(channel: grpc.aio.Channel) -> Any:
    """With the renewal, by its definition a stream both ways, as the one question and answer that is needed."""
    stub = rpc.LeaseStub(channel)
    stub.LeaseKeepAlive = channel.unary_unary(
        "/etcdserverpb.Lease/LeaseKeepAlive",
        request_serializer=rpc.LeaseKeepAliveRequest.SerializeToString,
        response_deserializer=rpc.LeaseKeepAliveResponse.FromString,
    )
    return stub
