"""When a source lists again and how long it waits: what a real etcd cannot be made to do on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from kubesteer.clients.rewards.etcd_connection import Change, Head, RangePage, WatchBatch
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.clients.rewards.etcd_source import EtcdSource
from kubesteer.clients.rewards.feed import reward_feed
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import KeyRange, encode_key, encode_value
from kubesteer.rewards.table import RewardTable
from tests.rewards.stores import means, reward, running
from tests.waiting import until

LISTED = Head(cluster_id=7, revision=100)
KEY = encode_key("/k", "n1", "web")


class Scripted:
    """A connection that lists one reward and then says what it was given to say; at the end it is quiet."""

    def __init__(
        self, *batches: WatchBatch | None, mean: float = 0.5, listed: Head = LISTED, now: Head = LISTED
    ) -> None:
        self.batches = batches
        self.mean = mean
        self.listed = listed
        self.now = now
        self.closed = False
        self.watched_from = 0

    async def page(self, span: KeyRange, *, revision: int = 0) -> RangePage:
        return RangePage(self.listed, [(KEY, encode_value(reward(mean=self.mean)))], more=False)

    async def head(self, span: KeyRange) -> Head:
        return self.now

    async def watch(self, span: KeyRange, *, start_revision: int) -> AsyncGenerator[WatchBatch | None, None]:
        self.watched_from = start_revision
        for batch in self.batches:
            yield batch
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        self.closed = True


def source_of(table: RewardTable, *connections: Scripted | StoreUnavailable, **changes: object) -> EtcdSource:
    ahead = iter(connections)

    async def connect(address: str) -> Scripted:
        found = next(ahead)
        if isinstance(found, StoreUnavailable):
            raise found
        return found

    quick = {"endpoints": ("etcd:2379",), "prefix": "/k", "backoff_first_s": 0.001, "backoff_longest_s": 0.001}
    return EtcdSource("etcd", EtcdOptions(**{**quick, **changes}), reward_feed(table, "/k"), connect)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(WatchBatch(Head(7, 99), [], None), id="the revision went back"),
        pytest.param(WatchBatch(Head(8, 100), [], None), id="another cluster answers"),
        pytest.param(WatchBatch(Head(7, 120), [], "compacted"), id="the history is compacted"),
        pytest.param(WatchBatch(Head(7, 120), [Change(KEY, None, 101)], "cancelled"), id="the watch is cancelled"),
    ],
)
async def test_it_lists_again_when(said: WatchBatch) -> None:
    table = RewardTable()
    first, second = Scripted(said, mean=0.1), Scripted(mean=0.2)
    source = source_of(table, first, second)
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.2})
        assert first.closed
        assert source.status().resyncs == 1


@pytest.mark.parametrize("now", [Head(7, 99), Head(8, 500)])
async def test_a_heartbeat_from_another_store_makes_it_list_again(now: Head) -> None:
    table = RewardTable()
    async with running(source_of(table, Scripted(None, mean=0.1, now=now), Scripted(mean=0.2))):
        await until(lambda: means(table) == {"n1": 0.2})


async def test_a_watch_begins_with_the_revision_after_the_list_and_closes_its_connection_at_the_end() -> None:
    connection, table = Scripted(WatchBatch(Head(7, 100), [], None)), RewardTable()
    async with running(source_of(table, connection)):
        await until(lambda: connection.watched_from == 101)
    assert connection.closed


async def test_the_status_tells_the_revision_of_the_last_change_in_the_sink() -> None:
    batch = WatchBatch(Head(7, 110), [Change(KEY, encode_value(reward(mean=0.9)), 105)], None)
    table = RewardTable()
    source = source_of(table, Scripted(batch))
    async with running(source):
        await until(lambda: means(table) == {"n1": 0.9})
        assert source.status().revision == 105


async def test_a_connection_that_cannot_be_opened_is_told_until_one_can() -> None:
    table = RewardTable()
    source = source_of(
        table, StoreUnavailable("etcd: nobody there"), Scripted(), backoff_first_s=0.05, backoff_longest_s=1
    )
    async with running(source):
        await until(lambda: source.status().last_error == "etcd: nobody there")
        await until(lambda: source.status().synced)
        assert source.status().last_error is None


@pytest.mark.parametrize(
    ("failures", "chance", "wait_s"),
    [
        (1, 0.0, 0.1),  # 0.1 x 2^0
        (3, 0.0, 0.4),  # 0.1 x 2^2
        (3, 1.0, 0.2),  # ... cut by half
        (3, 0.5, 0.3),  # ... cut by a quarter
        (7, 0.0, 5.0),  # 0.1 x 2^6 = 6.4, above the longest
        (10_000, 0.0, 5.0),
    ],
)
def test_waits_double_up_to_the_longest_and_chance_shortens_them(failures: int, chance: float, wait_s: float) -> None:
    options = EtcdOptions(endpoints=("etcd:2379",), backoff_first_s=0.1, backoff_longest_s=5.0)
    source = EtcdSource("etcd", options, reward_feed(RewardTable(), "/k"), None, chance=lambda: chance)
    assert source._wait_s(failures) == pytest.approx(wait_s)
