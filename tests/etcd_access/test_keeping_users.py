"""Users, roles and authentication of a real etcd: made, found as they are, and mended when somebody changed them."""

from __future__ import annotations

import pytest
from aetcd import rpc

from kubesteer.clients.rewards.etcd import etcd_writer
from kubesteer.clients.rewards.etcd_access import agents_role
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT
from kubesteer.model.reward import node_range
from tests.etcd_access.secured import PREFIX, SecuredEtcd, base_roles, of_node, user_of
from tests.rewards.stores import reward

NODES = {user_of(node): of_node(node) for node in ("n1", "n2", "n3")}


def users(server: SecuredEtcd) -> set[str]:
    return set(server.call(rpc.AuthStub, "UserList", rpc.AuthUserListRequest()).users)  # type: ignore[attr-defined]


def permissions(server: SecuredEtcd, role: str) -> set[tuple[bytes, bytes, int]]:
    found = server.call(rpc.AuthStub, "RoleGet", rpc.AuthRoleGetRequest(role=role))
    return {(each.key, each.range_end, each.permType) for each in found.perm}  # type: ignore[attr-defined]


async def test_from_nothing_all_users_are_there_and_authentication_is_on(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    done = await access.mend([*base_roles(), agents_role(PREFIX)], {}, looks=5)
    assert users(fresh) == {ROOT, EXTENDER, AGENT}
    assert "authentication turned on" in done
    assert await access.mend([*base_roles(), agents_role(PREFIX)], {}, looks=5) == []
    await access.close()


async def test_what_was_made_while_authentication_was_off_is_forgotten(fresh: SecuredEtcd) -> None:
    """A user named root with a password of the maker's, and one more who has its role."""
    for name in (ROOT, "evil"):
        fresh.call(rpc.AuthStub, "UserAdd", rpc.AuthUserAddRequest(name=name, password="known"))
    fresh.call(rpc.AuthStub, "RoleAdd", rpc.AuthRoleAddRequest(name="root"))
    fresh.call(rpc.AuthStub, "UserGrantRole", rpc.AuthUserGrantRoleRequest(user="evil", role="root"))
    access = fresh.access()
    await access.mend(base_roles(), NODES, looks=5)
    assert users(fresh) == {ROOT, EXTENDER, *NODES}
    writer = etcd_writer(fresh.as_user(user_of("n1"), user=ROOT, password="known"))
    with pytest.raises(StoreUnavailable, match="authentication failed"):
        await writer.put(reward("n2"))
    await writer.close()
    await access.close()


async def test_what_somebody_changed_is_mended(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    await access.mend(base_roles(), NODES, looks=5)
    one, two = user_of("n1"), user_of("n2")
    span, other = node_range(PREFIX, "n1"), node_range(PREFIX, "n9")
    before = permissions(fresh, one)
    taken = rpc.AuthRoleRevokePermissionRequest(role=one, key=span.start, range_end=span.end)
    fresh.call(rpc.AuthStub, "RoleRevokePermission", taken)
    more = rpc.Permission(permType=2, key=other.start, range_end=other.end)
    fresh.call(rpc.AuthStub, "RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=one, perm=more))
    fresh.call(rpc.AuthStub, "UserGrantRole", rpc.AuthUserGrantRoleRequest(user=EXTENDER, role=one))
    fresh.call(rpc.AuthStub, "UserDelete", rpc.AuthUserDeleteRequest(name=two))
    done = await access.mend(base_roles(), NODES, looks=5)
    assert permissions(fresh, one) == before
    assert f"user {EXTENDER}: role {one} taken away" in done
    assert f"user {two} made" in done
    assert len([each for each in done if each.startswith(f"role {one}: a permission")]) == 2
    await access.close()


async def test_authentication_that_somebody_turned_off_is_turned_on_again(fresh: SecuredEtcd) -> None:
    access = fresh.access()
    await access.mend(base_roles(), NODES, looks=5)
    fresh.call(rpc.AuthStub, "AuthDisable", rpc.AuthDisableRequest())
    assert "authentication turned on" in await access.mend(base_roles(), NODES, looks=5)
    await access.close()


async def test_the_user_of_a_node_that_is_gone_goes_and_so_does_any_other_that_is_not_wanted(
    fresh: SecuredEtcd,
) -> None:
    access = fresh.access()
    await access.mend(base_roles(), NODES, looks=5)
    fresh.call(rpc.AuthStub, "UserAdd", rpc.AuthUserAddRequest(name="backup", password="x"))
    rest = {name: role for name, role in NODES.items() if name != user_of("n3")}
    assert await access.mend(base_roles(), rest, looks=5) == ["user backup removed", f"user {user_of('n3')} removed"]
    assert users(fresh) == {ROOT, EXTENDER, *rest}
    await access.close()


async def test_of_many_nodes_a_few_are_looked_at_in_each_round_and_all_in_turn(fresh: SecuredEtcd) -> None:
    """Three nodes, one a round: whichever role was changed, the third round has mended it."""
    access = fresh.access()
    await access.mend(base_roles(), NODES, looks=1)
    for node in ("n1", "n2", "n3"):
        name = user_of(node)
        span = node_range(PREFIX, node)
        taken = rpc.AuthRoleRevokePermissionRequest(role=name, key=span.start, range_end=span.end)
        fresh.call(rpc.AuthStub, "RoleRevokePermission", taken)
    mended = [len(await access.mend(base_roles(), NODES, looks=1)) for _ in range(4)]
    assert mended == [1, 1, 1, 0]
    await access.close()


async def test_users_of_many_new_nodes_are_made_some_at_a_time(fresh: SecuredEtcd) -> None:
    """Two at once, of three: nobody's request waits for thousands of others."""
    access = fresh.access()
    made = []
    for _ in range(3):
        await access.mend(base_roles(), NODES, looks=5, most_new=2)
        made.append(len(users(fresh) & NODES.keys()))
    assert made == [2, 3, 3]
    await access.close()


@pytest.mark.parametrize("name", [EXTENDER, user_of("n1"), AGENT])
async def test_only_root_can_keep_users(fresh: SecuredEtcd, name: str) -> None:
    root = fresh.access()
    await root.mend([*base_roles(), agents_role(PREFIX)], NODES, looks=5)
    await root.close()
    other = type(root)(fresh.as_user(name))
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await other.mend(base_roles(), {}, looks=5)
    await other.close()


async def test_two_keepers_at_once_end_with_the_same(fresh: SecuredEtcd) -> None:
    import asyncio

    one, two = fresh.access(), fresh.access()
    await asyncio.gather(*(each.mend(base_roles(), NODES, looks=5) for each in (one, two)), return_exceptions=True)
    await one.mend(base_roles(), NODES, looks=5)
    assert await two.mend(base_roles(), NODES, looks=5) == []
    assert users(fresh) == {ROOT, EXTENDER, *NODES}
    await one.close()
    await two.close()
