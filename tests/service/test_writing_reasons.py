"""Reasons written by copying cells are the reasons written one by one, whatever was written before."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.wire.reasons import ReasonWriter, write_reasons
from kubesteer.placement.verdicts import Cause, Verdicts, Wanted
from tests.builders import node_summary, table_of
from tests.examples import examples

WANTED = (Wanted("egress", 300_000_000, ("kubesteer.io/egress-bps",)), Wanted('in"gress', 1, ("a/b", "c/d")))
REFUSED = [int(cause) for cause in Cause if cause is not Cause.FITS]
names = st.lists(
    st.integers(0, 60).map(lambda i: f"node-{i}") | st.just("n") | st.just("x" * 253) | st.just('q"ö\\'),
    min_size=1,
    max_size=60,
    unique=True,
)
numbers = st.sampled_from([0.0, 1.0, 120e6, 9.5e9, 1e15, 123_456_789.0])


def verdicts_of(count, draw):
    """Verdicts of so many candidates; few different causes, so that many read alike."""
    causes = draw(st.lists(st.sampled_from(REFUSED), min_size=1, max_size=3))
    column = st.lists(st.sampled_from(causes), min_size=count, max_size=count)
    amounts = st.lists(numbers, min_size=count, max_size=count)
    return Verdicts(
        np.array(draw(column), np.uint8),
        np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), np.uint8),
        np.array(draw(amounts)),
        np.array(draw(amounts)),
        wanted=WANTED,
        below=0.25,
        pod_fault='metadata.annotations[a]: "x"',
        node_faults={p: f"cpu: '{p}' is not a quantity" for p in range(count)},
    )


@settings(max_examples=examples(150))
@given(names, st.data())
def test_cells_say_what_is_said_one_by_one(there, data):
    table, writer = table_of([node_summary(name) for name in there]), ReasonWriter()
    for _ in range(3):
        asked = data.draw(st.permutations(there))
        verdicts = verdicts_of(len(asked), data.draw)
        positions = np.array(sorted(data.draw(st.sets(st.integers(0, len(asked) - 1)))), np.intp)
        written = writer.write(table, table.find(asked), verdicts, positions)
        assert json.loads(written) == json.loads(write_reasons(asked, verdicts, positions))
        assert json.loads(written) == dict(
            zip([asked[p] for p in positions.tolist()], verdicts.reasons(positions), strict=True)
        )


def test_a_row_with_another_name_and_other_numbers_says_nothing_of_the_first():
    names = [f"node-{i}" for i in range(40)]
    table, writer = table_of([node_summary(name) for name in names]), ReasonWriter()

    def said(asked, left):
        count = len(asked)
        full = np.full(count, int(Cause.INSUFFICIENT), np.uint8)
        verdicts = Verdicts(full, np.zeros(count, np.uint8), np.full(count, left), np.full(count, 1e9), wanted=WANTED)
        return json.loads(writer.write(table, table.find(asked), verdicts, np.arange(count)))

    assert said(names, 1e6) == dict.fromkeys(names, "egress: wants 300M, 1M of 1G left")
    table.delete_node("node-7")
    table.put_node(node_summary("other"))
    renamed = [*names[:7], *names[8:], "other"]
    assert said(renamed, 25e6) == dict.fromkeys(renamed, "egress: wants 300M, 25M of 1G left")


def test_an_answer_is_not_much_longer_than_its_words():
    """39 short names and one of 253 characters: padding to the longest would make it five times as long."""
    names = [*(f"n{i}" for i in range(39)), "x" * 253]
    table, writer = table_of([node_summary(name) for name in names]), ReasonWriter()
    full = np.full(40, int(Cause.NOT_READY), np.uint8)
    verdicts = Verdicts(full, np.zeros(40, np.uint8), np.zeros(40), np.zeros(40))
    written = writer.write(table, table.find(names), verdicts, np.arange(40))
    assert len(written) <= 1.5 * len(write_reasons(names, verdicts, np.arange(40)))
