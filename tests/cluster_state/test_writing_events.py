"""Events on pods and nodes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubesteer.clients.kubernetes.api import ApiRefused
from kubesteer.clients.kubernetes.events import NodeReference, PodReference, create_event, pod_events
from kubesteer.model.runs import EventSeen
from tests.cluster_state.conftest import connected
from tests.cluster_state.fake_api import FakeApi, Refusal

POD = PodReference("shop", "web-1", "uid-1")
NOON = dt.datetime(2026, 11, 22, 12, 0, 0, tzinfo=dt.UTC)


async def test_an_event_names_the_pod_the_reason_and_the_time(api: FakeApi) -> None:
    async with connected(api) as server:
        await create_event(server, POD, reason="SuspiciousUnits", message="300m is 0.3 bit/s", now=NOON)
    [(namespace, event)] = api.posted
    assert namespace == event["metadata"]["namespace"] == "shop"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-1",
        "uid": "uid-1",
    }
    assert (event["type"], event["reason"]) == ("Warning", "SuspiciousUnits")
    assert event["message"] == "300m is 0.3 bit/s"
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-11-22T12:00:00+00:00"


async def test_a_message_longer_than_the_server_takes_is_cut_between_characters(api: FakeApi) -> None:
    """341 signs of 3 bytes are 1023 bytes; the 342nd would make 1026."""
    async with connected(api) as server:
        await create_event(server, POD, reason="R", message="…" * 400, now=NOON)
    assert api.posted[0][1]["message"] == "…" * 341


async def test_an_event_that_is_refused_says_so(api: FakeApi) -> None:
    api.refusals["list"].append(Refusal(403, message="cannot create events"))
    async with connected(api) as server:
        with pytest.raises(ApiRefused, match="403: cannot create events"):
            await create_event(server, POD, reason="R", message="m", now=NOON)


async def test_an_event_about_a_node_lies_in_the_default_namespace(api: FakeApi) -> None:
    async with connected(api) as server:
        node = NodeReference("n1", "uid-n1")
        await create_event(server, node, reason="NetworkLinkLost", message="eth0 is down", now=NOON)
    [(namespace, event)] = api.posted
    assert namespace == event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-n1"}


def seen(uid: str, reason: str, **times: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": f"{reason}-{uid}"},
        "involvedObject": {"uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": "m",
        **times,
    }


async def test_the_events_of_one_pod_are_read_with_their_newest_time(api: FakeApi) -> None:
    """Three generations of the Event API keep the newest time in three places; one without a time is left out."""
    api.events += [
        seen("u1", "Old", lastTimestamp="2026-11-22T12:00:00Z", eventTime=None),
        seen("u1", "New", lastTimestamp=None, eventTime="2026-11-22T12:00:01.000000Z"),
        seen(
            "u1",
            "Again",
            eventTime="2026-11-22T12:00:01.000000Z",
            series={"count": 3, "lastObservedTime": "2026-11-22T12:00:02.000000Z"},
        ),
        seen("u1", "Never"),
        seen("u2", "Other", lastTimestamp="2026-11-22T12:00:00Z"),
    ]
    async with connected(api) as server:
        events = await pod_events(server, "shop", "u1")
    noon_s = NOON.timestamp()
    assert events == [
        EventSeen("Old", "m", noon_s),
        EventSeen("New", "m", noon_s + 1),
        EventSeen("Again", "m", noon_s + 2),
    ]
    [(_, asked)] = api.requests
    assert asked["fieldSelector"] == "involvedObject.uid=u1"
