"""Bytes that no decoder reads end neither the source nor what it knows of the objects beside them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.clients.kubernetes.unreadable import metadata_of, page_of
from tests.cluster_state.builders import pod, until
from tests.cluster_state.conftest import following
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.cluster_state.sink import RecordingSink

ODD = '{"metadata":{"name":"p@","namespace":"x","uid":"u","resourceVersion":"150"},"spec":{}}'
DEEP = ODD.replace("p@", "p").replace('"spec":{}', '"spec":{"deep":' + "[" * 5000 + "]" * 5000 + "}")
BYTES = [
    pytest.param(ODD.encode().replace(b"@", b"\xff"), "Pod x/p\ufffd", id="no UTF-8"),
    pytest.param(DEEP.encode(), "Pod x/p", id="nested"),
    pytest.param(ODD.encode().replace(b"@", b"\x00"), "Pod x/p\x00", id="a NUL byte"),
]


@pytest.mark.parametrize(("odd", "name"), BYTES)
async def test_an_unreadable_object_of_a_watch_is_named_and_the_next_event_is_applied(
    api: FakeApi, sink: RecordingSink, odd: bytes, name: str
) -> None:
    async with following(api, sink) as source:
        await until(lambda: api.of("pods") and api.of("nodes"))
        [watch] = api.of("pods")
        watch.send(b'{"type":"ADDED","object":' + odd + b"}\n")
        api.put(pod("good"))
        await until(lambda: "uid-good" in sink.pods)
        assert source.status().skipped == 1
        assert name in (source.status().last_error or "")
    assert len(api.asked("watch")) == 1


async def test_an_object_nested_too_deep_does_not_hide_the_others_of_its_page(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.put(pod("good"))
    api.raw_items["pods"] = [DEEP]
    async with following(api, sink) as source:
        await until(lambda: source.status().pods_synced)
        assert sink.pod_names() == {"good"}
        assert source.status().skipped == 1
        assert "Pod x/p" in (source.status().last_error or "")


async def test_a_page_that_is_nothing_but_nesting_is_no_list_and_is_asked_for_again(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.refusals["list"].extend([Refusal(200, body="[" * 5000)] * 2)
    async with following(api, sink) as source:
        await until(lambda: source.status().nodes_synced and source.status().pods_synced)


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 20))
def test_no_bytes_end_the_search_for_what_can_be_told(junk: bytes, at: int, cut: int) -> None:
    body = json.dumps({"metadata": {"resourceVersion": "7"}, "items": [pod("a"), pod("b")]}).encode()
    broken = body[:at] + junk + body[at + cut :]
    assert metadata_of(broken) is not None
    found = page_of(broken)
    assert found is None or all(item in broken for item in found[1])
