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
        "source": {"component": "kubelet"},
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
        events = await pod_events(server, "shop", "u1", by=["kubelet"])
    noon_s = NOON.timestamp()
    assert events == [
        EventSeen("Old", "m", noon_s),
        EventSeen("New", "m", noon_s + 1),
        EventSeen("Again", "m", noon_s + 2),
    ]
    [(_, asked)] = api.requests
    assert asked["fieldSelector"] == "involvedObject.uid=u1"


@pytest.mark.parametrize(
    ("source", "reporting", "believed"),
    [
        ("kubelet", "kubelet", True),
        ("kubelet", None, True),  # older clients
        ("", "my-scheduler", True),  # events.k8s.io/v1
        ("kubesteer-agent", "kubesteer-agent", False),
        ("kubesteer-agent", "kubelet", False),
        ("kubelet", "kubesteer-agent", False),
        ("default-scheduler", None, False),  # another than the pod's
        (None, None, False),
    ],
)
async def test_only_the_word_of_those_who_are_named_counts(
    api: FakeApi, source: str | None, reporting: str | None, believed: bool
) -> None:
    api.events.append(
        seen("u1", "FailedMount", eventTime="2026-11-22T12:00:00Z")
        | {"source": {"component": source}, "reportingComponent": reporting}
    )
    async with connected(api) as server:
        events = await pod_events(server, "shop", "u1", by=["kubelet", "my-scheduler"])
    assert bool(events) is believed


async def test_a_heap_of_events_by_others_does_not_crowd_out_the_word_that_counts(api: FakeApi) -> None:
    """The list has 100 at most, and the heap's names come first."""
    agents = {"source": {"component": "kubesteer-agent"}}
    api.events += [seen("u1", f"A{n}", lastTimestamp="2026-11-22T12:00:00Z") | agents for n in range(200)]
    api.events.append(seen("u1", "Killing", lastTimestamp="2026-11-22T12:00:00Z"))
    async with connected(api) as server:
        events = await pod_events(server, "shop", "u1", by=["kubelet"], but_not="kubesteer-agent")
    assert [event.reason for event in events] == ["Killing"]
