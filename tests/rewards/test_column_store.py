"""What a column in memory and one in etcd have in common: the contract of ColumnStore in port.py."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest

from kubesteer.clients.rewards.claims import LARGEST_RECORD_BYTES, claim_key
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.errors import ColumnClaimed, ColumnEdited, InvalidRecord, InvalidSettings, StoreUnavailable
from kubesteer.model.node_state import state_key
from kubesteer.model.reward import encode_key
from kubesteer.rewards.table import RewardTable
from tests.rewards.stores import SHORT_S, Columns, States, means, reward, running, state
from tests.waiting import until


async def claimed(columns: Columns, *names: str, **changes: float) -> ColumnStore:
    column = columns.column(*names, **changes)
    await column.claim()
    return column


async def loaded(column: ColumnStore) -> dict[str, float]:
    return {record.pod_type: record.mean for record in await column.load()}


async def test_what_was_written_is_loaded_and_what_was_deleted_is_not(columns: Columns) -> None:
    column = await claimed(columns)
    assert await column.load() == []
    await column.write([reward("n1", "web", 0.2), reward("n1", "db", 0.4, extra={"count": 7})])
    await column.write([reward("n1", "web", 0.3)], ["db", "never there"])
    await column.write([reward("n1", "cache", 0.5), reward("n1", "queue", 0.6)], ["queue"])
    assert await loaded(column) == {"web": 0.3, "cache": 0.5}
    await column.close()


async def test_a_write_of_nothing_changes_nothing(columns: Columns) -> None:
    column = await claimed(columns)
    await column.write([])
    assert await column.load() == []
    await column.close()


async def test_columns_of_several_nodes_do_not_meet(columns: Columns) -> None:
    one, other = await claimed(columns, "n1"), await claimed(columns, "n10", "agent-10")
    await one.write([reward("n1", "web", 0.2)])
    await other.write([reward("n10", "web", 0.8)], ["db"])
    assert (await loaded(one), await loaded(other)) == ({"web": 0.2}, {"web": 0.8})
    await one.close()
    await other.close()


async def test_a_source_follows_the_column_and_no_claim_or_state_gets_into_its_table(columns: Columns) -> None:
    table = RewardTable()
    source = columns.source(table)
    async with running(source):
        column = await claimed(columns)
        await column.put_state(state())
        await column.write([reward("n1", "web", 0.2)])
        await until(lambda: means(table) == {"n1": 0.2})
        await column.write([], ["web"])
        await until(lambda: means(table) == {})
        assert (source.status().skipped, source.status().last_error) == (0, None)
    await column.close()


async def test_a_second_agent_is_refused_and_told_who_holds_the_node(columns: Columns) -> None:
    first, second = await claimed(columns, "n1", "agent-a"), columns.column("n1", "agent-b")
    with pytest.raises(ColumnClaimed, match=r"'n1' is claimed by 'agent-a'") as refused:
        await second.claim()
    assert refused.value.holder == "agent-a"
    with pytest.raises(ColumnClaimed, match="agent-a"):
        await second.write([reward("n1", "web", 0.9)])
    await first.write([reward("n1", "web", 0.2)])
    assert await loaded(first) == {"web": 0.2}
    await first.close()
    await second.claim()
    await second.write([reward("n1", "db", 0.4)])
    assert await loaded(second) == {"web": 0.2, "db": 0.4}
    await second.close()


async def test_an_agent_started_again_in_its_pod_takes_its_claim_over_and_its_ghost_writes_no_more(
    columns: Columns,
) -> None:
    ghost = await claimed(columns, "n1", "agent-a")
    await ghost.write([reward("n1", "web", 0.2)])
    again = await claimed(columns, "n1", "agent-a")
    assert await loaded(again) == {"web": 0.2}
    await again.write([reward("n1", "web", 0.3)])
    for attempt in (ghost.write([reward("n1", "web", 0.9)]), ghost.put_state(state()), ghost.keep()):
        with pytest.raises(ColumnClaimed, match="agent-a"):
            await attempt
    assert await loaded(again) == {"web": 0.3}
    assert await again.keep()
    await ghost.close()
    assert await again.keep()
    await again.close()


async def test_the_claim_of_a_silent_agent_is_free_and_the_agent_cannot_write_when_it_wakes(columns: Columns) -> None:
    asleep = await claimed(columns, "n1", "agent-a")
    await asleep.write([reward("n1", "web", 0.2)])
    columns.end_lease_of(claim_key(columns.prefix, "n1"))
    second = await claimed(columns, "n1", "agent-b")
    assert await loaded(second) == {"web": 0.2}
    await second.write([reward("n1", "web", 0.3)])
    with pytest.raises(ColumnClaimed, match="agent-b"):
        await asleep.write([reward("n1", "web", 0.9)])
    await second.close()
    with pytest.raises(ColumnClaimed, match="agent-b"):
        await asleep.write([reward("n1", "web", 0.9)])
    await asleep.claim()
    assert await loaded(asleep) == {"web": 0.3}
    await asleep.write([reward("n1", "web", 0.4)])
    assert await loaded(asleep) == {"web": 0.4}
    await asleep.close()


async def test_a_claim_that_lapsed_and_that_nobody_took_is_taken_up_again(columns: Columns) -> None:
    own_claim = claim_key(columns.prefix, "n1")
    column = await claimed(columns)
    columns.end_lease_of(own_claim)
    await column.put_state(state())
    assert own_claim in columns.stored_keys()
    columns.end_lease_of(own_claim)
    assert await column.keep()
    assert own_claim in columns.stored_keys()
    await column.close()


@pytest.mark.parametrize("first", ["write", "keep", "put_state"])
async def test_after_a_claim_has_lapsed_nothing_is_written_before_a_load(columns: Columns, first: str) -> None:
    """Without a claim nobody could tell the agent of an edit."""
    column = await claimed(columns)
    await column.write([reward("n1", "web", 0.2)])
    columns.end_lease_of(claim_key(columns.prefix, "n1"))
    if first == "keep":
        assert await column.keep()
    elif first == "put_state":
        await column.put_state(state())
    for _ in range(2):
        with pytest.raises(ColumnEdited, match="'n1' may have been changed by hand; load them"):
            await column.write([reward("n1", "web", 0.3)])
    assert await loaded(column) == {"web": 0.2}
    await column.write([reward("n1", "web", 0.3)])
    assert await loaded(column) == {"web": 0.3}
    await column.close()


async def test_a_claim_and_a_state_lapse_by_time_alone_and_the_column_later(columns: Columns) -> None:
    column = await claimed(columns, column_ttl_s=2.0, **SHORT_S)
    await column.put_state(state())
    for key in (claim_key(columns.prefix, "n1"), state_key(columns.prefix, "n1")):
        await columns.until_gone(key)

    async def is_written() -> bool:
        """Unless the claim of a second lapses meanwhile."""
        await column.keep()
        await column.load()
        with suppress(ColumnEdited):
            await column.write([reward("n1", "web", 0.2)])
            return True
        return False

    await until(is_written)
    await columns.until_gone(encode_key(columns.prefix, "n1", "web"))
    await column.close()


async def test_keeping_keeps_the_claim_and_the_state(columns: Columns) -> None:
    """Of 30 s at most 28 s are left after 2 s, and more after a renewal."""
    column = await claimed(columns)
    await column.put_state(state())
    keys = columns.stored_keys()
    await columns.pass_time(2.0)
    before_s = {key: columns.seconds_left(key) for key in keys}
    assert len(before_s) == 2
    assert max(before_s.values()) <= 28

    async def are_renewed() -> bool:
        assert await column.keep()
        return all(columns.seconds_left(key) > before_s[key] for key in keys)

    await until(are_renewed)
    assert columns.stored_keys() == keys
    await column.close()


async def test_a_column_without_an_agent_expires_with_its_state_and_a_source_hears_of_it(columns: Columns) -> None:
    """Also what somebody else wrote into it without a lease, once the agent has loaded it."""
    writer, table, states = columns.writer(), RewardTable(), States()
    await writer.put(reward("n1", "web", 0.2))
    await writer.put(reward("n2", "web", 0.7))
    columns.put_raw(encode_key(columns.prefix, "n1", "junk"), b"not JSON")
    async with running(columns.source(table), columns.node_states(states)):
        column = await claimed(columns)
        assert await loaded(column) == {"web": 0.2}
        await column.write([reward("n1", "db", 0.4)])
        await column.put_state(state())
        await until(lambda: len(table) == 3 and "n1" in states.by_node)
        columns.end_lease_of(claim_key(columns.prefix, "n1"))
        await until(lambda: not states.by_node)
        assert len(table) == 3
        columns.end_lease_of(encode_key(columns.prefix, "n1", "db"))
        await until(lambda: means(table) == {"n2": 0.7})
    assert columns.stored_keys() == {encode_key(columns.prefix, "n2", "web")}
    await writer.close()
    await column.close()


async def test_the_column_survives_its_agent_and_the_state_does_not(columns: Columns) -> None:
    column = await claimed(columns)
    await column.write([reward("n1", "web", 0.2)])
    await column.put_state(state())
    await column.close()
    assert columns.stored_keys() == {encode_key(columns.prefix, "n1", "web")}
    again = await claimed(columns, "n1", "agent-2")
    assert await loaded(again) == {"web": 0.2}
    await again.close()


async def test_a_state_is_kept_by_each_of_its_renewals(columns: Columns) -> None:
    column, states = await claimed(columns), States()
    async with running(columns.node_states(states)):
        for rate_bps in (1e6, 3e6):
            await column.put_state(state(rate_bps=rate_bps))
            await until(lambda rate_bps=rate_bps: states.by_node == {"n1": state(rate_bps=rate_bps)})
    columns.end_lease_of(state_key(columns.prefix, "n1"))
    await column.put_state(state())
    assert state_key(columns.prefix, "n1") in columns.stored_keys()
    await column.close()


async def test_while_the_store_is_away_every_call_says_so_and_then_all_is_as_before(columns: Columns) -> None:
    column = await claimed(columns)
    await column.write([reward("n1", "web", 0.2)])
    columns.go_away()
    attempts = (
        column.write([reward("n1", "web", 0.3)]),
        column.put_state(state()),
        column.keep(),
        column.load(),
        column.sample(10, ""),
        columns.column("n2").claim(),
    )
    for attempt in attempts:
        with pytest.raises(StoreUnavailable):
            await attempt
    columns.come_back()
    assert await column.keep()
    await column.write([reward("n1", "web", 0.4)])
    assert await loaded(column) == {"web": 0.4}
    columns.go_away()
    await column.close()
    columns.come_back()


@pytest.mark.parametrize("first", ["keep", "write", "put_state"])
async def test_a_store_that_was_wiped_is_told_once_and_can_be_filled_again(columns: Columns, first: str) -> None:
    column = await claimed(columns)
    await column.write([reward("n1", "web", 0.2), reward("n1", "db", 0.4)])
    assert await column.keep()
    columns.wipe()
    if first == "write":
        with pytest.raises(ColumnEdited):
            await column.write([reward("n1", "web", 0.3)])
        assert await column.load() == []
        await column.write([reward("n1", "web", 0.3)])
        assert await loaded(column) == {"web": 0.3}
    elif first == "put_state":
        await column.put_state(state())
    assert not await column.keep()
    await column.load()
    await column.write([reward("n1", "web", 0.3), reward("n1", "db", 0.4)])
    assert await loaded(column) == {"web": 0.3, "db": 0.4}
    assert await column.keep()
    await column.close()


async def test_a_store_that_was_empty_when_it_was_wiped_is_told_as_well(columns: Columns) -> None:
    column = await claimed(columns)
    columns.wipe()
    assert not await column.keep()
    assert await column.keep()
    await column.close()


@pytest.mark.parametrize(
    ("limit", "after", "expected"),
    [
        (10, "", ["a/x", "b/x", "b/y", "c/x", "d/x"]),
        (2, "", ["a/x", "b/x"]),
        (2, "a", ["b/x", "b/y"]),
        (3, "b", ["c/x", "d/x", "a/x"]),  # ... and from the start
        (10, "b", ["c/x", "d/x", "a/x", "b/x", "b/y"]),  # each once
        (2, "bb", ["c/x", "d/x"]),  # no node
        (2, "z", ["a/x", "b/x"]),
        (1, "d", ["a/x"]),
    ],
)
async def test_a_sample_begins_above_a_name_and_goes_round(
    columns: Columns, limit: int, after: str, expected: list[str]
) -> None:
    writer, column = columns.writer(), columns.column("b")
    for pair in ("a/x", "b/x", "b/y", "c/x", "d/x"):
        await writer.put(reward(*pair.split("/")))
    assert [f"{r.node}/{r.pod_type}" for r in await column.sample(limit, after)] == expected
    await writer.close()
    await column.close()


async def test_what_cannot_be_read_is_left_out_of_a_load_and_of_a_sample(columns: Columns) -> None:
    column = await claimed(columns)
    await column.write([reward("n1", "web", 0.2)])
    columns.put_raw(encode_key(columns.prefix, "n1", "junk"), b"not JSON")
    assert await loaded(column) == {"web": 0.2}
    assert [record.pod_type for record in await column.sample(10, "")] == ["web"]
    await column.close()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (reward("n2", "web"), "node 'n2' is not 'n1', whose column this is"),
        (reward("n1", "web", extra={"x": math.nan}), "extra field"),
        (reward("n1", "web", extra={"x": "y" * LARGEST_RECORD_BYTES}), "podType 'web' takes 10486.. bytes; shorten"),
    ],
)
async def test_a_record_that_cannot_be_written_stops_the_whole_write(
    columns: Columns, record: object, said: str
) -> None:
    column = await claimed(columns)
    with pytest.raises(InvalidRecord, match=said):
        await column.write([reward("n1", "db"), record], ["cache"])
    assert await column.load() == []
    with pytest.raises(InvalidRecord, match="'n2' is not 'n1'"):
        await column.put_state(state("n2"))
    await column.close()


async def test_a_claim_that_nobody_can_read_is_respected_and_quoted(columns: Columns) -> None:
    columns.put_raw(claim_key(columns.prefix, "n1"), b"hands off")
    with pytest.raises(ColumnClaimed, match="hands off"):
        await columns.column().claim()


async def test_a_column_that_was_never_claimed_is_not_written(columns: Columns) -> None:
    column = columns.column()
    for attempt in (column.write([reward("n1", "web")]), column.keep(), column.put_state(state())):
        with pytest.raises(RuntimeError, match=r"call claim\(\) first"):
            await attempt
    assert columns.stored_keys() == set()
    await column.close()


@pytest.mark.parametrize(
    ("changes", "fault", "said"),
    [
        ({"node": ""}, InvalidRecord, "node ''"),
        ({"holder": ""}, InvalidSettings, "holder is empty"),
        ({"claim_ttl_s": 0.5}, InvalidSettings, "claim_ttl_s 0.5 is not from 1"),
        ({"claim_ttl_s": 60.0}, InvalidSettings, "claim_ttl_s 60.0 is not from 1 up to, and without, column_ttl_s 60"),
    ],
)
def test_settings_that_no_column_can_have_are_named(
    columns: Columns, changes: dict[str, object], fault: type[Exception], said: str
) -> None:
    with pytest.raises(fault, match=said):
        columns.column(**changes)
