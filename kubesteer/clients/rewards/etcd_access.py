"""Access to etcd: users, their roles and ranges, and authentication itself, compared and mended.

It speaks as root. Users have no password: a client certificate's common name is the user.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from secrets import token_urlsafe
from typing import Any

from aetcd import rpc

from kubesteer.clients.rewards.claims import claim_key, claims_range
from kubesteer.clients.rewards.etcd import connect
from kubesteer.clients.rewards.etcd_caller import EtcdCaller
from kubesteer.clients.rewards.etcd_gone import GoneNodes
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT, agent_user, is_of_node
from kubesteer.model.node_state import state_key, states_range
from kubesteer.model.reward import KeyRange, below, node_range, table_range, unescaped_name

_READ, _READ_WRITE = 0, 2
"""A permission's type, on the wire."""
_THERE = "already exists"
_NOT_THERE = "not found"
_PASSES = 10


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


def agent_role(prefix: str, node: str, uid: str) -> Role:
    """Of one node's agent: reads everything, writes its own node's rewards, state and claim. uid: the Node's."""
    own = (state_key(prefix, node), claim_key(prefix, node))
    return Role(
        agent_user(node, uid),
        frozenset(
            {
                _all(prefix, _READ),
                _on(node_range(prefix, node), _READ_WRITE),
                *(Permission(key, b"", _READ_WRITE) for key in own),
            }
        ),
    )


@dataclass(frozen=True, slots=True)
class Nodes:
    """Those that there are, by name, and how long the records of one that is gone are kept."""

    present: Collection[str]
    keep: timedelta
    now: datetime


class EtcdAccess:
    """Keeps users and roles as they must be. Every call raises StoreUnavailable when etcd does not do as asked.

    password: a new random one at each call.
    """

    def __init__(self, options: EtcdOptions, password: Callable[[], str] = token_urlsafe) -> None:
        self._etcd = EtcdCaller(options, partial(connect, options))
        self._gone = GoneNodes(self._etcd, options.prefix)
        self._prefix = options.prefix
        self._password = password
        self._looked: set[str] = set()
        self._unguessable: set[str] = set()
        """Users whose password, where they have one, is unknown to all."""
        self._is_swept = False
        self._told: list[str] = []

    async def mend(
        self,
        always: Iterable[Role],
        others: Mapping[str, Role],
        *,
        looks: int,
        most_new: int = 50,
        nodes: Nodes | None = None,
    ) -> list[str]:
        """Makes it so that these users are there and no other one is, and authentication is on.

        always: looked at each time. others: by name, made where they are missing, up to `most_new` of them; of those
        there, so many are looked at that were not for the longest time. nodes: then of a node whose user goes, and
        that does not come back, the records go too. Answers what was done, in words.
        """
        always = tuple(always)
        wanted = {role.name for role in always} | others.keys()
        if not (await self._call("AuthStatus", rpc.AuthStatusRequest())).enabled:
            await self._turn_on()
        users = await self._only_these(wanted, nodes)
        missing = [role for name, role in others.items() if name not in users][:most_new]
        self._looked &= others.keys()
        there = [role for name, role in others.items() if name in users and name not in self._looked][:looks]
        for role in (*always, *missing, *there):
            await self.grant(role)
        self._looked |= {role.name for role in (*missing, *there)}
        if self._looked >= others.keys():
            self._looked.clear()
        if nodes is not None:
            self._told += await self._gone.forget(nodes.present, now=nodes.now, after=nodes.keep)
        return self.told()

    def told(self) -> list[str]:
        """What was done since this was asked last, in words; also where a call then failed."""
        told, self._told = self._told, []
        return told

    async def grant(self, role: Role) -> None:
        """Makes a user with this role and no other, and the role with these permissions and no other."""
        name = role.name
        if await self._call("RoleAdd", rpc.AuthRoleAddRequest(name=name), _THERE) is not None:
            self._told.append(f"role {name} made")
        if name != ROOT:
            await self._permit(role)
        new = rpc.AuthUserAddRequest(name=name, options={"no_password": True})
        if await self._call("UserAdd", new, _THERE) is not None:
            self._unguessable.add(name)
            self._told.append(f"user {name} made")
        await self._make_unguessable(name)
        roles = await self._roles(name)
        if name not in roles:
            await self._call("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=name))
            self._told.append(f"user {name}: its role given")
        await self._strip(name, roles - {name})

    async def remove(self, name: str) -> None:
        """Takes away a user and the role of its name."""
        await self._call("UserDelete", rpc.AuthUserDeleteRequest(name=name), _NOT_THERE)
        await self._call("RoleDelete", rpc.AuthRoleDeleteRequest(role=name), _NOT_THERE)
        self._unguessable.discard(name)
        self._told.append(f"user {name} removed")

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._etcd.close()

    async def _turn_on(self) -> None:
        """Keeps root alone: other users that are there, or come until authentication is on, are unknown to us."""
        for name in await self._users():
            await self._call("UserDelete", rpc.AuthUserDeleteRequest(name=name), _NOT_THERE)
            self._told.append(f"user {name} forgotten: it was there while authentication was off")
        for name in (await self._call("RoleList", rpc.AuthRoleListRequest())).roles:
            await self._call("RoleDelete", rpc.AuthRoleDeleteRequest(role=name), _NOT_THERE)
        self._distrust()
        await self.grant(root_role())
        await self._call("AuthEnable", rpc.AuthEnableRequest())
        self._told.append("authentication turned on")
        self._distrust()

    async def _only_these(self, wanted: Collection[str], nodes: Nodes | None) -> set[str]:
        """Removes all other users; those that are left. No one but root is left with root's role.

        Before authentication was on, any client with a certificate could make users, with passwords that stay hidden,
        and turn it on. With root's role one can go on with that until it is taken away: so it is looked at again.
        """
        for _ in range(_PASSES):
            await self._make_unguessable(ROOT)
            users = await self._users()
            strangers = sorted(users - set(wanted))
            looked_at = strangers if self._is_swept else sorted(users - {ROOT})
            odd = {name: more for name in looked_at if (more := await self._roles(name) - {name})}
            for name in strangers:
                if nodes is not None and (node := await self._node_of(name)) and node not in nodes.present:
                    await self._gone.note(node, nodes.now)
                await self.remove(name)
            for name in odd.keys() - set(strangers):
                await self._strip(name, odd[name])
            if not odd:
                self._is_swept = True
                return users - set(strangers)
            self._distrust()
        raise StoreUnavailable(
            "etcd: another client makes users as fast as they are removed; delete root's certificate"
        )

    def _distrust(self) -> None:
        self._unguessable.clear()
        self._is_swept = False

    async def _make_unguessable(self, name: str) -> None:
        """It is unknown whether a user has a password; a user without one does not get one by this."""
        if name not in self._unguessable:
            request = rpc.AuthUserChangePasswordRequest(name=name, password=self._password())
            await self._call("UserChangePassword", request, _NOT_THERE)
            self._unguessable.add(name)

    async def _permit(self, role: Role) -> None:
        has = await self._permissions(role.name)
        spans = {(each.start, each.end) for each in role.permissions}
        for each in has:
            if (each.start, each.end) not in spans:
                request = rpc.AuthRoleRevokePermissionRequest(role=role.name, key=each.start, range_end=each.end)
                await self._call("RoleRevokePermission", request)
                self._told.append(f"role {role.name}: a permission taken away from {each.start!r}")
        for each in role.permissions - has:
            allowed = rpc.Permission(permType=each.kind, key=each.start, range_end=each.end)
            await self._call("RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=role.name, perm=allowed))
            self._told.append(f"role {role.name}: a permission given on {each.start!r}")

    async def _permissions(self, role: str) -> set[Permission]:
        found = await self._call("RoleGet", rpc.AuthRoleGetRequest(role=role), _NOT_THERE)
        listed = found.perm if found is not None else ()
        return {Permission(bytes(each.key), bytes(each.range_end), each.permType) for each in listed}

    async def _strip(self, name: str, roles: Collection[str]) -> None:
        for other in sorted(roles):
            await self._call("UserRevokeRole", rpc.AuthUserRevokeRoleRequest(name=name, role=other))
            self._told.append(f"user {name}: role {other} taken away")

    async def _node_of(self, user: str) -> str | None:
        """Whose agent a user is, by the claim that its role may write; None where it is no node's."""
        start = claims_range(self._prefix).start
        claims = [each.start for each in await self._permissions(user) if not each.end and each.start.startswith(start)]
        nodes = [unescaped_name(claim.removeprefix(start)) for claim in claims]
        return next((node for node in nodes if node and is_of_node(user, node)), None)

    async def _users(self) -> set[str]:
        return set((await self._call("UserList", rpc.AuthUserListRequest())).users)

    async def _roles(self, user: str) -> set[str]:
        found = await self._call("UserGet", rpc.AuthUserGetRequest(name=user), _NOT_THERE)
        return set(found.roles) if found is not None else set()

    async def _call(self, method: str, request: Any, none_when: str | None = None) -> Any:
        return await self._etcd.call(lambda etcd: etcd.call("Auth", method, request, none_when=none_when))


def _all(prefix: str, kind: int) -> Permission:
    return _on(below(f"{prefix.rstrip('/')}/".encode()), kind)


def _on(span: KeyRange, kind: int) -> Permission:
    return Permission(span.start, span.end, kind)
