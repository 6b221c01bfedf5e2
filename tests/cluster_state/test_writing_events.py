"""Events on pods."""

from __future__ import annotations

import datetime as dt

import pytest

from kubesteer.clients.kubernetes.api import ApiRefused
from kubesteer.clients.kubernetes.events import PodReference, create_event
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
