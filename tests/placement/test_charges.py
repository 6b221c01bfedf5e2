"""Charges: a pod's promise spread over nodes, without a trace after, and never held against the pod itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.quantity import MOST
from kubesteer.placement.charges import Charges

ROWS = np.arange(6)
ASKS = (100, 200, 300)


def rows(*numbers):
    return np.array(numbers, np.intp)


def charged(charges, *, without=""):
    on = charges.on(ROWS, without=without)
    return None if on is None else on.T.tolist()


def test_a_charge_is_spread_over_the_nodes_that_the_scheduler_may_choose():
    """100, 200 and 300 over four nodes: 25, 50 and 75 each."""
    charges = Charges(3)
    charges.take("p", rows(0, 1, 2, 3), ASKS)
    assert charged(charges) == [[25, 50, 75]] * 4 + [[0, 0, 0]] * 2


def test_a_share_is_rounded_up_to_whole_units():
    """100 over three nodes: 34 each, so that the shares are never less than what is asked for."""
    charges = Charges(3)
    charges.take("p", rows(0, 1, 2), (100, 0, 1))
    assert charged(charges)[:4] == [[34, 0, 1]] * 3 + [[0, 0, 0]]


def test_a_pod_is_never_charged_twice():
    charges = Charges(3)
    for attempt in range(5):
        charges.take("p", rows(attempt % 2, 2), ASKS)
    assert charged(charges)[:3] == [[50, 100, 150], [0, 0, 0], [50, 100, 150]]
    assert len(charges) == 1


def test_a_pods_own_charge_never_counts_against_it():
    charges = Charges(3)
    charges.take("p", rows(0, 2), ASKS)
    assert charged(charges, without="p") is None
    charges.take("q", rows(0, 1), ASKS)
    assert charged(charges, without="p")[:3] == [[50, 100, 150], [50, 100, 150], [0, 0, 0]]
    assert charged(charges, without="q")[:3] == [[50, 100, 150], [0, 0, 0], [50, 100, 150]]


def test_a_pod_that_never_binds_leaves_no_trace():
    charges = Charges(3)
    charges.take("other", rows(1, 3), ASKS)
    before = charged(charges)
    for i in range(1000):
        charges.take(f"p{i}", rows(0, 1, 2), (1, 7, 1_000_003))
    for i in range(1000):
        charges.release(f"p{i}")
    assert charged(charges) == before
    charges.release("other")
    assert charged(charges) is None


def test_what_was_never_charged_is_released_in_peace():
    charges = Charges(3)
    charges.release("nobody")
    assert len(charges) == 0


def test_a_node_without_a_row_shows_no_charge():
    """-1 would be the last row."""
    charges = Charges(3)
    charges.take("p", rows(0, 500), ASKS)
    on = charges.on(rows(-1, 0, 500, 9999), without="")
    assert on.T.tolist() == [[0, 0, 0], [50, 100, 150], [50, 100, 150], [0, 0, 0]]


def test_of_a_node_that_goes_only_its_share_goes_to_the_nodes_left():
    """20 pods of 6 over 8 nodes: 20 on each, as a share of 0.75 is rounded up to 1. Without one: 20 x 6 / 7, 20 again.

    In thousands the rounding is small: 20 x 6,000 / 8 = 15,000 each, and of 7 nodes 20 x 858 = 17,160 each.
    """
    charges, eight = Charges(1), np.arange(8)
    for i in range(20):
        charges.take(f"p{i}", eight, (6_000,))
    assert charges.on(eight, without="")[0].tolist() == [15_000.0] * 8
    charges.drop_row(7)
    assert charges.on(eight, without="")[0].tolist() == [17_160.0] * 7 + [0.0]
    assert len(charges) == 20


def test_a_charge_without_a_node_left_ends():
    charges = Charges(3)
    charges.take("p", rows(0, 1), ASKS)
    charges.take("q", rows(2, 3), ASKS)
    charges.drop_row(0)
    charges.drop_row(1)
    assert len(charges) == 1
    assert charged(charges) == [[0, 0, 0], [0, 0, 0], [50, 100, 150], [50, 100, 150], [0, 0, 0], [0, 0, 0]]


def test_a_row_that_went_and_came_back_with_another_name_has_no_charge():
    charges = Charges(3)
    charges.take("p", rows(0, 1), ASKS)
    charges.drop_row(1)
    charges.take("new", rows(1, 2), ASKS)
    assert charged(charges)[:3] == [[100, 200, 300], [50, 100, 150], [50, 100, 150]]


def test_sums_of_the_largest_charges_do_not_wrap():
    """17,000 charges of 2^61 on two rows are far above 2^63, shown as 2^61; without all but one of them, 2^60."""
    charges = Charges(1)
    for i in range(17_000):
        charges.take(f"p{i}", rows(0, 1), (2**61,))
    assert charges.on(rows(0), without="")[0, 0] == MOST
    for i in range(1, 17_000):
        charges.release(f"p{i}")
    assert charges.on(rows(0), without="")[0, 0] == 2**60


def test_a_deletion_does_not_read_the_charges():
    """It only notes the row, however many charges there are: the next decision pays once for all rows that went."""
    charges = Charges(3)
    for i in range(3_000):
        charges.take(f"p{i}", rows(i % 6, (i + 1) % 6), ASKS)
    before = charges._by_uid.copy()
    charges.drop_row(3)
    assert charges._by_uid == before


uids = st.sampled_from(["p", "q", "r", "s"])
# Three rows near the first and three far off.
some_rows = st.sampled_from([0, 1, 2, 40, 41, 42])
steps = st.one_of(
    st.tuples(st.just("take"), uids, st.sets(some_rows, min_size=1, max_size=4), st.integers(0, 10**12)),
    st.tuples(st.just("release"), uids),
    st.tuples(st.just("drop_row"), some_rows),
)


@given(st.lists(steps, max_size=30), uids)
def test_totals_are_equal_to_a_recount_of_the_charges_that_live(sequence, asking):
    charges, living = Charges(2), {}
    for step in sequence:
        match step:
            case ("take", uid, on, amount):
                charges.take(uid, rows(*sorted(on)), (amount, 1))
                living[uid] = (sorted(on), amount)
            case ("release", uid):
                charges.release(uid)
                living.pop(uid, None)
            case ("drop_row", row):
                charges.drop_row(row)
                left = {u: ([r for r in on if r != row], amount) for u, (on, amount) in living.items()}
                living = {u: charge for u, charge in left.items() if charge[0]}
    assert len(charges) == len(living)
    want = np.zeros((2, 43))
    for uid, (placed, amount) in living.items():
        if uid != asking:
            want[:, placed] += np.ceil(np.array([amount, 1])[:, None] / len(placed))
    got = charges.on(np.arange(43), without=asking)
    assert np.array_equal(np.zeros((2, 43)) if got is None else got, want)
