"""Bytes that no decoder reads end neither the source nor what it knows of the objects beside them."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesteer.clients.kubernetes import resource
from kubesteer.clients.kubernetes.resource import LineSplitter, LineTooLong
from kubesteer.clients.kubernetes.unreadable import UNREADABLE, metadata_of, page_of
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import DEFAULT_NETWORK
from tests.cluster_state.builders import node, pod
from tests.cluster_state.conftest import following
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.cluster_state.sink import RecordingSink
from tests.examples import examples
from tests.waiting import until

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


async def test_a_line_that_is_too_long_leads_to_a_new_list(
    api: FakeApi, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "LONGEST_LINE_B", 1_000)
    async with following(api, sink) as source:
        await until(lambda: api.of("pods") and api.of("nodes"))
        [watch] = api.of("pods")
        watch.send(b"x" * 1_001)
        await until(lambda: len(api.asked("list")) == 2)
        await until(lambda: api.of("pods"))
        api.put(pod("good"))
        await until(lambda: "uid-good" in sink.pods)
        assert source.status().relists == 1


def test_a_line_is_too_long_also_where_its_end_comes_with_the_last_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "LONGEST_LINE_B", 1_000)
    split = LineSplitter()
    assert split.feed(b"x" * 900) == []
    with pytest.raises(LineTooLong):
        split.feed(b"x" * 101 + b"\n")
    split = LineSplitter()
    assert split.feed(b"x" * 900) + split.feed(b"x" * 100 + b"\n" + b"y" * 900) == [b"x" * 1000]
    assert split.feed(b"y" * 100 + b"\n") == [b"y" * 1000]


async def test_a_version_of_5000_digits_ends_nothing(api: FakeApi, sink: RecordingSink) -> None:
    """int() refuses more than 4,300 digits."""
    async with following(api, sink):
        await until(lambda: api.of("pods") and api.of("nodes"))
        huge = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "9" * 5_000}}}
        api.send(json.dumps(huge), resource="pods")
        api.cut()
        await until(lambda: len(api.asked("list")) >= 3)
        await until(lambda: api.of("pods"))
        api.put(pod("good"))
        await until(lambda: "uid-good" in sink.pods)


@pytest.mark.parametrize("end", ["", "]", "],", "}]}", "]]}", "x]}", '"]}'])
def test_a_list_that_is_cut_off_or_torn_is_no_list(end: str) -> None:
    """Nobody knows what is missing, and it must not be deleted."""
    start = b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a\xff"}}'
    assert page_of(start + b"]}") is not None
    assert page_of(start + end.encode()) is None


async def test_a_list_that_is_cut_off_deletes_nothing(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("a"))
    api.put(pod("b"))
    async with following(api, sink) as source:
        await until(lambda: api.of("pods") and api.of("nodes"))
        whole = json.dumps({"metadata": {"resourceVersion": "900"}, "items": [json.loads(ODD), pod("a"), pod("b")]})
        torn = whole.replace('"spec": {}', '"spec": ' + "[" * 5000 + "]" * 5000, 1)
        api.compact()
        api.refusals["list"].extend(Refusal(200, body=torn[:-cut]) for cut in (1, 2, 40, 2, 1))
        api.cut()
        await until(lambda: not api.refusals["list"] and len(api.of("pods")) == 1)
        assert not [call for call in sink.calls if call[0] == "delete_pod"]
        await until(lambda: source.status().last_error is None)


@pytest.mark.parametrize("uid", ["", '"uid":1,'])
async def test_an_item_that_cannot_be_named_deletes_no_pod_that_the_list_seems_to_lack(
    api: FakeApi, sink: RecordingSink, uid: str
) -> None:
    api.put(pod("a"))
    async with following(api, sink) as source:
        await until(lambda: api.of("pods"))
        api.freeze()
        api.delete(pod("a"))
        api.compact()
        api.raw_items["pods"] = ['{"metadata":{' + uid + '"name":5},"spec":{}}']
        listed = sink.listed()
        api.cut()
        await until(lambda: source.status().skipped == 1)
        assert sink.pod_names() == {"a"}, "it may be the one that cannot be read"
        assert sink.listed() == listed
        # The nodes' watch ended too, and a watch that ended is told until its list is there again.
        await until(lambda: "Pod without a name" in (source.status().last_error or ""))


@pytest.mark.parametrize("odd", [b"uid-\xff", b"uid-\xc3"])
def test_an_object_is_not_known_by_a_key_of_which_bytes_are_missing(odd: bytes) -> None:
    """The list would delete the pod that it is."""
    page = json.dumps({"metadata": {"resourceVersion": "7"}, "items": [pod("a"), pod("b")]}).encode()
    pods = resource.pods_into(RecordingSink(), DEFAULT_NETWORK)
    _, items, undecodable = resource.decode_page(page.replace(b"uid-b", odd), pods)
    assert [item.metadata.name for item in items] == ["a"]
    assert undecodable.keys() == {""}


async def test_an_error_that_no_decoder_reads_is_told_by_its_number(api: FakeApi, sink: RecordingSink) -> None:
    api.refusals["list"].extend([Refusal(500, body="[" * 5000), Refusal(500, body='{"message":"\\ud800')] * 2)
    async with following(api, sink) as source:
        await until(lambda: source.status().nodes_synced and source.status().pods_synced)


_PIECES = [b"", b"\xff", b"\x00", b'"', b"{", b"}", b"[", b"]", b"[" * 3000, b"\\", b",", b":", b"-", b"9" * 5000, b"e"]


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(_PIECES)), min_size=1, max_size=3))
def test_a_page_that_was_changed_anywhere_is_a_page_or_no_list(changes: list[tuple[float, int, bytes]]) -> None:
    """Bytes replaced, taken out and put in."""
    page = {"metadata": {"resourceVersion": "7"}, "items": [pod("a"), pod("b", on="n"), pod("c")]}
    body = bytearray(json.dumps(page).encode())
    for at, cut, piece in changes:
        start = int(at * len(body))
        body[start : start + cut] = piece
    pods = resource.pods_into(RecordingSink(), DEFAULT_NETWORK)
    try:
        resource.continue_token(bytes(body))
        _, items, odd = resource.decode_page(bytes(body), pods)
    except UNREADABLE:
        return
    assert all(isinstance(text, str) for key, told in odd.items() for text in (key, *told))
    for item in items:
        with contextlib.suppress(InvalidQuantity):
            pods.put(item)


@settings(max_examples=examples(300))
@given(st.binary(max_size=200))
def test_whatever_the_bytes_a_name_is_a_text(raw: bytes) -> None:
    assert isinstance(resource.named(raw).name, str)


async def test_what_a_frozen_watch_holds_back_is_not_heard(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink):
        await until(lambda: api.of("pods") and api.of("nodes"))
        api.bookmark()
        await until(lambda: sink.heard_at_s is not None)
        heard_s = sink.heard_at_s
        api.of("pods")[0].frozen = True
        api.put(pod("untold"))
        api.put(node("told"))
        await until(lambda: "told" in sink.nodes)
        assert sink.heard_at_s == heard_s


async def test_a_node_that_cannot_be_used_is_named_until_it_is_mended(api: FakeApi, sink: RecordingSink) -> None:
    bad = node("n")
    bad["status"]["allocatable"]["kubesteer.io/egress-bps"] = "10Gbps"
    api.put(bad)
    async with following(api, sink) as source:
        await until(lambda: source.status().nodes_synced)
        assert source.status().skipped == 1
        assert (source.status().last_error or "").startswith("Node n: status.allocatable[kubesteer.io/egress-bps]")
        assert sink.nodes["n"].fault, "it is there, and refused with the reason"
        api.put(node("n"))
        await until(lambda: source.status().skipped == 0)
