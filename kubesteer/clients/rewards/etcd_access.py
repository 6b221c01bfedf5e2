"""Who may do what in etcd: users, their roles and ranges, and authentication itself, compared and mended.

It speaks as root. Users have no password: a client certificate's common name is the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key, claims_range
from kubesteer.clients.rewards.etcd import connect
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT, agent_user, is_of_an_agent
from kubesteer.model.node_state import state_key, states_range
from kubesteer.model.reward import KeyRange, below, node_range, table_range

_READ, _READ_WRITE = 0, 2
"""A permission's type, on the wire."""
_THERE = "already exists"
_NOT_THERE = "not found"


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role allows on a range of keys; one key has no end. Writing is reading too."""

    start: bytes
    end: bytes
    kind: int


@dataclass(frozen=True, slots=True)
class Role:
    """A user's role, of the user's own name."""

    name: str
    permissions: frozenset[Permission]


def root_role() -> Role:
    """Of the name that may do everything."""
    return Role(ROOT, frozenset())


def extender_role(prefix: str) -> Role:
    """Reads everything."""
    return Role(EXTENDER, frozenset({_all(prefix, _READ)}))


def agents_role(prefix: str) -> Role:
    """Of all agents together: reads everything, writes every node's rewards, state and claim."""
    spans = (table_range(prefix), states_range(prefix), claims_range(prefix))
    return Role(AGENT, frozenset({_all(prefix, _READ), *(_on(span, _READ_WRITE) for span in spans)}))


def agent_role(prefix: str, node: str) -> Role:
    """Of one node's agent: reads everything, writes its own node's rewards, state and claim."""
    own = (state_key(prefix, node), claim_key(prefix, node))
    return Role(
        agent_user(node),
        frozenset(
            {
                _all(prefix, _READ),
                _on(node_range(prefix, node), _READ_WRITE),
                *(Permission(key, b"", _READ_WRITE) for key in own),
            }
        ),
    )


class EtcdAccess:
    """Keeps users and roles as they must be. Every call raises StoreUnavailable when etcd does not do as asked."""

    def __init__(self, options: EtcdOptions) -> None:
        self._etcd = EtcdCaller(options, partial(connect, options))
        self._looked: set[str] = set()

    async def mend(
        self, always: Iterable[Role], others: Mapping[str, Role], *, looks: int, most_new: int = 50
    ) -> list[str]:
        """Makes it so that these users are there, no other one of an agent is, and authentication is on.

        always: looked at each time. others: by name, made where they are missing, up to `most_new` of them; of those
        there, so many are looked at that were not for the longest time. Answers what was done, in words.
        """
        done: list[str] = []
        enabled = (await self._call("AuthStatus", rpc.AuthStatusRequest())).enabled
        if not enabled:
            done += await self._forget_everybody()
        users = set((await self._call("UserList", rpc.AuthUserListRequest())).users)
        for role in always:
            done += await self.grant(role)
        missing = [role for name, role in others.items() if name not in users][:most_new]
        self._looked &= others.keys()
        there = [role for name, role in others.items() if name in users and name not in self._looked][:looks]
        for role in (*missing, *there):
            done += await self.grant(role)
            self._looked.add(role.name)
        if self._looked >= others.keys():
            self._looked.clear()
        wanted = {role.name for role in always} | others.keys()
        for name in sorted(name for name in users if is_of_an_agent(name) and name not in wanted):
            done += await self.remove(name)
        if not enabled:
            await self._call("AuthEnable", rpc.AuthEnableRequest())
            done.append("authentication turned on")
        return done

    async def grant(self, role: Role) -> list[str]:
        """Makes a user with this role and no other, and the role with these permissions and no other."""
        done: list[str] = []
        name = role.name
        if await self._call("RoleAdd", rpc.AuthRoleAddRequest(name=name), _THERE) is not None:
            done.append(f"role {name} made")
        if name != ROOT:
            found = await self._call("RoleGet", rpc.AuthRoleGetRequest(role=name))
            has = {Permission(bytes(each.key), bytes(each.range_end), each.permType) for each in found.perm}
            spans = {(each.start, each.end) for each in role.permissions}
            for each in has:
                if (each.start, each.end) not in spans:
                    request = rpc.AuthRoleRevokePermissionRequest(role=name, key=each.start, range_end=each.end)
                    await self._call("RoleRevokePermission", request)
                    done.append(f"role {name}: a permission taken away from {each.start!r}")
            for each in role.permissions - has:
                allowed = rpc.Permission(permType=each.kind, key=each.start, range_end=each.end)
                request = rpc.AuthRoleGrantPermissionRequest(name=name, perm=allowed)
                await self._call("RoleGrantPermission", request)
                done.append(f"role {name}: a permission given on {each.start!r}")
        new = rpc.AuthUserAddRequest(name=name, options={"no_password": True})
        if await self._call("UserAdd", new, _THERE) is not None:
            done.append(f"user {name} made")
        roles = set((await self._call("UserGet", rpc.AuthUserGetRequest(name=name))).roles)
        if name not in roles:
            await self._call("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=name))
            done.append(f"user {name}: its role given")
        for other in sorted(roles - {name}):
            request = rpc.AuthUserRevokeRoleRequest(name=name, role=other)
            await self._call("UserRevokeRole", request)
            done.append(f"user {name}: role {other} taken away")
        return done

    async def remove(self, name: str) -> list[str]:
        """Takes away a user and the role of its name."""
        await self._call("UserDelete", rpc.AuthUserDeleteRequest(name=name), _NOT_THERE)
        await self._call("RoleDelete", rpc.AuthRoleDeleteRequest(role=name), _NOT_THERE)
        return [f"user {name} removed"]

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._etcd.close()

    async def _forget_everybody(self) -> list[str]:
        """While authentication was off anybody could have made a user, with a password that nobody can see."""
        users = (await self._call("UserList", rpc.AuthUserListRequest())).users
        roles = (await self._call("RoleList", rpc.AuthRoleListRequest())).roles
        for name in users:
            await self._call("UserDelete", rpc.AuthUserDeleteRequest(name=name), _NOT_THERE)
        for name in roles:
            await self._call("RoleDelete", rpc.AuthRoleDeleteRequest(role=name), _NOT_THERE)
        return [f"user {name} forgotten: it was made while authentication was off" for name in users]

    async def _call(self, method: str, request: Any, none_when: str | None = None) -> Any:
        return await self._etcd.call(lambda etcd: etcd.call("Auth", method, request, none_when=none_when))


def _all(prefix: str, kind: int) -> Permission:
    return _on(below(f"{prefix.rstrip('/')}/".encode()), kind)


def _on(span: KeyRange, kind: int) -> Permission:
    return Permission(span.start, span.end, kind)
