"""Names are found in the JSON that came by compiled code; whatever it does not find means what the decoder makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.wire.arguments import ArgumentsReader, BodyTooLarge, NamesArguments
from extender.wire.names import IS_COMPILED, NameFinder, SentNames, finder
from kubesteer.model.errors import InvalidInput
from kubesteer.placement.table import NodeTable
from tests.builders import node_summary, pod, table_of
from tests.examples import examples

if TYPE_CHECKING:
    from kubesteer.placement.candidates import Found

compiled = pytest.mark.skipif(not IS_COMPILED, reason="extender/wire/_names.c is not compiled: make install")
POD = json.dumps(pod("p", cpu="1"), separators=(",", ":")).encode()

NAMES = (
    "a",
    "b",
    "node-1",
    "node-10",
    "ip-10-0-0-1.internal",
    "n" * 253,
    "é",
    'q"',
    "b\\",
    "tab\t",
    "\ud7ff",
    " ",
    "ü" * 9,
)
names = st.sampled_from(NAMES) | st.text(max_size=30)
pieces = st.sampled_from(
    [b'"', b",", b"[", b"]", b"\\", b"\\u0061", b" ", b"\n", b"\0", b"\xff", b"null", b"1", b'"a"']
)


def as_json(listed: list[str], *, ascii_only: bool, wide: bool) -> bytes:
    return json.dumps(listed, ensure_ascii=ascii_only, indent=1 if wide else None).encode()


lists = st.builds(as_json, st.lists(names, max_size=12), ascii_only=st.booleans(), wide=st.booleans())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A list of names with pieces put in, taken out or put in place of others."""
    raw = bytearray(draw(lists))
    for _ in range(draw(st.integers(1, 3))):
        at, gone = draw(st.integers(0, len(raw))), draw(st.integers(0, 4))
        raw[at : at + gone] = draw(pieces)
    return bytes(raw)


raws = lists | damaged() | st.binary(max_size=20)
steps = st.lists(
    st.tuples(st.just("put") | st.just("delete"), names) | st.tuples(st.just("read"), raws) | st.just(("many", "")),
    max_size=30,
)


@dataclass
class Meaning:
    """What a reader makes of a body, as far as anybody can see."""

    names: list[str] | str
    rows: list[int] | None = None


def meaning(reader: ArgumentsReader, raw: bytes, table: NodeTable) -> Meaning:
    try:
        read = reader.read(b'{"Pod":%b,"Nodes":null,"NodeNames":%b}' % (POD, raw))
    except InvalidInput as exc:
        return Meaning(f"{type(exc).__name__}: {exc}")
    assert isinstance(read, NamesArguments)
    assert len(read.names) == len(list(read.names))
    rows = table.find(read.names) if read.found is None else read.found.rows
    assert read.found is None or read.found.names_version == table.names_version
    return Meaning([read.names[i] for i in range(len(read.names))], rows.tolist())


@compiled
@settings(max_examples=examples(500), deadline=None)
@given(steps)
def test_names_mean_the_same_compiled_and_decoded_whatever_comes_and_while_nodes_come_and_go(
    history: list[tuple[str, str | bytes]],
) -> None:
    table = NodeTable(2)
    fast = ArgumentsReader(names_body_bytes=100_000, find=finder(table))
    for number, (what, value) in enumerate(history):
        if isinstance(value, bytes):
            decoded = ArgumentsReader(names_body_bytes=100_000)
            assert meaning(fast, value, table) == meaning(decoded, value, table)
        elif what == "put":
            table.put_node(node_summary(value))
        elif what == "delete":
            table.delete_node(value)
        else:
            for i in range(200):
                table.put_node(node_summary(f"many-{number}-{i}"))
                table.delete_node(f"many-{number}-{i - 1}")


def find(table: NodeTable, raw: bytes, before: Found | None = None) -> list[int] | None:
    found = NameFinder(table).find(raw, before)
    return None if found is None else found.rows.tolist()


@compiled
@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        (b'["a","b"]', [0, 1]),
        (b'["b","a","b"]', [1, 0, 1]),
        (b' [\n"a" ,\t"b"\r] ', [0, 1]),
        pytest.param(b'["a","c"]', None, id="a node that is not known"),
        pytest.param(b'["\\u0061"]', None, id="an escape, though it says a"),
        pytest.param(b'["a"', None, id="no end"),
        pytest.param(b'["a', None, id="no end of a name"),
        pytest.param(b'["a",]', None, id="a comma too many"),
        pytest.param(b'["a"] ["b"]', None, id="a second list"),
        pytest.param(b'["a"]\0', None, id="something after it"),
        pytest.param(b'["a" "b"]', None, id="a comma too few"),
        pytest.param(b'[["a"]]', None, id="nested"),
        pytest.param(b'["a",1]', None, id="no text"),
        pytest.param("[\u00a0]".encode(), None, id="no space of JSON"),
        pytest.param(b"[]", None, id="nothing"),
        pytest.param(b"", None, id="no bytes"),
        pytest.param(b'[""]', None, id="an empty name"),
    ],
)
def test_only_a_list_of_known_plain_names_is_found(raw: bytes, rows: list[int] | None) -> None:
    assert find(table_of([node_summary("a"), node_summary("b")]), raw) == rows


@compiled
@pytest.mark.parametrize("name", ["é", 'q"', "b\\", "tab\t"])
def test_a_name_that_json_has_in_several_forms_is_left_to_the_decoder(name: str) -> None:
    assert find(table_of([node_summary(name)]), json.dumps([name], ensure_ascii=False).encode()) is None
    assert find(table_of([node_summary(name)]), json.dumps([name]).encode()) is None


@compiled
def test_a_name_whose_hash_is_that_of_a_node_is_not_taken_for_it() -> None:
    one, other = "0143634", "0152843"
    raw = b'["0152843"]'
    assert find(table_of([node_summary(one)]), raw) is None
    assert find(table_of([node_summary(one), node_summary(other)]), raw) == [1]


@compiled
def test_one_finder_follows_the_table_through_thousands_of_renames() -> None:
    table = NodeTable(2)
    follow = NameFinder(table).find
    for i in range(3_000):
        table.put_node(node_summary(f"n{i}"))
        if i >= 10:
            table.delete_node(f"n{i - 10}")
        if i % 7 == 0:
            there = [f"n{j}" for j in range(max(0, i - 9), i + 1)]
            found = follow(json.dumps(there).encode(), None)
            assert found is not None
            assert found.rows.tolist() == [table.rows[name] for name in there]
            assert follow(b'["n%d"]' % (i - 10), None) is None


@compiled
def test_the_same_bytes_are_not_searched_twice_unless_a_node_got_another_row() -> None:
    table = table_of([node_summary("a"), node_summary("b")])
    follow, raw = NameFinder(table).find, b'["b"]'
    first = follow(raw, None)
    assert follow(raw, first) is first
    table.delete_node("b")
    table.put_node(node_summary("c"))
    assert follow(raw, first) is None


@compiled
def test_names_that_were_found_are_counted_against_the_most_there_may_be() -> None:
    table = table_of([node_summary("a")])
    reader = ArgumentsReader(names_body_bytes=100_000, most_nodes=lambda: 2, find=finder(table))
    with pytest.raises(BodyTooLarge, match=r"NodeNames has 3 nodes; send at most 2"):
        reader.read(b'{"Pod":%b,"Nodes":null,"NodeNames":["a","a","a"]}' % POD)


def test_names_that_came_as_json_are_a_sequence_as_any_other() -> None:
    sent = SentNames(b'["a","b","c"]', 3)
    assert (len(sent), sent[1], sent[1:], list(sent)) == (3, "b", ["b", "c"], ["a", "b", "c"])
    assert ("b" in sent, sent.index("c")) == (True, 2)
    assert msgspec.json.encode(list(sent)) == b'["a","b","c"]'
