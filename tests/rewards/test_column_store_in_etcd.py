"""A column on a real etcd that is killed, frozen, full, compacted, restored and guarded."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from aetcd import rpc

from kubesteer.clients.rewards import etcd as aio_backend
from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.clients.rewards.etcd_column import EtcdColumnStore
from kubesteer.clients.rewards.etcd_connection import EtcdConnection, Wire
from kubesteer.model.errors import ColumnClaimed, ColumnEdited, StoreUnavailable
from kubesteer.model.node_state import state_key
from kubesteer.model.reward import OTHER_TYPES, KeyRange, below, encode_key, node_range, table_range
from kubesteer.rewards.table import RewardTable
from tests.rewards.certificates import Certificates
from tests.rewards.etcd_server import EtcdServer, free_ports
from tests.rewards.proxy import link_to
from tests.rewards.stores import NODE_STATES, SOURCES, TTLS_S, States, means, reward, running, state
from tests.waiting import WITHIN_S, until

SMALL_QUOTA_BYTES = 4 << 20
AN_AGENT = """
import asyncio, sys
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.clients.rewards.etcd_options import EtcdOptions

async def hold(address, prefix):
    column = etcd_column(EtcdOptions(endpoints=(address,), prefix=prefix), node="n1", holder="agent-a", claim_ttl_s=2)
    await column.claim()
    print("claimed", flush=True)
    while True:
        await column.keep()
        await asyncio.sleep(0.5)

asyncio.run(hold(*sys.argv[1:]))
"""


class HoldsUpFirst:
    """A wire on which the first transaction that stores a reward stays under way."""

    def __init__(self, wire: Wire, held_up: list[object]) -> None:
        self.messages = wire.messages
        self.close = wire.close
        self._wire = wire
        self._held_up = held_up

    async def call(self, service: str, method: str, request: object, metadata: object) -> object:
        if method == "Txn" and len(request.success) > 1 and not self._held_up:
            self._held_up.append(request)
            raise StoreUnavailable("held up")
        return await self._wire.call(service, method, request, metadata)


class BreaksOff:
    """A wire that takes `count` transactions that store records, and no other."""

    def __init__(self, wire: Wire, count: int) -> None:
        self.messages = wire.messages
        self.close = wire.close
        self._wire = wire
        self._left = count

    async def call(self, service: str, method: str, request: object, metadata: object) -> object:
        if method == "Txn" and len(request.success) > 1:
            self._left -= 1
            if self._left < 0:
                raise StoreUnavailable("broken off")
        return await self._wire.call(service, method, request, metadata)


@pytest.fixture
def own_etcd() -> Iterator[EtcdServer]:
    """An etcd for a test that harms it."""
    with EtcdServer(f"--quota-backend-bytes={SMALL_QUOTA_BYTES}") as server:
        yield server


async def claimed(
    server: EtcdServer, prefix: str = "/k", holder: str = "agent-a", **changes: object
) -> EtcdColumnStore:
    ttls = {name: changes.pop(name, ttl_s) for name, ttl_s in TTLS_S.items()}
    column = etcd_column(server.options(prefix, **changes), node="n1", holder=holder, **ttls)
    await column.claim()
    return column


async def loaded(column: EtcdColumnStore) -> dict[str, float]:
    return {record.pod_type: record.mean for record in await column.load()}


async def test_a_thousand_types_are_written_in_batches_each_of_them_at_once(etcd: EtcdServer, prefix: str) -> None:
    """1,000 / 100 transactions; all entries of one have the revision of that one."""
    column = await claimed(etcd, prefix)
    await column.write([reward("n1", f"type-{i}", i / 1000) for i in range(1000)])
    column_span = node_range(prefix, "n1")
    written = [entry for entry in etcd.entries(prefix) if column_span.start <= entry.key < column_span.end]
    assert sorted(Counter(entry.mod_revision for entry in written).values()) == [100] * 10
    assert await loaded(column) == {f"type-{i}": i / 1000 for i in range(1000)}
    await column.write([], [f"type-{i}" for i in range(1, 1000)])
    assert await loaded(column) == {"type-0": 0.0}
    await column.close()


async def test_records_that_do_not_fit_into_one_request_go_into_several(etcd: EtcdServer, prefix: str) -> None:
    """5 x 0.9 MiB, of which etcd takes 1.5 MiB in a request."""
    column = await claimed(etcd, prefix)
    await column.write([reward("n1", f"type-{i}", extra={"recent": "x" * 900_000}) for i in range(5)])
    assert len(await column.load()) == 5
    await column.close()


async def test_a_write_that_breaks_off_leaves_a_folded_type_in_one_place(etcd: EtcdServer, prefix: str) -> None:
    """Too large for one transaction: `db` is still there with the old "*", and never gone from both or in both."""
    options = etcd.options(prefix)
    large = {"recent": "x" * 700_000}

    async def connect(address: str) -> EtcdConnection:
        connection = await aio_backend.connect(options, address)
        connection._wire = BreaksOff(connection._wire, 1)
        return connection

    column = await claimed(etcd, prefix)
    await column.write([reward("n1", "db", 0.4), reward("n1", OTHER_TYPES, 0.5)])
    await column.close()
    breaking = EtcdColumnStore(options, connect, node="n1", holder="agent-a", **TTLS_S)
    await breaking.claim()
    with pytest.raises(StoreUnavailable, match="broken off"):
        await breaking.write([reward("n1", kind, 0.6, extra=large) for kind in (OTHER_TYPES, "web")], ["db"])
    assert await loaded(breaking) == {"web": 0.6, "db": 0.4, OTHER_TYPES: 0.5}
    await breaking.close()


async def test_a_server_killed_between_two_writes_loses_neither_of_them_nor_the_claim(own_etcd: EtcdServer) -> None:
    column = await claimed(own_etcd)
    await column.write([reward("n1", "web", 0.2)])
    own_etcd.kill()
    with pytest.raises(StoreUnavailable, match="UNAVAILABLE"):
        await column.write([reward("n1", "db", 0.4)])
    own_etcd.start()
    await column.write([reward("n1", "db", 0.4)])
    assert await loaded(column) == {"web": 0.2, "db": 0.4}
    with pytest.raises(ColumnClaimed, match="agent-a"):
        await claimed(own_etcd, holder="agent-b")
    assert await column.keep()
    await column.close()


async def test_a_compaction_is_no_hindrance(own_etcd: EtcdServer) -> None:
    column, table = await claimed(own_etcd), RewardTable()
    async with running(SOURCES["etcd"](own_etcd.options("/k"), table)):
        for mean in (0.2, 0.3):
            await column.write([reward("n1", "web", mean)])
            own_etcd.compact(own_etcd.revision())
            assert await column.keep()
            await until(lambda mean=mean: means(table) == {"n1": mean})
    await column.close()


async def test_writes_that_a_slow_disk_held_up_are_repeated_and_count_once(own_etcd: EtcdServer) -> None:
    """All three time out; the third is repeated, as an agent does it: own writes that landed late look like edits."""
    column = await claimed(own_etcd, claim_ttl_s=30.0, call_timeout_s=1.0)
    await column.write([reward("n1", "web", 0.1, evidence=1.0)])
    own_etcd.freeze()
    for runs in (2.0, 3.0, 4.0):
        with pytest.raises(StoreUnavailable, match="DEADLINE_EXCEEDED"):
            await column.write([reward("n1", "web", 0.1, evidence=runs)])
    with pytest.raises(StoreUnavailable):
        await column.keep()
    own_etcd.thaw()
    with suppress(ColumnEdited):
        await column.write([reward("n1", "web", 0.1, evidence=4.0)])
    await column.load()
    await column.write([reward("n1", "web", 0.1, evidence=4.0)])
    for _ in range(20):
        assert [record.evidence for record in await column.load()] == [4.0]
    assert await column.keep()
    await column.close()


async def test_a_write_that_was_held_up_does_not_land_after_a_later_one(etcd: EtcdServer, prefix: str) -> None:
    options, held_up = etcd.options(prefix), []

    async def connect(address: str) -> EtcdConnection:
        connection = await aio_backend.connect(options, address)
        connection._wire = HoldsUpFirst(connection._wire, held_up)
        return connection

    column = EtcdColumnStore(options, connect, node="n1", holder="agent-a", **TTLS_S)
    await column.claim()
    with pytest.raises(StoreUnavailable, match="held up"):
        await column.write([reward("n1", "web", 0.1, evidence=2.0)])
    await column.write([reward("n1", "web", 0.1, evidence=3.0)])
    answer = etcd.call(rpc.KVStub, "Txn", held_up[0])
    assert not answer.succeeded
    assert [record.evidence for record in await column.load()] == [3.0]
    await column.close()


async def test_a_frozen_link_is_given_up_after_the_time_of_a_call(etcd: EtcdServer, prefix: str) -> None:
    async with link_to(etcd.port) as link:
        column = await claimed(etcd, prefix, endpoints=(link.address,), call_timeout_s=1.0)
        await column.write([reward("n1", "web", 0.2)])
        link.freeze()
        with pytest.raises(StoreUnavailable):
            await column.write([reward("n1", "web", 0.3)])
        await column.write([reward("n1", "web", 0.3)])
        assert await loaded(column) == {"web": 0.3}
        await column.close()


async def test_the_next_endpoint_is_asked_when_one_is_dead(etcd: EtcdServer, prefix: str) -> None:
    column = await claimed(etcd, prefix, endpoints=(f"127.0.0.1:{free_ports(1)[0]}", etcd.address))
    await column.write([reward("n1", "web", 0.2)])
    assert await loaded(column) == {"web": 0.2}
    await column.close()


async def test_a_full_store_says_what_to_do_and_takes_everything_when_there_is_room_again(own_etcd: EtcdServer) -> None:
    column = await claimed(own_etcd)
    await column.write([reward("n1", "web", 0.2)])
    own_etcd.fill(b"/filler")
    for attempt in (column.write([reward("n1", "web", 0.3)]), column.put_state(state())):
        with pytest.raises(StoreUnavailable, match="database space exceeded; compact and defragment it"):
            await attempt
    assert await column.keep()
    assert await loaded(column) == {"web": 0.2}
    own_etcd.make_room(b"/filler")
    await column.write([reward("n1", "web", 0.3)])
    await column.put_state(state())
    assert await loaded(column) == {"web": 0.3}
    await column.close()


async def test_a_store_restored_from_a_backup_is_told(own_etcd: EtcdServer) -> None:
    """Claim and leases are in the backup as well: only the revision tells."""
    column = await claimed(own_etcd)
    await column.write([reward("n1", "web", 0.2)])
    own_etcd.kill()
    own_etcd.back_up()
    own_etcd.start()
    assert await column.keep()
    await column.write([reward("n1", "web", 0.3)])
    own_etcd.kill()
    own_etcd.restore()
    own_etcd.start()
    assert not await column.keep()
    assert await loaded(column) == {"web": 0.2}
    await column.write([reward("n1", "web", 0.3)])
    assert await column.keep()
    await column.close()


async def test_the_columns_lease_is_renewed_when_a_third_of_its_time_is_over(etcd: EtcdServer, prefix: str) -> None:
    """Of 60 s: 20 s after the claim, and not before."""
    options, now_s = etcd.options(prefix), 0.0
    column = EtcdColumnStore(
        options, partial(aio_backend.connect, options), node="n1", holder="agent-a", clock=lambda: now_s, **TTLS_S
    )
    await column.claim()
    await column.write([reward("n1", "web", 0.2)])
    key = encode_key(prefix, "n1", "web")
    await until(lambda: etcd.seconds_left(key) <= 58)
    before_s = etcd.seconds_left(key)
    now_s = 19.0
    assert await column.keep()
    assert etcd.seconds_left(key) <= before_s

    async def is_renewed() -> bool:
        nonlocal now_s
        now_s += 20.0
        assert await column.keep()
        return etcd.seconds_left(key) > before_s

    await until(is_renewed)
    await column.close()


async def test_a_column_whose_lease_alone_was_taken_away_is_told_as_lost(etcd: EtcdServer, prefix: str) -> None:
    column = await claimed(etcd, prefix, claim_ttl_s=30.0)
    await column.write([reward("n1", "web", 0.2)])
    etcd.end_lease_of(encode_key(prefix, "n1", "web"))
    assert await column.load() == []
    await column.write([reward("n1", "db", 0.4)])
    assert not await column.keep()
    assert await loaded(column) == {"db": 0.4}
    await column.close()


async def test_a_restart_goes_on_with_the_lease_and_another_time_to_live_takes_every_record_along(
    etcd: EtcdServer, prefix: str
) -> None:
    """250 records are attached in 3 transactions, and none of them changes."""

    def records() -> dict[bytes, tuple[bytes, int, int]]:
        span = node_range(prefix, "n1")
        return {
            e.key: (e.value, e.lease, e.mod_revision) for e in etcd.entries(prefix) if span.start <= e.key < span.end
        }

    first = await claimed(etcd, prefix)
    await first.write([reward("n1", f"type-{i}", i / 250) for i in range(250)])
    before = records()
    again = await claimed(etcd, prefix)
    expected = await loaded(again)
    assert records() == before
    longer = await claimed(etcd, prefix, column_ttl_s=90.0)
    assert await loaded(longer) == expected
    after = records()
    assert {key: value for key, (value, _, _) in after.items()} == {key: value for key, (value, _, _) in before.items()}
    assert len({lease for _, lease, _ in after.values()}) == 1
    assert {lease for _, lease, _ in after.values()} != {lease for _, lease, _ in before.values()}
    assert len({revision for _, _, revision in after.values()}) == 3
    for column in (longer, again, first):
        await column.close()


async def test_the_node_of_an_agent_killed_without_a_goodbye_is_free_when_its_claim_has_lapsed(
    etcd: EtcdServer, prefix: str
) -> None:
    command = (sys.executable, "-c", AN_AGENT, etcd.address, prefix)
    agent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert await agent.stdout.readline() == b"claimed\n"
        with pytest.raises(ColumnClaimed, match="agent-a"):
            await claimed(etcd, prefix, "agent-b")
    finally:
        agent.kill()
        await agent.wait()
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                column = await claimed(etcd, prefix, "agent-b")
            except ColumnClaimed:
                await asyncio.sleep(0.05)
            else:
                break
    await column.write([reward("n1", "web", 0.2)])
    await column.close()


async def test_a_client_with_a_certificate_has_a_column(tmp_path: Path) -> None:
    with EtcdServer(certificates=Certificates(tmp_path, clients_must_show_theirs=True)) as server:
        column = await claimed(server)
        await column.write([reward("n1", "web", 0.2)])
        assert await column.keep()
        assert await loaded(column) == {"web": 0.2}
        await column.close()


async def test_an_agents_role_is_its_own_node_and_a_sample_and_an_extenders_role_is_to_read() -> None:
    """The token runs out after a second without use, and with a restart."""
    own_keys = [KeyRange(key("/k", "n1"), b"") for key in (state_key, claim_key)]
    agent, extender = ({"user": name, "password": "secret"} for name in ("agent-n1", "extender"))
    with EtcdServer("--auth-token-ttl=1") as server:
        server.put(encode_key("/k", "n2", "web"), b"not JSON")
        server.turn_auth_on(
            {"agent-n1": [node_range("/k", "n1"), *own_keys], "extender": []},
            "secret",
            reads={"agent-n1": table_range("/k"), "extender": below(b"/k/")},
        )
        table, states = RewardTable(), States()
        seen = server.options("/k", **extender)
        async with running(SOURCES["etcd"](seen, table), NODE_STATES["etcd"](seen, states)):
            column = await claimed(server, **agent)
            await column.write([reward("n1", "web", 0.2), reward("n1", "db", 0.2)])
            await column.write([], ["db"])
            await column.put_state(state())
            assert await loaded(column) == {"web": 0.2}
            assert [record.node for record in await column.sample(10, "")] == ["n1"]
            await until(lambda: means(table) == {"n1": 0.2} and states.by_node == {"n1": state()})
            server.kill()
            server.start()
            assert await column.keep()
            await column.put_state(state(rate_bps=5.0))
            await until(lambda: states.by_node == {"n1": state(rate_bps=5.0)})
            await column.close()
            await until(lambda: states.by_node == {})
        foreign = etcd_column(server.options("/k", **agent), node="n2", holder="agent-a")
        with pytest.raises(StoreUnavailable, match="permission denied"):
            await foreign.claim()
        await foreign.close()
        with pytest.raises(StoreUnavailable, match="user name is empty"):
            await claimed(server)
