"""A sink of node states is kept equal to the store, in memory and on etcd under both back ends."""

from __future__ import annotations

import pytest

from kubesteer.model.node_state import encode_state, state_key
from kubesteer.rewards.table import RewardTable
from tests.rewards.stores import Columns, States, means, reward, running, state
from tests.waiting import until


@pytest.fixture
def store(written_store: Columns) -> Columns:
    return written_store


async def test_states_arrive_change_and_go_and_no_reward_gets_among_them(store: Columns) -> None:
    states, table, writer = States(), RewardTable(), store.writer()
    await writer.put(reward("n9", mean=0.4))
    columns = [store.column(node, f"agent-{node}") for node in ("n1", "n2")]
    for column, node in zip(columns, ("n1", "n2"), strict=True):
        await column.claim()
        await column.put_state(state(node))
    source = store.node_states(states)
    async with running(source, store.source(table)):
        await until(lambda: source.status().synced)
        assert states.by_node == {"n1": state("n1"), "n2": state("n2")}
        await columns[0].put_state(state("n1", rate_bps=7.5))
        await until(lambda: states.by_node["n1"] == state("n1", rate_bps=7.5))
        await columns[1].close()
        await until(lambda: states.by_node.keys() == {"n1"})
        await until(lambda: means(table) == {"n9": 0.4})
        status = source.status()
        assert (status.records, status.skipped, status.last_error) == (1, 0, None)
    await columns[0].close()
    await writer.close()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"not JSON", "not JSON"),
        (encode_state(state()).replace(b'"v":1', b'"v":2'), "v 2"),
        (encode_state(state()).replace(b"2000000.0", b"-1"), "rate_bps.egress -1"),
        (encode_state(state()).replace(b"2000000.0", b"NaN"), "rate_bps.egress nan"),
        (encode_state(state()).replace(b'"limit_bps":{', b'"limit_bps":[],"x":{'), r"limit_bps \[\]"),
    ],
)
async def test_a_state_that_cannot_be_read_makes_the_node_unknown_until_the_next(
    store: Columns, value: bytes, said: str
) -> None:
    states = States()
    store.put_raw(state_key(store.prefix, "n1"), encode_state(state()))
    store.put_raw(state_key(store.prefix, "n2") + b"/x", encode_state(state("n2")))
    source = store.node_states(states)
    async with running(source):
        await until(lambda: states.by_node.keys() == {"n1"})
        assert source.status().skipped == 1
        store.put_raw(state_key(store.prefix, "n1"), value)
        await until(lambda: states.by_node == {})
        assert (source.status().records, source.status().skipped) == (0, 2)
        assert said.replace("\\", "") in source.status().last_error
        store.put_raw(state_key(store.prefix, "n1"), encode_state(state(rate_bps=9.0)))
        await until(lambda: states.by_node == {"n1": state(rate_bps=9.0)})


async def test_the_last_states_stay_while_the_store_is_away_and_are_listed_again(store: Columns) -> None:
    states = States()
    store.put_raw(state_key(store.prefix, "n1"), encode_state(state()))
    source = store.node_states(states)
    async with running(source):
        await until(lambda: states.by_node == {"n1": state()})
        store.go_away()
        await until(lambda: source.status().last_error is not None)
        assert states.by_node == {"n1": state()}
        store.come_back()
        store.put_raw(state_key(store.prefix, "n1"), encode_state(state(rate_bps=9.0)))
        await until(lambda: states.by_node == {"n1": state(rate_bps=9.0)})
        assert source.status().resyncs >= 1
