"""The score list as bytes: its entries, their order, and its size, whatever names the node table has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.wire.answers import ScoreWriter, write_scores
from tests.builders import node, node_summary, pod, table_of
from tests.examples import examples
from tests.service.harness import args, service

LONGEST = "n" * 253
"""As long as the name of a Node may be."""


async def _answer(candidates: list[str], others: list[str]) -> bytes:
    there = service(*map(node, [*candidates, *others]))
    return (await there.response("prioritize", args(pod(cpu="1"), candidates))).content


async def test_one_long_name_in_the_table_does_not_make_the_answers_about_other_nodes_longer() -> None:
    candidates = [f"node-{i:03}" for i in range(500)]
    assert len(await _answer(candidates, [LONGEST])) == len(await _answer(candidates, ["node-500"]))


async def test_one_long_name_among_the_candidates_adds_its_own_length_and_no_more() -> None:
    """500 cells of `,{"Score": 1,"Host":"node-000"}` are 31 bytes each, the one with 253 letters is 276; and `]`."""
    candidates = [f"node-{i:03}" for i in range(500)]
    answer = await _answer([*candidates[:250], LONGEST, *candidates[250:]], [])
    assert len(answer) == 500 * 31 + 276 + 1
    assert [entry["Host"] for entry in json.loads(answer)] == [*candidates[:250], LONGEST, *candidates[250:]]


letters = st.sampled_from(["a", "b-", "é", '"', "\\", "\n", "\t", " ", "\x00", "節"])
lengths = st.sampled_from([1, 2, 5, 20, 60, 250, 400])
names = st.builds(lambda letter, count, tail: letter * count + tail, letters, lengths, st.text("xyz", max_size=3))
steps = st.lists(
    st.tuples(st.lists(names, max_size=6), st.lists(st.integers(0, 99), max_size=5), st.randoms(use_true_random=False)),
    max_size=4,
)


@settings(max_examples=examples(150))
@given(steps)
def test_whatever_nodes_come_and_go_the_list_is_what_a_plain_writer_says_and_never_much_longer(sequence):
    """Padding is at most 1.5 x the list's own names, and long names, which are at most all of it, come on top."""
    table, writer = table_of([]), ScoreWriter()
    for come, go, chance in sequence:
        for name in come:
            table.put_node(node_summary(name))
        for index in go:
            there = sorted(table.rows)
            if there:
                table.delete_node(there[index % len(there)])
        asked = chance.choices(sorted(table.rows), k=chance.randrange(30)) if table.rows else []
        scores = [chance.randrange(11) for _ in asked]
        plain = write_scores(asked, scores)
        written = writer.write_rows(table, table.find(asked), np.array(scores, np.int64))
        assert (
            json.loads(written)
            == json.loads(plain)
            == [{"Host": name, "Score": score} for name, score in zip(asked, scores, strict=True)]
        )
        assert len(written) <= (1.5 + 1) * (len(plain) + len(asked))


async def test_a_node_that_is_gone_is_answered_by_its_name_while_its_row_ends_with_the_promise_on_it() -> None:
    """The pod was sent to the node, which then left; the answer that names it also ends the last that kept its row."""
    others = [f"node-{i}" for i in range(20)]
    for verb, asked in (("prioritize", pod()), ("filter", pod(egress="20G"))):
        there = service(node("gone"), *map(node, others))
        assert (await there.filter(pod(), ["gone"]))["NodeNames"] == ["gone"]
        there.parts.state.delete_node("gone")
        answer = await there.post(verb, args(asked, ["gone", *others]))
        if verb == "filter":
            assert sorted(answer["FailedAndUnresolvableNodes"]) == sorted(["gone", *others])
        else:
            assert [entry["Host"] for entry in answer] == ["gone", *others]


@pytest.mark.parametrize("more", [1, 1_500])
def test_after_many_renames_the_writer_has_every_name(more: int) -> None:
    """More renames than the table keeps a log of."""
    table, writer = table_of([node_summary("first")]), ScoreWriter()
    assert json.loads(writer.write_rows(table, table.find(["first"]), np.array([3]))) == [{"Host": "first", "Score": 3}]
    table.delete_node("first")
    for i in range(more):
        table.put_node(node_summary(f"n{i}"))
    last = f"n{more - 1}"
    assert json.loads(writer.write_rows(table, table.find([last]), np.array([10]))) == [{"Host": last, "Score": 10}]
