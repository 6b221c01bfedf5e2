"""Who has a certificate before authentication is on can make himself anything: the keeper takes it all away again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from aetcd import rpc

from kubesteer.clients.rewards.etcd_access import Role, agents_role
from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT
from tests.etcd_access.secured import PREFIX, SecuredEtcd, base_roles, of_node, user_of
from tests.waiting import WITHIN_S, until

PASSWORD = "known"
NODES = {user_of(node): of_node(node) for node in ("n1", "n2", "n3")}


@contextmanager
def channel(etcd: SecuredEtcd) -> Iterator[grpc.Channel]:
    """As an agent, by the certificate that all share."""
    ca, (cert, key) = etcd.identities.ca, etcd.identities.of(AGENT)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes(), cert.read_bytes())
    with grpc.secure_channel(etcd.address, credentials) as opened:
        yield opened


def take_over(etcd: SecuredEtcd, *names: str) -> None:
    """These become root, and authentication is turned on."""
    with channel(etcd) as opened:
        auth = rpc.AuthStub(opened)
        auth.RoleAdd(rpc.AuthRoleAddRequest(name="root"), timeout=WITHIN_S)
        for name in {ROOT, *names}:
            auth.UserAdd(rpc.AuthUserAddRequest(name=name, password=PASSWORD), timeout=WITHIN_S)
            auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=name, role="root"), timeout=WITHIN_S)
        auth.AuthEnable(rpc.AuthEnableRequest(), timeout=WITHIN_S)


def logged_in(etcd: SecuredEtcd, name: str) -> str:
    """A token; raises grpc.RpcError."""
    with channel(etcd) as opened:
        request = rpc.AuthenticateRequest(name=name, password=PASSWORD)
        token: str = rpc.AuthStub(opened).Authenticate(request, timeout=WITHIN_S).token
        return token


def writes(etcd: SecuredEtcd, token: str) -> None:
    """Outside of what any agent may; raises grpc.RpcError."""
    with channel(etcd) as opened:
        put = rpc.PutRequest(key=b"/elsewhere", value=b"x")
        rpc.KVStub(opened).Put(put, timeout=WITHIN_S, metadata=[("token", token)])


@pytest.mark.parametrize(
    ("names", "others"),
    [
        pytest.param((ROOT, "evil"), {}, id="root, and a stranger"),
        pytest.param((ROOT, AGENT), {}, id="the agents' own user"),
        pytest.param((ROOT, "kubesteer-agent:evil"), {}, id="one that is named like an agent's"),
        pytest.param((ROOT, user_of("n3")), NODES, id="a node's, that is not looked at in this round"),
    ],
)
async def test_an_etcd_that_was_taken_over_before_the_keeper_came_is_taken_back_in_one_round(
    fresh: SecuredEtcd, names: tuple[str, ...], others: dict[str, Role]
) -> None:
    """Passwords are good for nothing after it, nor is a token that was handed out before."""
    take_over(fresh, *names)
    tokens = [logged_in(fresh, name) for name in names]
    for token in tokens:
        writes(fresh, token)
    access = fresh.access()
    shared = [] if others else [agents_role(PREFIX)]
    await access.mend([*base_roles(), *shared], others, looks=1)
    for token in tokens:
        with pytest.raises(grpc.RpcError, match=r"permission denied|invalid auth token"):
            writes(fresh, token)
    for name in names:
        # A node's user keeps a password until it is looked at, and may with it what that node may.
        with pytest.raises(grpc.RpcError, match=r"authentication failed|permission denied"):
            writes(fresh, logged_in(fresh, name))
    with pytest.raises(grpc.RpcError, match="authentication failed"):
        logged_in(fresh, ROOT)
    for _ in range(4):
        await access.mend([*base_roles(), *shared], others, looks=1)
    for name in names:
        with pytest.raises(grpc.RpcError, match="authentication failed"):
            logged_in(fresh, name)
    assert await access.mend([*base_roles(), *shared], others, looks=1) == []
    await access.close()


async def test_nobody_who_makes_users_all_the_time_has_one_that_outlasts_the_round(fresh: SecuredEtcd) -> None:
    rounds = 0

    def attack() -> None:
        nonlocal rounds
        with channel(fresh) as opened:
            auth = rpc.AuthStub(opened)
            while True:
                try:
                    auth.UserAdd(rpc.AuthUserAddRequest(name="evil", password=PASSWORD), timeout=WITHIN_S)
                    auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="evil", role="root"), timeout=WITHIN_S)
                except grpc.RpcError as exc:
                    if "user name is empty" in exc.details() or "permission" in exc.details():
                        return
                rounds += 1

    attacking = asyncio.create_task(asyncio.to_thread(attack))
    await until(lambda: rounds > 3)
    access = fresh.access()
    await access.mend([*base_roles(), agents_role(PREFIX)], {}, looks=5)
    await attacking
    users = fresh.call(rpc.AuthStub, "UserList", rpc.AuthUserListRequest()).users  # type: ignore[attr-defined]
    assert set(users) == {ROOT, EXTENDER, AGENT}
    with pytest.raises(grpc.RpcError, match="authentication failed"):
        logged_in(fresh, "evil")
    await access.close()
