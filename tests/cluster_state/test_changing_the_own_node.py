"""What an agent writes on its node, and that it reaches no other."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kubesteer.clients.kubernetes.api import ApiRefused
from kubesteer.clients.kubernetes.objects import Node
from kubesteer.clients.kubernetes.own_node import OwnNode, whole_amounts
from tests.cluster_state.builders import node
from tests.cluster_state.conftest import connected
from tests.cluster_state.fake_api import FakeApi, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

EGRESS = "kubesteer.io/egress-bps"
NOON = dt.datetime(2026, 11, 22, 12, 0, 0, tzinfo=dt.UTC)
OURS = {"key": "kubesteer.io/network-degraded", "effect": "NoSchedule"}
THEIRS = {"key": "gpu", "value": "a100", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}


def stored(api: FakeApi, name: str) -> dict[str, Any]:
    return api.objects["nodes"][f"/{name}"]


async def test_capacity_and_allocatable_are_published_on_the_own_node_only(api: FakeApi) -> None:
    api.put(node("n1"))
    api.put(node("n2"))
    async with connected(api) as server:
        await OwnNode(server, "n1").publish({EGRESS: 9_500_000_000})
    assert [(name, part) for name, part, _ in api.patched] == [("n1", "status")]
    status = stored(api, "n1")["status"]
    assert status["capacity"][EGRESS] == status["allocatable"][EGRESS] == "9500000000"
    assert status["allocatable"]["cpu"] == "8"


async def test_a_name_with_a_slash_stays_one_part_of_the_path(api: FakeApi) -> None:
    api.put(node("n1"))
    async with connected(api) as server:
        with pytest.raises(ApiRefused, match="404"):
            await OwnNode(server, "n1/status").publish({EGRESS: 1})
    assert api.patched == []


async def test_a_condition_takes_the_place_of_its_type_and_of_no_other(api: FakeApi) -> None:
    api.put(node("n1"))
    async with connected(api) as server:
        own = OwnNode(server, "n1")
        for status in (True, False):
            await own.set_condition("Degraded", status=status, reason="LinkLost", message="eth0 is down", now=NOON)
    ready, degraded = stored(api, "n1")["status"]["conditions"]
    assert ready["type"] == "Ready"
    assert degraded == {
        "type": "Degraded",
        "status": "False",
        "reason": "LinkLost",
        "message": "eth0 is down",
        "lastHeartbeatTime": "2026-11-22T12:00:00+00:00",
        "lastTransitionTime": "2026-11-22T12:00:00+00:00",
    }


async def test_a_taint_comes_and_goes_and_others_stay_as_they_are(api: FakeApi) -> None:
    api.put({**node("n1"), "spec": {"taints": [THEIRS]}})
    async with connected(api) as server:
        own = OwnNode(server, "n1")
        await own.set_taint(OURS["key"], present=True)
        await own.set_taint(OURS["key"], present=True)
        assert stored(api, "n1")["spec"]["taints"] == [THEIRS, OURS]
        await own.set_taint(OURS["key"], present=False)
        assert stored(api, "n1")["spec"]["taints"] == [THEIRS]
    assert len(api.patched) == 2


def overtaken(api: FakeApi, times: int) -> Callable[[], int]:
    """Somebody changes the node after each of the first readings; gives how often that still will happen."""
    left = [times]
    original = api._get_node

    async def get(request: Any) -> Any:
        answer = await original(request)
        if left[0]:
            left[0] -= 1
            api.put(node("n1", cpu=str(left[0] + 1)))
        return answer

    api._get_node = get
    return lambda: left[0]


@pytest.mark.parametrize("times", [1, 4])
async def test_a_change_that_came_between_is_not_overwritten(times: int) -> None:
    api = FakeApi()
    left = overtaken(api, times)
    async with api, connected(api) as server:
        api.put(node("n1"))
        await OwnNode(server, "n1").set_taint(OURS["key"], present=True)
    assert left() == 0
    assert stored(api, "n1")["spec"]["taints"] == [OURS]
    assert stored(api, "n1")["status"]["allocatable"]["cpu"] == "1"


async def test_a_node_that_never_stands_still_is_given_up_for_now() -> None:
    api = FakeApi()
    overtaken(api, 100)
    async with api, connected(api) as server:
        api.put(node("n1"))
        with pytest.raises(ApiRefused, match="409"):
            await OwnNode(server, "n1").set_taint(OURS["key"], present=True)


async def test_a_change_that_is_refused_says_so(api: FakeApi) -> None:
    api.put(node("n1"))
    api.refusals["patch"].append(Refusal(403, message="not your node"))
    async with connected(api) as server:
        with pytest.raises(ApiRefused, match="403: not your node"):
            await OwnNode(server, "n1").publish({EGRESS: 1})


def test_amounts_are_read_as_the_api_server_writes_them() -> None:
    """9500000000 comes back as 9500M."""
    status = {"capacity": {EGRESS: "9500M", "cpu": "8", "bad": "x"}, "allocatable": None}
    read = msgspec.json.decode(json.dumps({"metadata": {"name": "n1"}, "status": status}), type=Node).status
    assert read is not None
    assert whole_amounts(read.capacity, [EGRESS, "bad", "absent"]) == {EGRESS: 9_500_000_000}
    assert whole_amounts(read.allocatable, [EGRESS]) == {}
