"""A body as kube-scheduler writes it is cut at its keys; it means what it means when it is read through as a whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.wire.arguments import ArgumentsReader, NamesArguments
from kubesteer.model.errors import InvalidInput
from tests.builders import pod
from tests.examples import examples
from tests.fuzz.reading import Readings

POD = json.dumps(pod("p", cpu="1"), separators=(",", ":")).encode()
KEYS = b',"Nodes":null,"NodeNames":'
SENT = b'{"Pod":%b,"Nodes":null,"NodeNames":["a","b"]}' % POD

pieces = st.sampled_from(
    [
        *(b'{"Pod":', b"}", b"]}", b"{", b"[", b"]", b",", b" ", b"\n", b"\\", b'"', b"null", b"1", b"\xff", b"\x01"),
        *(KEYS, b'},"Nodes":null,"NodeNames":[', b',"Nodes":{"items":[]}', b',"NodeNames":', b',"nodeNames":["c"]'),
        *(POD, b'{"metadata":{"name":"q"},"spec":{}}', b"{}", b'["a","b"]', b'["a"]', b"[1]", b'["\\ud800"]', b"[]"),
        *(b'"a"', b',"a"', b'"\\",\\"Nodes\\":null,\\"NodeNames\\":[\\""', b'"Pod":', b',"Pod":null', b'{"x":' + POD),
        *(b'{"metadata":{"name":"q"},"spec":{},"x":{"y":{}' + KEYS + b'["z"]}}', b'{"a":"},\\"Nodes\\":null"}'),
    ]
)
starts, ends = (
    st.sampled_from([b'{"Pod":', b'["Pod":', b' {"Pod":', b"{"]),
    st.sampled_from([b"}", b"", b"]", b"} ", b"x"]),
)
pods, names = st.just(POD) | pieces, st.just(b'["a","b"]') | pieces
nearly = st.tuples(st.just(b'{"Pod":') | starts, pods, st.just(KEYS), names, st.just(b"}") | ends).map(b"".join)
any_pieces = st.lists(pieces, max_size=9).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """What kube-scheduler sends, with pieces put in, taken out or put in place of others."""
    body = bytearray(SENT)
    for _ in range(draw(st.integers(1, 3))):
        at, gone = draw(st.integers(0, len(body))), draw(st.integers(0, 30))
        body[at : at + gone] = draw(pieces)
    return bytes(body)


@settings(max_examples=examples(500))
@given(st.lists(nearly | any_pieces | damaged() | st.just(SENT), min_size=1, max_size=4))
def test_any_body_is_read_as_if_it_were_not_cut_whatever_was_read_before(bodies: list[bytes]) -> None:
    readings = Readings(100_000)
    for body in bodies:
        readings.compare(body)


def test_the_schedulers_own_form_is_cut_and_each_part_is_kept_by_identity_while_its_bytes_are_the_same() -> None:
    reader = ArgumentsReader(names_body_bytes=100_000)
    first, again = reader.read(SENT), reader.read(SENT)
    as_a_whole = reader.read(SENT + b" ")
    assert isinstance(first, NamesArguments)
    assert isinstance(as_a_whole, NamesArguments)
    assert (first.names, first.raw_names) == (["a", "b"], b'["a","b"]')
    assert first.pod is again.pod is as_a_whole.pod
    assert first.names is again.names is as_a_whole.names
    assert reader.read(SENT.replace(b'"b"', b'"c"')).pod is first.pod


def test_names_that_filter_just_sent_are_not_decoded_again() -> None:
    reader, offered = ArgumentsReader(names_body_bytes=100_000), ["b", "a"]
    reader.expect_names(b'["b","a"]', offered)
    assert reader.read(SENT.replace(b'["a","b"]', b'["b","a"]')).names is offered


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(
            b'{"metadata":{"name":"p","annotations":{"a":"},\\"Nodes\\":null,\\"NodeNames\\":["}},"spec":{}}', id="text"
        ),
        pytest.param(b'{"metadata":{"name":"p"},"spec":{},"x":{"y":{},"Nodes":null,"NodeNames":["z"]}}', id="keys"),
    ],
)
def test_what_looks_like_the_end_of_the_pod_inside_the_pod_is_not_its_end(inside: bytes) -> None:
    read = ArgumentsReader(names_body_bytes=100_000).read(b'{"Pod":%b,"Nodes":null,"NodeNames":["a"]}' % inside)
    assert (read.pod.metadata.name, read.names) == ("p", ["a"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"Pod":{"metadata":{"name":"p"},"spec":{}},"Nodes":null,"NodeNames":["a"],"x":[]}',
        b'{"Pod":{},"Pod":%b,"Nodes":null,"NodeNames":["a"]}' % POD,
        b'{"Pod":%b,"Nodes":null,"NodeNames":[],"NodeNames":["a"]}' % POD,
        b'{"Pod":%b,"Nodes":null,"NodeNames":[],"Nodes":null,"NodeNames":["a"]}' % POD,
    ],
)
def test_more_or_doubled_keys_are_read_as_go_reads_them_the_last_counts(body: bytes) -> None:
    read = ArgumentsReader(names_body_bytes=100_000).read(body)
    assert (read.pod.metadata.name, read.names) == ("p", ["a"])


def test_a_body_over_the_limit_is_not_cut() -> None:
    with pytest.raises(InvalidInput, match=r"limits\.names_body_bytes"):
        ArgumentsReader(names_body_bytes=len(SENT) - 1).read(SENT)
