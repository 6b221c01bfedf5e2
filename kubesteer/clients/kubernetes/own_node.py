"""The one node that an agent lives on: followed by name, and changed where an agent may change it.

Nothing here can reach another node: every path is made from the name that was given once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import CONFLICT, MERGE_PATCH, STRATEGIC_MERGE_PATCH, ApiRefused, ApiServer
from kubesteer.clients.kubernetes.objects import Amounts, Node, Object, Part
from kubesteer.clients.kubernetes.resource import NODES, Resource, by_name, resource
from kubesteer.model.errors import ClusterUnavailable, InvalidQuantity
from kubesteer.model.requests import amount

_CONFLICTS = 5
"""Attempts at a change that others keep overtaking."""


class _Taints(Part):
    taints: list[dict[str, Any]] | None = None


class _Tainted(Object):
    spec: _Taints = msgspec.field(default_factory=_Taints)


def own_node(name: str, *, put: Callable[[Node], None], delete: Callable[[str], None]) -> Resource[Node]:
    """The node of this name."""
    return resource(
        Node,
        NODES,
        kind="Node",
        put=put,
        delete=delete,
        key=by_name,
        selector={"fieldSelector": f"metadata.name={name}"},
    )


class _Uids(Part):
    items: list[Object] = msgspec.field(default_factory=list)


async def uid_of(api: ApiServer, name: str) -> str:
    """The Node's uid, as the API server last saw it. Raises ClusterUnavailable, also where there is no such Node."""
    # A list: who may list and watch nodes may not therefore get one.
    params = {"fieldSelector": f"metadata.name={name}", "resourceVersion": "0"}
    try:
        found = msgspec.json.decode(await api.get(NODES, params), type=_Uids).items
    except msgspec.MsgspecError as exc:
        raise ClusterUnavailable(f"GET {NODES}: the answer is no list of nodes: {exc}") from exc
    if len(found) != 1 or not found[0].metadata.uid:
        raise ClusterUnavailable(f"there is no Node {name!r}")
    return found[0].metadata.uid


class OwnNode:
    """Writes to one node. Every call raises ClusterUnavailable when the API server does not take it."""

    def __init__(self, api: ApiServer, name: str) -> None:
        self._api = api
        self._path = f"{NODES}/{quote(name, safe='')}"

    async def publish(self, amounts: Mapping[str, int]) -> None:
        """Capacity and allocatable of extended resources. Both: the kubelet copies one to the other only later."""
        status = {name: str(amount) for name, amount in amounts.items()}
        await self._patch("/status", {"status": {"capacity": status, "allocatable": status}}, MERGE_PATCH)

    async def set_condition(self, kind: str, *, status: bool, reason: str, message: str, now: datetime) -> None:
        """Puts a condition in place of the one of its type; `now` is when it came to be so, and needs a time zone."""
        time = now.isoformat(timespec="seconds")
        condition = {
            "type": kind,
            "status": "True" if status else "False",
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": time,
            "lastTransitionTime": time,
        }
        await self._patch("/status", {"status": {"conditions": [condition]}}, STRATEGIC_MERGE_PATCH)

    async def set_taint(self, key: str, *, present: bool) -> None:
        """Adds or takes away a NoSchedule taint of this key; other taints stay as they are.

        Taints are one value to the API server, so they are read first; a change in between is refused, and read again.
        """
        for _ in range(_CONFLICTS):
            node = await self._tainted()
            others = [taint for taint in node.spec.taints or () if taint.get("key") != key]
            taints = [*others, {"key": key, "effect": "NoSchedule"}] if present else others
            if taints == (node.spec.taints or []):
                return
            try:
                await self._patch(
                    "",
                    {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}},
                    MERGE_PATCH,
                )
            except ApiRefused as exc:
                if exc.status != CONFLICT:
                    raise
                refusal = exc
            else:
                return
        raise refusal

    async def _tainted(self) -> _Tainted:
        try:
            return msgspec.json.decode(await self._api.get(self._path), type=_Tainted)
        except msgspec.MsgspecError as exc:
            raise ClusterUnavailable(f"{self._path}: the answer is no node: {exc}") from exc

    async def _patch(self, subresource: str, change: object, content_type: str) -> None:
        await self._api.patch(self._path + subresource, msgspec.json.encode(change), content_type=content_type)


def whole_amounts(amounts: Amounts | None, names: Iterable[str]) -> dict[str, int]:
    """These extended resources of a capacity or allocatable; what is absent or unreadable is left out."""
    found = {}
    for name in names:
        if amounts and name in amounts:
            with suppress(InvalidQuantity):
                found[name] = amount(amounts, name, "status")
    return found
