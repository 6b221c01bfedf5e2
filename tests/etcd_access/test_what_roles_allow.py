"""What the extender and an agent do works under their roles on a real etcd, and what a hostile one tries is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import pytest
from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key, claims_range
from kubesteer.clients.rewards.etcd import connect, etcd_column, etcd_node_states, etcd_source, etcd_writer
from kubesteer.clients.rewards.etcd_access import EtcdAccess, agents_role
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_connection import EtcdConnection
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.etcd_users import AGENT, EXTENDER
from kubesteer.model.node_state import NodeState, state_key, states_range
from kubesteer.model.reward import below, encode_key, node_range, table_range
from kubesteer.rewards.table import RewardTable
from tests.etcd_access.secured import PREFIX, SecuredEtcd, base_roles, of_node, user_of
from tests.rewards.stores import TEN_AT_NIGHT_S, means, reward, running
from tests.waiting import until

OWN, OTHER = "n1", "n2"
LONG = "a-node-whose-name-is-too-long-for-a-certificate.eu-central-1.compute.internal"
DENIED = "permission denied"


@pytest.fixture
async def etcd(guarded: SecuredEtcd) -> SecuredEtcd:
    access = guarded.access()
    roles = {user_of(node): of_node(node) for node in (OWN, OTHER, LONG)}
    await access.mend(base_roles(), roles, looks=9)
    await access.close()
    return guarded


class States:
    """Satisfies NodeStateSink."""

    def __init__(self) -> None:
        self.states: dict[str, NodeState] = {}

    def put(self, state: NodeState) -> None:
        self.states[state.node] = state

    def delete(self, node: str) -> None:
        self.states.pop(node, None)

    def replace(self, states: Any) -> None:
        self.states = {each.node: each for each in states}


@pytest.mark.parametrize("node", [OWN, LONG], ids=["short", "told by its digest"])
async def test_everything_that_an_agent_does_works_with_its_own_nodes_role(etcd: SecuredEtcd, node: str) -> None:
    """Claim, load, write, delete, state, keep-alive, a sample of other nodes, and letting go."""
    other = etcd_column(etcd.as_user(user_of(OTHER)), node=OTHER, holder="b")
    await other.claim()
    await other.write([reward(OTHER, mean=0.2)])
    column = etcd_column(etcd.as_user(user_of(node)), node=node, holder="a", claim_ttl_s=3)
    await column.claim()
    await column.load()
    await column.write([reward(node, mean=0.7), reward(node, "db")])
    await column.write([], ["db"])
    await column.put_state(NodeState(node, TEN_AT_NIGHT_S, {"egress": 1.0}, {"egress": 9}))
    assert await column.keep()
    assert {record.node for record in await column.sample(10, node)} >= {node, OTHER}
    again = etcd_column(etcd.as_user(user_of(node)), node=node, holder="a", claim_ttl_s=3)
    await again.claim()
    assert [record.mean for record in await again.load()] == [0.7]
    for each in (column, again, other):
        await each.close()


async def test_everything_that_the_extender_does_works_with_its_role(etcd: SecuredEtcd) -> None:
    """The table and the states, listed and watched."""
    table, states = RewardTable(), States()
    options = partial(etcd.as_user, EXTENDER)
    agent = etcd_column(etcd.as_user(user_of(OWN)), node=OWN, holder="a")
    await agent.claim()
    await agent.write([reward(OWN, mean=0.1)])
    async with running(etcd_source(options(), table)), running(etcd_node_states(options(), states)):
        await until(lambda: means(table).get(OWN) == 0.1)
        await agent.write([reward(OWN, mean=0.9)])
        await until(lambda: means(table)[OWN] == 0.9)
        await agent.put_state(NodeState(OWN, TEN_AT_NIGHT_S, {"egress": 5.0}, {"egress": 9}))
        await until(lambda: OWN in states.states)
    await agent.close()


Attack = Callable[[EtcdConnection], Awaitable[Any]]


def put(key: bytes) -> Attack:
    return lambda etcd: etcd.put(key, b"{}")


def delete(key: bytes, end: bytes = b"") -> Attack:
    return lambda etcd: etcd.call("KV", "DeleteRange", rpc.DeleteRangeRequest(key=key, range_end=end))


def in_a_transaction(*keys: bytes) -> Attack:
    operations = [rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=b"{}")) for key in keys]
    return lambda etcd: etcd.call("KV", "Txn", rpc.TxnRequest(success=operations))


def read(key: bytes, end: bytes = b"") -> Attack:
    return lambda etcd: etcd.call("KV", "Range", rpc.RangeRequest(key=key, range_end=end))


def auth(method: str, request: Any) -> Attack:
    return lambda etcd: etcd.call("Auth", method, request)


EVERYTHING = rpc.Permission(permType=2, key=b"\0", range_end=b"\0")


def on_users(user: str) -> dict[str, Attack]:
    """Ways of this user to more rights."""
    return {
        "more rights for its role": auth(
            "RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=user, perm=EVERYTHING)
        ),
        "the role root": auth("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role="root")),
        "a user of its own": auth("UserAdd", rpc.AuthUserAddRequest(name="evil", password="x")),
        "another's password": auth("UserChangePassword", rpc.AuthUserChangePasswordRequest(name="root", password="x")),
        "authentication off": auth("AuthDisable", rpc.AuthDisableRequest()),
    }


SHARED = {"rewards": table_range(PREFIX), "states": states_range(PREFIX), "claims": claims_range(PREFIX)}
"""What every agent may write where all have one certificate."""
ATTACKS = {
    "put of another node's record": put(encode_key(PREFIX, OTHER, "web")),
    "put of another node's state": put(state_key(PREFIX, OTHER)),
    "put of another node's claim": put(claim_key(PREFIX, OTHER)),
    "put beside the own range": put(node_range(PREFIX, OWN).end),
    "put of a node whose name begins alike": put(encode_key(PREFIX, OWN + "0", "web")),
    "put of a claim whose name begins alike": put(claim_key(PREFIX, OWN) + b"0"),
    "put outside the prefix": put(b"/elsewhere"),
    "delete of another node's records": delete(node_range(PREFIX, OTHER).start, node_range(PREFIX, OTHER).end),
    "delete of the whole table": delete(table_range(PREFIX).start, table_range(PREFIX).end),
    "delete of everything": delete(b"\0", b"\0"),
    "put in a transaction": in_a_transaction(encode_key(PREFIX, OTHER, "web")),
    "read of everything": read(b"\0", b"\0"),
    "read outside the prefix": read(b"/elsewhere"),
    **on_users(user_of(OWN)),
}
BEYOND = {
    "put outside the prefix": put(b"/elsewhere"),
    "put of the prefix itself": put(PREFIX.encode()),
    "put of a version to come": put(f"{PREFIX}/v2/n1/web".encode()),
    "put in a transaction": in_a_transaction(b"/elsewhere"),
    "put in a transaction, behind one that is allowed": in_a_transaction(encode_key(PREFIX, OWN, "web"), b"/elsewhere"),
    "delete outside the prefix": delete(b"/elsewhere"),
    "delete of all that is below the prefix": delete(*below(f"{PREFIX}/".encode())),
    "delete of everything": delete(b"\0", b"\0"),
    "read of everything": read(b"\0", b"\0"),
    "read outside the prefix": read(b"/elsewhere"),
    **{
        f"{what} {where} the {name}": attack(key)
        for name, span in SHARED.items()
        for what, attack in (("put", put), ("delete", delete), ("put in a transaction", in_a_transaction))
        for where, key in (("just after", span.end), ("just before", span.start[:-1]))
    },
    **{f"delete of the {name} and one key more": delete(span.start, span.end + b"\0") for name, span in SHARED.items()},
    **on_users(AGENT),
}
"""What the certificate that all agents share does not open."""


async def tried(etcd: SecuredEtcd, user: str, attack: Attack) -> str:
    """Why etcd refused it; empty where it did not."""
    options = etcd.as_user(user)
    caller = EtcdCaller(options, partial(connect, options))
    try:
        await caller.call(attack)
    except StoreUnavailable as exc:
        return str(exc)
    finally:
        await caller.close()
    return ""


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_agent_gets_no_further_than_its_own_nodes_range(etcd: SecuredEtcd, attack: str) -> None:
    assert DENIED in await tried(etcd, user_of(OWN), ATTACKS[attack])


@pytest.fixture
async def shared(guarded: SecuredEtcd) -> SecuredEtcd:
    """As in the default deployment: one user for all agents."""
    access = guarded.access()
    await access.mend([*base_roles(), agents_role(PREFIX)], {}, looks=9)
    await access.close()
    return guarded


@pytest.mark.parametrize("attack", BEYOND)
async def test_the_certificate_of_all_agents_writes_nothing_but_rewards_states_and_claims(
    shared: SecuredEtcd, attack: str
) -> None:
    assert DENIED in await tried(shared, AGENT, BEYOND[attack])


@pytest.mark.parametrize("name", SHARED)
async def test_the_certificate_of_all_agents_writes_every_nodes_rewards_states_and_claims(
    shared: SecuredEtcd, name: str
) -> None:
    span = SHARED[name]
    for allowed in (
        put(span.start + b"n1"),
        in_a_transaction(span.start + b"n2"),
        read(*below(f"{PREFIX}/".encode())),
        delete(span.start + b"n1"),
        delete(span.start, span.end),
    ):
        assert await tried(shared, AGENT, allowed) == ""


@pytest.mark.parametrize("attack", [*ATTACKS, "own"])
async def test_the_extender_can_only_read(etcd: SecuredEtcd, attack: str) -> None:
    """Not even what an agent may of its own node."""
    assert DENIED in await tried(etcd, EXTENDER, ATTACKS.get(attack, put(encode_key(PREFIX, OWN, "web"))))


@pytest.mark.parametrize(
    "user", ["kubesteer-agent", user_of("n3"), user_of(OWN, "of-the-node-before"), "nobody", "kubesteer-agent:"]
)
async def test_a_certificate_whose_name_is_no_user_can_not_even_read(etcd: SecuredEtcd, user: str) -> None:
    """The shared certificate opens nothing where each agent has its own, nor does that of a Node that is gone."""
    assert DENIED in await tried(etcd, user, read(table_range(PREFIX).start))
    assert DENIED in await tried(etcd, user, put(encode_key(PREFIX, OWN, "web")))


async def test_what_hangs_on_another_nodes_leases_cannot_be_ended_by_an_agent(etcd: SecuredEtcd) -> None:
    other = etcd_column(etcd.as_user(user_of(OTHER)), node=OTHER, holder="b")
    await other.claim()
    await other.write([reward(OTHER, mean=0.4)])
    leases = {entry.lease for entry in etcd.entries(PREFIX) if b"n2" in entry.key}  # type: ignore[attr-defined]
    assert len(leases) == 2
    for lease in leases:
        revoke = rpc.LeaseRevokeRequest(ID=lease)
        said = await tried(etcd, user_of(OWN), lambda each, it=revoke: each.call("Lease", "LeaseRevoke", it))  # type: ignore[misc]
        assert DENIED in said
    assert [record.mean for record in await other.load()] == [0.4]
    await other.close()


@pytest.mark.parametrize("user", ["root", EXTENDER, user_of(OWN)])
def test_snapshots_and_defragmentation_are_for_root(etcd: SecuredEtcd, user: str) -> None:
    """As the nightly job does them, with the certificate of the maintenance Secret."""
    maintained(etcd, user)


def test_snapshots_and_defragmentation_are_not_for_the_certificate_of_all_agents(shared: SecuredEtcd) -> None:
    maintained(shared, AGENT)


def maintained(server: SecuredEtcd, user: str) -> None:
    """Root may, everybody else is refused."""
    ca, (cert, key) = server.identities.ca, server.identities.of(user)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes(), cert.read_bytes())
    with grpc.secure_channel(server.address, credentials) as channel:
        stub = rpc.MaintenanceStub(channel)
        if user == "root":
            assert sum(len(part.blob) for part in stub.Snapshot(rpc.SnapshotRequest(), timeout=5)) > 0
            stub.Defragment(rpc.DefragmentRequest(), timeout=5)
            return
        with pytest.raises(grpc.RpcError, match=DENIED):
            list(stub.Snapshot(rpc.SnapshotRequest(), timeout=5))
        with pytest.raises(grpc.RpcError, match=DENIED):
            stub.Defragment(rpc.DefragmentRequest(), timeout=5)


async def test_users_that_come_and_go_cost_nobody_else_a_call(etcd: SecuredEtcd) -> None:
    """etcd refuses what was asked before a change of users and takes its turn after it; it is asked again."""
    writer = etcd_writer(etcd.as_user(user_of(OWN)))
    access: EtcdAccess = etcd.access()
    busy = True

    async def change() -> None:
        nonlocal busy
        for number in range(40):
            await access.grant(of_node(f"m{number}"))
        busy = False

    async def ask() -> int:
        count = 0
        while busy:
            await asyncio.gather(*(writer.put(reward(OWN, mean=0.5)), writer.list(OWN)))
            count += 1
        return count

    _, *counts = await asyncio.gather(change(), ask(), ask())
    assert min(counts) > 10
    await writer.close()
    await access.close()
