"""Rates from counters: what counters do, and time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidSettings
from monitor_agent.probes.rates import Rate, RateRules
from monitor_agent.probes.traffic import NodeTraffic
from tests.network_probes.fake_sys import FakeMachine

RAW = RateRules(time_constant_s=0)


def windows(*readings: tuple[int, float], rules: RateRules = RAW) -> list[float | None]:
    rate = Rate(rules)
    return [rate.read({"eth0": count}, time_s) for count, time_s in readings]


def test_a_window_is_bits_moved_per_second() -> None:
    # 1,250,000 B x 8 / 10 s = 1 Mbit/s
    assert windows((500, 0), (1_250_500, 10)) == [None, 1_000_000]


@pytest.mark.parametrize(
    ("before", "after", "moved_b"),
    [
        (2**32 - 1000, 500, 1500),
        (2**64 - 1000, 500, 1500),
        (2**32 + 10, 20, None),  # above 32 bits, and 2^64 around is more than any wire moves
        (2**31 - 1, 0, None),  # more than half the range around: it started anew
        (123_456, 0, None),
        (0, 10**15, None),  # 8 x 10^15 bit in 10 s is above 1.6 Tbit/s
    ],
)
def test_a_counter_that_goes_back_wrapped_or_started_anew(before: int, after: int, moved_b: int | None) -> None:
    expected = None if moved_b is None else moved_b * 8 / 10
    assert windows((before, 0), (after, 10))[1] == expected


def test_after_a_counter_that_started_anew_the_next_window_counts() -> None:
    assert windows((10**6, 0), (0, 10), (1000, 20)) == [None, None, 800]


def test_software_counters_of_64_bits_are_not_taken_for_32() -> None:
    assert windows((2**32 - 1000, 0), (500, 10), rules=RateRules(counter_bits=(64,))) == [None, None]


def test_time_that_goes_back_starts_anew_and_time_that_stands_still_is_no_reading() -> None:
    rate = Rate(RAW)
    times = [0.0, 10.0, 10.0, 5.0, 15.0]
    counts = [0, 1000, 9999, 2000, 3000]
    assert [rate.read({"eth0": c}, t) for c, t in zip(counts, times, strict=True)] == [None, 800, None, None, 800]


def test_after_a_silence_the_rate_is_not_known_until_the_next_window() -> None:
    rate = Rate(RateRules(longest_window_s=60))
    assert rate.read({"eth0": 0}, 0) is None
    assert rate.read({"eth0": 1000}, 10) == rate.bps == 800
    assert rate.read({"eth0": 2000}, 71) is None  # 61 s
    assert rate.bps is None
    assert rate.read({"eth0": 3000}, 81) == rate.bps == 800


def test_the_smoothed_rate_goes_63_percent_of_a_step_in_one_time_constant() -> None:
    rate = Rate(RateRules(time_constant_s=20))
    for count, time_s in ((0, 0), (0, 10), (1000, 20), (2000, 30)):
        rate.read({"eth0": count}, time_s)
    # from 0 towards 800: 800 x (1 - e^-1), whether in one window of 20 s or in two of 10 s
    assert rate.bps == pytest.approx(800 * (1 - math.exp(-1)))


def test_interfaces_are_added_up_and_one_that_is_new_waits_for_its_second_reading() -> None:
    rate = Rate(RAW)
    rate.read({"eth0": 0}, 0)
    assert rate.read({"eth0": 1000, "eth1": 7_000_000}, 10) == 800
    assert rate.read({"eth0": 2000, "eth1": 7_001_000}, 20) == 1600
    assert rate.read({"eth2": 5}, 30) is None


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 2**64 - 1), st.integers(2**32 - 10**6, 2**32 - 1), st.integers(0, 10**6)),
            st.one_of(st.floats(-1e9, 1e9), st.floats(0, 100)),
        ),
        max_size=30,
    ),
    st.floats(0, 1e6),
    st.floats(1, 1e6),
)
def test_whatever_is_read_no_rate_is_negative_or_above_the_fastest_wire(
    readings: list[tuple[int, float]], time_constant_s: float, longest_window_s: float
) -> None:
    rules = RateRules(time_constant_s=time_constant_s, longest_window_s=longest_window_s)
    rate = Rate(rules)
    for count, time_s in readings:
        for found in (rate.read({"eth0": count}, time_s), rate.bps):
            assert found is None or 0 <= found <= rules.ceiling_bps * (1 + 1e-9)


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.tuples(st.integers(0, 2**30), st.integers(1, 60)), min_size=1),
    st.sampled_from([32, 64]),
)
def test_a_counter_that_wraps_counts_what_one_without_end_counts(
    start: int, steps: list[tuple[int, int]], bits: int
) -> None:
    endless, wrapping, time_s, size = Rate(RAW), Rate(RAW), 0.0, 2**bits
    count = start % size
    endless.read({"eth0": count}, time_s)
    wrapping.read({"eth0": count}, time_s)
    for moved_b, window_s in steps:
        count, time_s = count + moved_b, time_s + window_s
        assert wrapping.read({"eth0": count % size}, time_s) == endless.read({"eth0": count}, time_s)


@pytest.mark.parametrize("field", ["time_constant_s", "longest_window_s", "ceiling_bps"])
def test_rules_that_cannot_be_are_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidSettings, match=field):
        RateRules(**{field: -1.0})


def test_the_node_sends_and_receives_apart(tmp_path: Path) -> None:
    machine, traffic = FakeMachine(tmp_path).nic("eth0"), NodeTraffic(RAW, root=tmp_path)
    machine.counters("eth0", sent_b=0, received_b=0)
    assert traffic.read(["eth0"], 0) == {}
    machine.counters("eth0", sent_b=1000, received_b=5000)
    assert traffic.read(["eth0"], 10) == {"egress": 800, "ingress": 4000}


def test_an_interface_that_was_made_anew_under_its_name_starts_anew(tmp_path: Path) -> None:
    machine, traffic = FakeMachine(tmp_path).nic("eth0"), NodeTraffic(RAW, root=tmp_path)
    machine.counters("eth0", sent_b=1000, received_b=1000, index=2)
    traffic.read(["eth0"], 0)
    # the new one counted 9,000 B by now, of which nobody knows since when
    machine.counters("eth0", sent_b=9000, received_b=9000, index=3)
    assert traffic.read(["eth0"], 10) == {}
    machine.counters("eth0", sent_b=10_000, received_b=9000, index=3)
    assert traffic.read(["eth0"], 20) == {"egress": 800, "ingress": 0}


def test_an_interface_that_is_gone_leaves_the_last_rate_for_a_while(tmp_path: Path) -> None:
    machine, traffic = FakeMachine(tmp_path).nic("eth0"), NodeTraffic(RAW, root=tmp_path)
    machine.counters("eth0", sent_b=0, received_b=0)
    traffic.read(["eth0"], 0)
    machine.counters("eth0", sent_b=1000, received_b=0)
    traffic.read(["eth0"], 10)
    # known at 10 s, and believed for 120 s more
    assert [traffic.read(["eth7"], now_s) for now_s in (20, 130, 131)] == [{"egress": 800, "ingress": 0}] * 2 + [{}]
