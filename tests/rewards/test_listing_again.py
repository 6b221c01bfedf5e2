"""A list after the first brings the sink to the same end in small steps, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from kubesteer.clients.rewards.feed import Feed, Listing, reward_feed
from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from kubesteer.rewards.table import RewardTable
from tests.rewards.etcd_server import EtcdServer
from tests.rewards.proxy import link_to
from tests.rewards.stores import SOURCES, means, reward, running
from tests.waiting import until

BEFORE = {"n1": 0.1, "n2": 0.2, "n3": None, "n4": None}
"""Mean by node; None is an entry that cannot be read."""
AFTER = {"n1": 0.5, "n3": 0.3, "n5": 0.6, "n6": None}
MANY = 1_200


class Counting(RewardTable):
    """Tells how often it was replaced, and how many records it took between two turns of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0
        self.put_since_turn = self.most_in_a_turn = 0

    def put(self, record: RewardRecord) -> None:
        super().put(record)
        self.put_since_turn += 1
        self.most_in_a_turn = max(self.most_in_a_turn, self.put_since_turn)

    def replace(self, records: Iterable[RewardRecord]) -> None:
        self.replaced += 1
        super().replace(records)

    async def count_turns(self) -> None:
        while True:
            self.put_since_turn = 0
            await asyncio.sleep(0)


def entries(means_of: dict[str, float | None]) -> list[tuple[bytes, bytes]]:
    return [
        (encode_key("/k", node, "web"), b"junk" if mean is None else encode_value(reward(node, mean=mean)))
        for node, mean in means_of.items()
    ]


def feed_after(before: dict[str, float | None]) -> tuple[RewardTable, Feed[RewardRecord]]:
    table = RewardTable()
    feed = reward_feed(table, "/k")
    feed.replace(listing_of(feed, entries(before)))
    return table, feed


def listing_of(feed: Feed[RewardRecord], *parts: list[tuple[bytes, bytes]]) -> Listing[RewardRecord]:
    listing = feed.listing()
    for part in parts:
        listing.add(part)
    return listing


def of_n1(numbers: Iterable[int], *, junk: bool = False) -> list[tuple[bytes, bytes]]:
    return [
        (encode_key("/k", "n1", f"t{i:05}"), b"junk" if junk else encode_value(reward("n1", f"t{i:05}")))
        for i in numbers
    ]


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (AFTER, BEFORE), (BEFORE, {}), ({}, AFTER)])
def test_it_ends_where_a_replacement_at_once_ends(
    before: dict[str, float | None], after: dict[str, float | None]
) -> None:
    (at_once, one), (in_steps, other) = feed_after(before), feed_after(before)
    one.replace(listing_of(one, entries(after)))
    for _ in other.replace_in_steps(listing_of(other, entries(after))):
        pass
    assert means(in_steps) == means(at_once) == {node: mean for node, mean in after.items() if mean is not None}
    assert (other.records, other.skipped) == (one.records, one.skipped)
    in_steps_error, at_once_error = other.last_error, one.last_error
    assert in_steps_error == at_once_error


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("way", ["listed", "listed again", "watched"])
def test_of_one_node_no_more_than_so_many_records_are_read(way: str, junk: bool) -> None:
    """5,000 of n1, in pages, 1,000 of which count, readable or not; n2's one is read as ever. The rest is counted."""
    table, feed = feed_after({})
    many, own = of_n1(range(5000), junk=junk), entries({"n2": 0.5})
    if way == "listed":
        feed.replace(listing_of(feed, many[:700], many[700:], own))
    elif way == "listed again":
        for _ in feed.replace_in_steps(listing_of(feed, many[:700], many[700:], own)):
            pass
    else:
        for key, value in many + own:
            feed.put(key, value)
    assert (len(table), feed.records) == ((1, 1) if junk else (1001, 1001))
    assert feed.skipped == (5000 if junk else 4000)
    assert feed.last_error == "'n1' has over 1000 entries in the store: the rest is not read; look at its agent"


def test_a_node_with_too_many_records_changes_those_it_has_and_gets_room_by_deleting() -> None:
    table, feed = feed_after({})
    feed.replace(listing_of(feed, of_n1(range(1000))))
    assert feed.last_error is None
    [changed], [new, more] = of_n1([7]), of_n1([2000, 2001])
    feed.put(changed[0], encode_value(reward("n1", "t00007", mean=0.125)))
    feed.put(*new)
    assert (len(table), feed.skipped) == (1000, 1)
    assert 0.125 in {record.mean for record in table.rows()}
    feed.delete(new[0])  # one that was left out
    feed.delete(changed[0])
    feed.put(*more)
    feed.put(*new)
    assert {"t02001"} == {record.pod_type for record in table.rows()} - {f"t{i:05}" for i in range(1000)}


def test_a_list_of_other_records_takes_the_place_of_a_nodes_earlier_ones() -> None:
    table, feed = feed_after({})
    feed.replace(listing_of(feed, of_n1(range(1500))))
    for _ in feed.replace_in_steps(listing_of(feed, of_n1(range(3000, 4000)))):
        pass
    assert {record.pod_type for record in table.rows()} == {f"t{i:05}" for i in range(3000, 4000)}
    assert (feed.skipped, feed.last_error) == (0, None)
    feed.put(*of_n1([1])[0])
    assert (len(table), feed.skipped) == (1000, 1)


async def test_after_a_cut_nobody_waits_for_more_than_500_records(backend: str, etcd: EtcdServer, prefix: str) -> None:
    """1,200 records, all of them taken again."""
    table = Counting()
    for number in range(MANY):
        etcd.put(encode_key(prefix, f"n{number}", "web"), encode_value(reward(f"n{number}")))
    async with link_to(etcd.port) as link:
        source = SOURCES[backend](etcd.options(prefix, endpoints=(link.address,), heartbeat_s=0.2), table)
        async with running(source):
            await until(lambda: len(table) == MANY)
            turns = asyncio.create_task(table.count_turns())
            await asyncio.sleep(0)
            table.most_in_a_turn = 0
            link.cut()
            await until(lambda: source.status().resyncs >= 1)
            turns.cancel()
            assert len(table) == MANY
            assert table.replaced == 1
            assert 0 < table.most_in_a_turn <= 500
