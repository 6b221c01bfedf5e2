"""With a Node's user goes what its certificate could write; its records go when it has been gone for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key
from kubesteer.clients.rewards.etcd import etcd_writer
from kubesteer.clients.rewards.etcd_access import EtcdAccess, Nodes
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.node_state import state_key
from kubesteer.model.reward import encode_key
from tests.etcd_access.secured import PREFIX, SecuredEtcd, base_roles, of_node, user_of
from tests.rewards.stores import reward

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG = "a-node-whose-name-is-too-long-for-a-certificate.eu-central-1.compute.internal"
KEEP = timedelta(days=7)


async def mend(access: EtcdAccess, *nodes: str, now: datetime = NOW, uid: str = "u") -> list[str]:
    roles = [of_node(node, uid) for node in nodes]
    return await access.mend(base_roles(), {each.name: each for each in roles}, looks=9, nodes=Nodes(nodes, KEEP, now))


def keys(etcd: SecuredEtcd) -> set[bytes]:
    return {entry.key for entry in etcd.entries(PREFIX)}  # type: ignore[attr-defined]


def fill(etcd: SecuredEtcd, *nodes: str) -> set[bytes]:
    """All that a node's agent writes, without a lease: nothing but the keeper ends it."""
    made = {
        key
        for node in nodes
        for key in (encode_key(PREFIX, node, "web"), state_key(PREFIX, node), claim_key(PREFIX, node))
    }
    for key in made:
        etcd.call(rpc.KVStub, "Put", rpc.PutRequest(key=key, value=b"{}"))
    return made


@pytest.mark.parametrize("gone", ["n1", LONG], ids=["short", "told by its digest"])
async def test_the_records_of_a_node_that_is_gone_for_long_go_and_no_others(fresh: SecuredEtcd, gone: str) -> None:
    """Seven days after its user was taken away; a keeper that is started anew in between knows that still."""
    access = fresh.access()
    await mend(access, gone, "n10")
    theirs, others = fill(fresh, gone), fill(fresh, "n10", "n")
    assert await mend(access, "n10") == [f"user {user_of(gone)} removed"]
    await access.close()
    access = fresh.access()
    await mend(access, "n10", now=NOW + KEEP - timedelta(seconds=1))
    assert keys(fresh) >= theirs | others
    assert await mend(access, "n10", now=NOW + KEEP) == [f"records of {gone} deleted: it has been gone for {KEEP}"]
    assert keys(fresh) == others
    await access.close()


async def test_a_node_that_comes_back_keeps_its_records_and_its_time_begins_anew(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    await mend(access, "n1", "n2")
    theirs = fill(fresh, "n1")
    await mend(access, "n2")
    await mend(access, "n1", "n2", uid="v", now=NOW + timedelta(days=6))
    await mend(access, "n1", "n2", uid="v", now=NOW + timedelta(days=60))
    assert keys(fresh) == theirs
    await mend(access, "n2", uid="v", now=NOW + timedelta(days=60))
    assert keys(fresh) > theirs
    await mend(access, "n2", uid="v", now=NOW + timedelta(days=66))
    assert keys(fresh) > theirs
    await access.close()


async def test_where_nodes_have_no_users_of_their_own_any_more_nothing_is_deleted(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    await mend(access, "n1")
    theirs = fill(fresh, "n1")
    for _ in range(2):
        await access.mend(base_roles(), {}, looks=9)
    await mend(access, now=NOW + 9 * KEEP)
    assert keys(fresh) == theirs
    await access.close()


async def test_the_certificate_of_the_node_before_is_no_good_for_the_node_of_its_name(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    await mend(access, "n1", uid="before")
    writer = etcd_writer(fresh.as_user(user_of("n1", "before")))
    await writer.put(reward("n1"))
    done = await mend(access, "n1", uid="after")
    assert f"user {user_of('n1', 'before')} removed" in done
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await writer.put(reward("n1"))
    now = etcd_writer(fresh.as_user(user_of("n1", "after")))
    await now.put(reward("n1"))
    for each in (writer, now, access):
        await each.close()
