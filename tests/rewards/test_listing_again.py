"""A list after the first brings the sink to the same end in small steps, so that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from kubesteer.clients.rewards.feed import Feed, reward_feed
from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from kubesteer.rewards.table import RewardTable
from tests.rewards.etcd_server import EtcdServer
from tests.rewards.proxy import link_to
from tests.rewards.stores import SOURCES, eventually, means, reward, running

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
    feed.replace(feed.decode(entries(before)))
    return table, feed


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (AFTER, BEFORE), (BEFORE, {}), ({}, AFTER)])
def test_it_ends_where_a_replacement_at_once_ends(
    before: dict[str, float | None], after: dict[str, float | None]
) -> None:
    (at_once, one), (in_steps, other) = feed_after(before), feed_after(before)
    one.replace(one.decode(entries(after)))
    for _ in other.replace_in_steps(other.decode(entries(after))):
        pass
    assert means(in_steps) == means(at_once) == {node: mean for node, mean in after.items() if mean is not None}
    assert (other.records, other.skipped) == (one.records, one.skipped)
    in_steps_error, at_once_error = other.last_error, one.last_error
    assert in_steps_error == at_once_error


async def test_after_a_cut_nobody_waits_for_more_than_500_records(backend: str, etcd: EtcdServer, prefix: str) -> None:
    """1,200 records, all of them taken again."""
    table = Counting()
    for number in range(MANY):
        etcd.put(encode_key(prefix, f"n{number}", "web"), encode_value(reward(f"n{number}")))
    async with link_to(etcd.port) as link:
        source = SOURCES[backend](etcd.options(prefix, endpoints=(link.address,), heartbeat_s=0.2), table)
        async with running(source):
            await eventually(lambda: len(table) == MANY)
            turns = asyncio.create_task(table.count_turns())
            await asyncio.sleep(0)
            table.most_in_a_turn = 0
            link.cut()
            await eventually(lambda: source.status().resyncs >= 1)
            turns.cancel()
            assert len(table) == MANY
            assert table.replaced == 1
            assert 0 < table.most_in_a_turn <= 500
