"""What memory, a file, and etcd under both back ends have in common: the contract of port.py."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from kubesteer.model.errors import InvalidRecord, StoreUnavailable
from kubesteer.model.reward import RewardRecord, encode_key, encode_value, table_range
from kubesteer.rewards.table import RewardTable
from tests.rewards.stores import Store, held, means, reward, running
from tests.waiting import until

ODD_NAMES = ["a/b", "..", ".", "%2F", "naïve node", "line\nbreak", "\0", "名前", "x" * 300, "on", "12"]


async def test_what_the_store_holds_at_the_start_is_in_the_sink(any_store: Store) -> None:
    writer, table = any_store.writer(), RewardTable()
    records = [reward(f"n{i}", pod_type, i / 10) for i in range(3) for pod_type in ("web", "db")]
    for record in records:
        await writer.put(record)
    source = any_store.source(table)
    assert not source.status().synced
    async with running(source):
        await until(lambda: source.status().synced)
        assert held(table) == {(r.node, r.pod_type): r for r in records}
        status = source.status()
    assert (status.kind, status.records, status.skipped, status.last_error) == (any_store.kind, 6, 0, None)
    await writer.close()


async def test_an_empty_store_is_a_synced_one(any_store: Store) -> None:
    table = RewardTable()
    source = any_store.source(table)
    async with running(source):
        await until(lambda: source.status().synced)
    assert len(table) == 0


async def test_puts_and_deletes_arrive_while_it_runs(any_store: Store) -> None:
    writer, table = any_store.writer(), RewardTable()
    source = any_store.source(table)
    async with running(source):
        await until(lambda: source.status().synced)
        before = source.status().revision
        await writer.put(reward("n1", mean=0.2))
        await writer.put(reward("n2", mean=0.4))
        await until(lambda: means(table) == {"n1": 0.2, "n2": 0.4})
        await writer.put(reward("n1", mean=0.7))
        await until(lambda: means(table) == {"n1": 0.7, "n2": 0.4})
        await writer.delete("n2", "web")
        await writer.delete("n2", "never there")
        await until(lambda: means(table) == {"n1": 0.7})
        assert source.status().revision > before
        assert source.status().records == 1
    await writer.close()


async def test_two_sources_of_one_store_both_hear_of_a_put(any_store: Store) -> None:
    writer, tables = any_store.writer(), (RewardTable(), RewardTable())
    async with running(*(any_store.source(table) for table in tables)):
        await writer.put(reward("n1", mean=0.3))
        for table in tables:
            await until(lambda table=table: means(table) == {"n1": 0.3})
    await writer.close()


async def test_a_name_of_any_kind_stays_one_name(any_store: Store) -> None:
    odd = [name for name in ODD_NAMES if not (any_store.kind == "file" and name == "\0")]  # YAML has no NUL
    records = [reward(node, pod_type) for node in odd for pod_type in (odd[0], odd[-1])]
    writer, table = any_store.writer(), RewardTable()
    for record in records:
        await writer.put(record)
    source = any_store.source(table)
    async with running(source):
        await until(lambda: len(table) == len(records))
        await writer.delete(odd[0], odd[0])
        await until(lambda: len(table) == len(records) - 1)
    assert held(table) == {(r.node, r.pod_type): r for r in records[1:]}
    await writer.close()


async def test_fields_that_are_not_known_are_kept_in_the_store_and_left_out_of_the_table(any_store: Store) -> None:
    record = reward(extra={"lastOutcome": {"container": "a", "at": [1, 2.5, None, True]}})
    writer, table = any_store.writer(), RewardTable()
    await writer.put(record)
    async with running(any_store.source(table)):
        await until(lambda: held(table) == {("n1", "web"): replace(record, extra={})})
    assert [read.extra for read in await writer.list()] == [record.extra]
    await writer.close()


async def test_while_the_store_is_away_the_last_table_stays_in_use_and_tells_its_age(any_store: Store) -> None:
    writer, table = any_store.writer(), RewardTable()
    await writer.put(reward("n1", mean=0.8))
    source = any_store.source(table)
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.8})
        any_store.go_away()
        await until(lambda: source.status().last_error is not None)
        assert means(table) == {"n1": 0.8}
        assert source.status().synced
        age_s = source.status().last_contact_age_s
        await until(lambda: source.status().last_contact_age_s >= age_s + 0.2)
        assert means(table) == {"n1": 0.8}
        any_store.come_back()
        await writer.put(reward("n1", mean=0.1))
        await until(lambda: means(table) == {"n1": 0.1})
        await until(lambda: source.status().last_error is None)
        await until(lambda: source.status().last_contact_age_s < age_s + 0.2)
        assert source.status().resyncs >= 1
    await writer.close()


async def test_a_store_that_is_away_at_the_start_is_waited_for(any_store: Store) -> None:
    writer, table = any_store.writer(), RewardTable()
    await writer.put(reward("n1", mean=0.8))
    source = any_store.source(table)
    any_store.go_away()
    async with running(source):
        await until(lambda: source.status().last_error is not None)
        assert not source.status().synced
        assert source.status().last_contact_age_s is None
        any_store.come_back()
        await until(lambda: means(table) == {"n1": 0.8})
    await writer.close()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"not json", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (encode_value(reward()).replace(b'"v":1', b'"v":2'), "v 2"),
        (encode_value(reward()).replace(b"0.9", b"NaN"), "mean nan"),
        (encode_value(reward()).replace(b"0.9", b"1.5"), "mean 1.5"),
    ],
)
async def test_a_bad_value_is_skipped_counted_named_and_stops_nothing(
    written_store: Store, value: bytes, said: str
) -> None:
    writer, table = written_store.writer(), RewardTable()
    await writer.put(reward("bad", mean=0.3))
    source = written_store.source(table)
    async with running(source):
        await until(lambda: means(table) == {"bad": 0.3})
        written_store.put_raw(encode_key(written_store.prefix, "bad", "web"), value)
        await writer.put(reward("n2", mean=0.5))
        await until(lambda: means(table) == {"n2": 0.5})
        status = source.status()
        assert (status.records, status.skipped) == (1, 1)
        assert "/bad/web" in status.last_error
        assert said in status.last_error
        await writer.put(reward("bad", mean=0.6))
        await until(lambda: means(table) == {"bad": 0.6, "n2": 0.5})
        assert (source.status().skipped, source.status().last_error) == (0, None)
    await writer.close()


async def test_bad_entries_that_were_there_first_are_skipped_as_well(written_store: Store) -> None:
    writer, table = written_store.writer(), RewardTable()
    await writer.put(reward("n1", mean=0.3))
    below = table_range(written_store.prefix).start
    for key in (below, below + b"only-a-node", below + b"n/t/x", below + b"%6e1/web", below + b"\xff/web"):
        written_store.put_raw(key, encode_value(reward()))
    source = written_store.source(table)
    async with running(source):
        await until(lambda: source.status().synced)
        assert means(table) == {"n1": 0.3}
        assert source.status().skipped == 5
        assert await writer.list() == [reward("n1", mean=0.3)]
    await writer.close()


async def test_an_agent_lists_its_own_node_and_no_other(written_store: Store) -> None:
    writer = written_store.writer()
    mine = [reward("n1", "db"), reward("n1", "web")]
    for record in [*mine, reward("n"), reward("n10"), reward("n1/web"), reward("n1-b")]:
        await writer.put(record)
    assert sorted(await writer.list("n1"), key=lambda r: r.pod_type) == mine
    assert len(await writer.list()) == 6
    assert await writer.list("nobody") == []
    await writer.close()


async def test_a_writer_says_that_the_store_is_away_and_works_when_it_is_back(written_store: Store) -> None:
    writer = written_store.writer()
    await writer.put(reward("n1", mean=0.3))
    written_store.go_away()
    for attempt in (writer.put(reward()), writer.delete("n1", "web"), writer.list()):
        with pytest.raises(StoreUnavailable):
            await attempt
    written_store.come_back()
    await writer.put(reward("n1", mean=0.4))
    assert [record.mean for record in await writer.list("n1")] == [0.4]
    await writer.close()


async def test_what_no_reader_could_read_is_never_written(written_store: Store) -> None:
    writer = written_store.writer()
    for extra in ({"x": math.nan}, {"mean": 1}, {"x": object()}):
        with pytest.raises(InvalidRecord, match="extra field"):
            await writer.put(RewardRecord("n1", "web", 0.5, 1.0, 0.0, extra))
    with pytest.raises(InvalidRecord, match="node ''"):
        await writer.delete("", "web")
    assert await writer.list() == []
    await writer.close()
