"""Each fault that was seen to lose events or to hang an etcd client, done to both back ends on a real etcd."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesteer.clients.rewards import etcd as aio_backend
from kubesteer.clients.rewards import etcd3_backend
from kubesteer.clients.rewards.etcd3_import import import_etcd3
from kubesteer.clients.rewards.etcd_connection import EtcdConnection
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.reward import encode_key, encode_value, table_range
from kubesteer.rewards.table import RewardTable
from tests.rewards.etcd_server import EtcdServer, free_ports
from tests.rewards.proxy import link_to
from tests.rewards.stores import SOURCES, WRITERS, means, reward, running
from tests.waiting import WITHIN_S, pass_time, until

ONE_MIB = 1 << 20
SLOW = {"heartbeat_s": 60.0, "call_timeout_s": 60.0}
PATIENT_PINGS = {"keepalive_s": 60.0, "keepalive_timeout_s": 60.0}


@pytest.fixture
def own_etcd() -> Iterator[EtcdServer]:
    """An etcd for a test that wipes or freezes it."""
    with EtcdServer() as server:
        yield server


async def connected(backend: str, options: EtcdOptions) -> EtcdConnection:
    if backend == "etcd":
        return await aio_backend.connect(options, options.addresses[0])
    return await etcd3_backend.connect(options, import_etcd3(), options.addresses[0])


async def test_a_list_above_four_mebibytes_arrives(backend: str, etcd: EtcdServer, prefix: str) -> None:
    writer, table = WRITERS[backend](etcd.options(prefix)), RewardTable()
    for i in range(6):  # 6 x 1 MiB in one page of 1000
        await writer.put(reward(f"n{i}", extra={"filler": "x" * ONE_MIB}))
    source = SOURCES[backend](etcd.options(prefix), table)
    async with running(source):
        await until(lambda: len(table) == 6)
        assert source.status().last_error is None
    await writer.close()


async def test_a_watch_batch_above_four_mebibytes_arrives(backend: str, etcd: EtcdServer, prefix: str) -> None:
    value = encode_value(reward(extra={"filler": "x" * ONE_MIB}))
    connection = await connected(backend, etcd.options(prefix))
    before = (await connection.head(table_range(prefix))).revision
    for i in range(6):
        await connection.put(encode_key(prefix, f"n{i}", "web"), value)
    batches = connection.watch(table_range(prefix), start_revision=before + 1)
    changes = []
    async with asyncio.timeout(WITHIN_S):
        async for batch in batches:
            changes += batch.changes if batch is not None else ()
            if len(changes) == 6:
                break
    assert [change.value for change in changes] == [value] * 6
    await batches.aclose()
    await connection.close()


async def test_a_list_in_pages_is_of_one_revision(backend: str, etcd: EtcdServer, prefix: str) -> None:
    writer, table = WRITERS[backend](etcd.options(prefix)), RewardTable()
    for i in range(25):
        await writer.put(reward(f"n{i:02}", mean=0.1))
    connection = await connected(backend, etcd.options(prefix, page_size=10))
    first = await connection.page(table_range(prefix))
    await writer.put(reward("n24", mean=0.9))
    late = await connection.page(table_range(prefix)._replace(start=first.entries[-1][0] + b"\0"))
    pinned = await connection.page(
        table_range(prefix)._replace(start=encode_key(prefix, "n24", "web")), revision=first.head.revision
    )
    assert (len(first.entries), first.more, len(late.entries), late.more) == (10, True, 10, True)
    assert json.loads(pinned.entries[0][1])["mean"] == 0.1
    await connection.close()
    async with running(SOURCES[backend](etcd.options(prefix, page_size=10), table)):
        await until(lambda: len(table) == 25)
    assert len(await WRITERS[backend](etcd.options(prefix, page_size=10)).list()) == 25
    await writer.close()


async def test_a_dropped_connection_is_followed_by_a_new_list_and_no_event_is_lost(
    backend: str, etcd: EtcdServer, prefix: str
) -> None:
    writer, table = WRITERS[backend](etcd.options(prefix)), RewardTable()
    async with link_to(etcd.port) as link:
        source = SOURCES[backend](etcd.options(prefix, endpoints=(link.address,)), table)
        async with running(source):
            await until(lambda: source.status().synced)
            for i in range(300):
                await writer.put(reward(f"n{i % 50}", mean=i / 300))
                if i % 60 == 30:
                    link.cut()
            await writer.delete("n0", "web")
            expected = {f"n{i % 50}": i / 300 for i in range(250, 300) if i % 50}
            await until(lambda: means(table) == expected)
            assert source.status().resyncs >= 1
    await writer.close()


async def test_a_compacted_history_ends_the_watch_with_that_reason(backend: str, etcd: EtcdServer, prefix: str) -> None:
    connection = await connected(backend, etcd.options(prefix))
    await connection.put(encode_key(prefix, "n1", "web"), encode_value(reward()))
    etcd.compact(etcd.revision())
    batches = connection.watch(table_range(prefix), start_revision=1)
    reasons = [batch.ended_because async for batch in _first(batches, 3) if batch and batch.ended_because]
    assert "compacted" in reasons[0]
    await batches.aclose()
    await connection.close()


@pytest.mark.parametrize("busy", [True, False])
async def test_a_frozen_link_is_noticed_by_keepalive(
    backend: str, etcd: EtcdServer, prefix: str, *, busy: bool
) -> None:
    """No heartbeat here, gRPC's pings alone: one after 0.4 s, 0.4 s for its answer; without ping_timeout a minute."""
    writer, table = WRITERS[backend](etcd.options(prefix)), RewardTable()
    async with link_to(etcd.port) as link:
        pings = {"keepalive_s": 0.4, "keepalive_timeout_s": 0.4}
        source = SOURCES[backend](etcd.options(prefix, endpoints=(link.address,), **SLOW, **pings), table)
        async with running(source):
            await until(lambda: source.status().synced)
            for i in range(200 if busy else 0):
                await writer.put(reward("n1", mean=i / 200, extra={"filler": "x" * 10_000}))
            if not busy:
                await pass_time(0.3)  # until gRPC's ping for the last change is answered, too
            link.freeze()
            links = link.made
            await writer.put(reward("n1", mean=1.0))
            await until(lambda: means(table) == {"n1": 1.0})
            assert link.made > links, "the link was not frozen"
    await writer.close()


async def test_a_server_that_stops_answering_is_noticed_by_the_heartbeat(backend: str, own_etcd: EtcdServer) -> None:
    """No keepalive here: a kernel may answer for a process that hangs."""
    table = RewardTable()
    own_etcd.put(encode_key("/k", "n1", "web"), encode_value(reward("n1", mean=0.5)))
    source = SOURCES[backend](own_etcd.options("/k", heartbeat_s=0.1, call_timeout_s=0.3, **PATIENT_PINGS), table)
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.5})
        await until(lambda: source.status().last_error is None)
        own_etcd.freeze()
        await until(lambda: "DEADLINE_EXCEEDED" in (source.status().last_error or ""))
        assert means(table) == {"n1": 0.5}
        own_etcd.thaw()
        own_etcd.put(encode_key("/k", "n1", "web"), encode_value(reward("n1", mean=0.6)))
        await until(lambda: means(table) == {"n1": 0.6})


async def test_a_quiet_store_is_in_touch_all_the_same(backend: str, etcd: EtcdServer, prefix: str) -> None:
    source = SOURCES[backend](etcd.options(prefix, heartbeat_s=0.1), RewardTable())
    async with running(source):
        await until(lambda: source.status().synced)
        for _ in range(5):
            await until(lambda: source.status().last_contact_age_s > 0.05)
            await until(lambda: source.status().last_contact_age_s < 0.05)
        assert source.status().resyncs == 0


async def test_a_store_that_was_wiped_is_listed_anew_even_when_it_has_passed_the_old_revision(
    backend: str, own_etcd: EtcdServer
) -> None:
    """Its cluster id is the same, for it was set up with the same flags."""
    writer, table = WRITERS[backend](own_etcd.options("/k")), RewardTable()
    for i in range(5):
        await writer.put(reward(f"old{i}"))
    source = SOURCES[backend](own_etcd.options("/k", backoff_first_s=1.0, backoff_longest_s=1.0), table)
    async with running(source):
        await until(lambda: len(table) == 5)
        old_revision = source.status().revision
        own_etcd.kill()
        own_etcd.wipe()
        own_etcd.start()
        for i in range(10):
            await writer.put(reward("new", mean=i / 10))
        assert own_etcd.revision() > old_revision
        await until(lambda: means(table) == {"new": 0.9})
        await writer.put(reward("new", mean=0.95))
        await until(lambda: means(table) == {"new": 0.95})
    await writer.close()


async def test_kill_and_restart_lose_nothing(backend: str, own_etcd: EtcdServer) -> None:
    writer, table = WRITERS[backend](own_etcd.options("/k")), RewardTable()
    await writer.put(reward("n1", mean=0.1))
    await writer.put(reward("n2", mean=0.2))
    async with running(SOURCES[backend](own_etcd.options("/k"), table)):
        await until(lambda: len(table) == 2)
        own_etcd.kill()
        own_etcd.start()
        await writer.put(reward("n2", mean=0.3))
        await until(lambda: means(table) == {"n1": 0.1, "n2": 0.3})
    await writer.close()


async def test_the_next_endpoint_is_tried_when_one_is_dead(backend: str, etcd: EtcdServer, prefix: str) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    options = etcd.options(prefix, endpoints=(nobody, etcd.address))
    writer, table = WRITERS[backend](options), RewardTable()
    await writer.put(reward("n1", mean=0.4))
    async with running(SOURCES[backend](options, table)):
        await until(lambda: means(table) == {"n1": 0.4})
    await writer.close()


async def test_a_thousand_changes_a_second_for_a_second_end_up_equal(
    backend: str, etcd: EtcdServer, prefix: str
) -> None:
    writers, table = [WRITERS[backend](etcd.options(prefix)) for _ in range(4)], RewardTable()
    source = SOURCES[backend](etcd.options(prefix), table)
    async with running(source):
        await until(lambda: source.status().synced)

        async def write(number: int) -> None:
            for i in range(250):
                await writers[number].put(reward(f"n{number}-{i % 20}", mean=i / 250))

        await asyncio.gather(*(write(number) for number in range(4)))
        expected = {f"n{number}-{i % 20}": i / 250 for number in range(4) for i in range(230, 250)}
        await until(lambda: means(table) == expected)
        assert source.status().resyncs == 0
    for writer in writers:
        await writer.close()


def test_no_thread_or_file_is_left_after_many_connections(backend: str, etcd: EtcdServer, prefix: str) -> None:
    async def connect_often(times: int) -> None:
        for _ in range(times):
            source = SOURCES[backend](etcd.options(prefix), RewardTable())
            async with running(source):
                await until(lambda source=source: source.status().synced)

    def open_now() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    asyncio.run(connect_often(10))
    files, threads = open_now()
    asyncio.run(connect_often(25))
    asyncio.run(until(lambda: open_now()[0] <= files + 5 and open_now()[1] <= threads + 5))


async def _first(batches: object, count: int) -> object:
    for _ in range(count):
        batch = await anext(batches)
        yield batch
        if batch and batch.ended_because:
            return
