"""Opens the store that the options name: etcd, or a file. Reads records, and edits some.

gRPC and YAML are imported when a store is opened, not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from kubesteer.cli.rewards_options import DEFAULT_ENDPOINT, DEFAULT_PREFIX, StoreOptions
from kubesteer.model.errors import InvalidRecord, StoreUnavailable
from kubesteer.model.reward import EDITED, RewardRecord, decode_record, encode_key, encode_value, format_time

if TYPE_CHECKING:
    from kubesteer.clients.rewards.etcd_caller import EtcdCaller
    from kubesteer.clients.rewards.etcd_connection import EtcdConnection
    from kubesteer.clients.rewards.port import RewardWriter

_ATTEMPTS = 10
"""Before an entry that its agent changes under every attempt is given up."""

Pair = tuple[str, str]
"""Node and pod type."""
Edit = Callable[[RewardRecord | None], RewardRecord | None]
"""From the record that is there to the one that shall be; None for none."""


class Store(Protocol):
    """What the commands need. Calls raise StoreUnavailable, or InvalidRecord."""

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """The records of one node, or of all."""

    async def edit(self, changes: Mapping[Pair, Edit], /, *, now_s: float) -> set[str]:
        """Changes the records of these pairs, at `now_s`; changes that others make meanwhile are not lost.

        The nodes of new records that nothing ends by itself, as no agent is there to take them over.
        """

    async def close(self) -> None:
        """Lets go of the store."""


def open_store(options: StoreOptions) -> Store:
    """The store that complete options name. Raises InvalidSettings. Nothing is connected before the first call."""
    if options.file is not None:
        from kubesteer.clients.rewards.file_writer import FileWriter  # noqa: PLC0415

        return FileWriter(options.file, unix_clock=time.time)
    from kubesteer.clients.rewards.etcd import connect, etcd_writer  # noqa: PLC0415
    from kubesteer.clients.rewards.etcd_caller import EtcdCaller  # noqa: PLC0415
    from kubesteer.clients.rewards.etcd_options import chosen_etcd  # noqa: PLC0415

    endpoints = (endpoint.strip() for endpoint in (options.etcd or DEFAULT_ENDPOINT).split(","))
    etcd = chosen_etcd(
        options,
        section="",
        endpoints=filter(None, endpoints),
        prefix=options.prefix or DEFAULT_PREFIX,
        server_name=options.server_name,
    )
    return _EtcdStore(etcd.prefix, etcd_writer(etcd), EtcdCaller(etcd, partial(connect, etcd)))


class _EtcdStore:
    """Satisfies Store. An entry keeps the lease that it hangs on."""

    def __init__(self, prefix: str, writer: RewardWriter, etcd: EtcdCaller) -> None:
        self._prefix = prefix
        self._writer = writer
        self._etcd = etcd

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        return await self._writer.list(node)

    async def edit(self, changes: Mapping[Pair, Edit], /, *, now_s: float) -> set[str]:
        return {pair[0] for pair, change in changes.items() if await self._edit(pair, change, now_s)}

    async def close(self) -> None:
        await self._writer.close()
        await self._etcd.close()

    async def _edit(self, pair: Pair, change: Edit, now_s: float) -> bool:
        """Whether the record is there for good."""
        for _ in range(_ATTEMPTS):
            for_good = await self._etcd.call(partial(self._edit_once, pair, change, now_s))
            if for_good is not None:
                return for_good
        raise StoreUnavailable(f"the reward of {pair} changed {_ATTEMPTS} times meanwhile; try again")

    async def _edit_once(self, pair: Pair, change: Edit, now_s: float, connection: EtcdConnection) -> bool | None:
        """Whether the record is there for good; None where it had changed meanwhile, or its agent was not told.

        The agent holds what it believes in memory. It is told by a touch of its claim, which it looks at before it
        writes and every few seconds, and by the mark in the record.
        """
        from kubesteer.clients.rewards.claims import claim_key  # noqa: PLC0415
        from kubesteer.clients.rewards.etcd_leases import EntryWrite, look, swap  # noqa: PLC0415

        key, agent = encode_key(self._prefix, *pair), claim_key(self._prefix, pair[0])
        found = (await look(connection, key)).found
        claim = (await look(connection, agent)).found
        record = change(_readable(self._prefix, key, found.value) if found else None)
        revision, lease = (found.revision, found.lease) if found else (0, 0)
        puts = [EntryWrite(key, encode_value(_marked(record, now_s)), lease)] if record else []
        touch = [EntryWrite(agent, None, claim.lease)] if claim else []
        swapped = await swap(connection, key, revision, [*puts, *touch], [] if puts else [key])
        if swapped is None or not swapped.done:
            return None
        after = (await look(connection, agent)).found
        if after is not None and (claim is None or after.value != claim.value):
            return None
        return bool(puts) and lease == 0 and after is None


def _marked(record: RewardRecord, now_s: float) -> RewardRecord:
    return replace(record, extra={**record.extra, EDITED: format_time(now_s)})


def _readable(prefix: str, key: bytes, value: bytes) -> RewardRecord | None:
    """A record that cannot be read counts as absent, and may be replaced."""
    try:
        return decode_record(prefix, key, value)
    except InvalidRecord:
        return None
