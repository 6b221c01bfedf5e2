"""Charges: taken once for a pod, gone in time, without a trace, and never held against the pod itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubesteer.model.requests import PodRequests
from kubesteer.placement.charges import Charges

TTL_S = 10.0
ROWS = np.arange(6)


def requests(cpu_m=100, memory_b=200, egress_bps=300):
    return PodRequests(cpu_m, memory_b, cpu_m, memory_b, network_bps=(egress_bps,), by_annotation=(False,))


def rows(*numbers):
    return np.array(numbers, np.intp)


def charged(charges, *, without=""):
    on = charges.on(ROWS, without=without)
    return None if on is None else on.T.tolist()


def test_a_charge_is_what_the_pod_asks_for_on_the_node_it_was_sent_to():
    charges = Charges(3, TTL_S)
    charges.take("p", rows(2), requests(), now_s=0.0)
    assert charged(charges) == [[0, 0, 0], [0, 0, 0], [100, 200, 300], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_charge_is_spread_over_the_nodes_that_the_scheduler_may_choose():
    """100, 200 and 300 over four nodes: 25, 50 and 75 each."""
    charges = Charges(3, TTL_S)
    charges.take("p", rows(0, 1, 2, 3), requests(), now_s=0.0)
    assert charged(charges) == [[25, 50, 75]] * 4 + [[0, 0, 0]] * 2


def test_small_shares_of_many_pods_add_up():
    """100 pods of 1 over 4 nodes: 25 on each, though each share of 0.25 alone rounds to 0."""
    charges = Charges(3, TTL_S)
    for i in range(100):
        charges.take(f"p{i}", rows(0, 1, 2, 3), requests(1, 1, 1), now_s=0.0)
    assert charged(charges)[:4] == [[25, 25, 25]] * 4


def test_a_pod_is_never_charged_twice():
    charges = Charges(3, TTL_S)
    for attempt in range(5):
        charges.take("p", rows(attempt % 2), requests(), now_s=float(attempt))
    assert charged(charges)[:2] == [[100, 200, 300], [0, 0, 0]]
    assert len(charges) == 1


def test_a_pods_own_charge_never_counts_against_it():
    charges = Charges(3, TTL_S)
    charges.take("p", rows(0), requests(), now_s=0.0)
    assert charged(charges, without="p") is None
    charges.take("q", rows(0, 1), requests(), now_s=0.0)
    assert charged(charges, without="p")[:2] == [[50, 100, 150], [50, 100, 150]]
    assert charged(charges, without="q")[:2] == [[100, 200, 300], [0, 0, 0]]


@pytest.mark.parametrize(
    ("at_s", "left"), [pytest.param(9.9, 1, id="9.9 s of 10"), pytest.param(10.0, 0, id="10 s"), pytest.param(99.0, 0)]
)
def test_a_charge_expires(at_s, left):
    charges = Charges(3, TTL_S)
    charges.take("p", rows(0), requests(), now_s=0.0)
    charges.expire(at_s)
    assert len(charges) == left
    assert (charged(charges) is None) == (left == 0)


def test_a_charge_taken_again_lives_on_from_then():
    charges = Charges(3, TTL_S)
    charges.take("p", rows(0), requests(), now_s=0.0)
    charges.take("q", rows(0), requests(), now_s=5.0)
    charges.take("p", rows(1), requests(), now_s=8.0)
    charges.expire(15.0)
    assert charged(charges)[:2] == [[0, 0, 0], [100, 200, 300]]


def test_a_pod_that_never_binds_leaves_no_trace():
    charges = Charges(3, TTL_S)
    charges.take("other", rows(1), requests(), now_s=9.0)
    before = charged(charges)
    for i in range(1000):
        charges.take(f"p{i}", rows(0, 1, 2), requests(1, 7, 1_000_003), now_s=9.0)
    for i in range(1000):
        charges.release(f"p{i}")
    assert charged(charges) == before
    charges.release("other")
    assert charged(charges) is None


def test_what_was_never_charged_is_released_in_peace():
    charges = Charges(3, TTL_S)
    charges.release("nobody")
    assert len(charges) == 0


def test_a_node_without_a_row_takes_no_charge_and_shows_none():
    """-1 would be the last row, whichever that is when the charge ends."""
    charges = Charges(3, TTL_S)
    charges.take("p", rows(-1, 0), requests(), now_s=0.0)
    charges.take("q", rows(500), requests(), now_s=0.0)
    charges.take("nowhere", rows(-1), requests(), now_s=0.0)
    on = charges.on(rows(-1, 0, 500, 9999), without="")
    assert on.T.tolist() == [[0, 0, 0], [100, 200, 300], [100, 200, 300], [0, 0, 0]]
    charges.release("p")
    assert charged(charges) == [[0, 0, 0]] * 6


def test_no_time_to_live_means_no_charges():
    charges = Charges(3, 0.0)
    charges.take("p", rows(0), requests(), now_s=0.0)
    assert (len(charges), charged(charges)) == (0, None)


uids = st.sampled_from(["p", "q", "r", "s"])
steps = st.one_of(
    st.tuples(st.just("take"), uids, st.sets(st.integers(-1, 5), max_size=4), st.integers(0, 10**12)),
    st.tuples(st.just("release"), uids),
    st.tuples(st.just("wait"), st.floats(0, TTL_S)),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=30), uids)
def test_totals_are_equal_to_a_recount_of_the_charges_that_live(sequence, asking):
    """Each row to the nearest whole number: half a unit, and the last bits of the sums."""
    charges, living, now_s = Charges(3, TTL_S), {}, 0.0
    for step in sequence:
        match step:
            case ("take", uid, on, amount):
                charges.take(uid, rows(*sorted(on)), requests(amount, 1, amount), now_s)
                living.pop(uid, None)
                if placed := sorted(on - {-1}):
                    living[uid] = (placed, amount, now_s)
            case ("release", uid):
                charges.release(uid)
                living.pop(uid, None)
            case ("wait", seconds):
                now_s += seconds
                charges.expire(now_s)
                living = {u: c for u, c in living.items() if now_s - c[2] < TTL_S}
    assert len(charges) == len(living)
    want = np.zeros((3, 6))
    for uid, (placed, amount, _) in living.items():
        if uid != asking:
            want[:, placed] += np.array([amount, 1, amount])[:, None] / len(placed)
    got = charges.on(ROWS, without=asking)
    assert np.abs((np.zeros((3, 6)) if got is None else got) - want).max() <= 0.51


def test_a_node_that_goes_takes_its_charges_with_it():
    charges = Charges(3, TTL_S)
    charges.take("p", rows(0, 1), requests(), now_s=0.0)
    charges.take("q", rows(2), requests(), now_s=0.0)
    charges.release_row(1)
    assert len(charges) == 1
    assert charges.on(rows(0, 1), without="") is None or not charges.on(rows(0, 1), without="").any()
