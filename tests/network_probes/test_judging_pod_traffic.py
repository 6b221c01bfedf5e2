"""Rates of single pods, and whether a pod got what it was promised."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kubesteer.clients.kubelet.summary import PodCounters
from kubesteer.model.errors import InvalidSettings
from monitor_agent.probes.pods import OfferedRules, PodTraffic, achieved
from monitor_agent.probes.rates import RateRules

M = 1_000_000


def counters(time_s: float, *, sent_b: int, received_b: int = 0, uid: str = "u1") -> PodCounters:
    return PodCounters("default", "web", uid, sent_b=sent_b, received_b=received_b, time_s=time_s)


def traffic_of(*readings: PodCounters, windows: int = 4) -> PodTraffic:
    traffic = PodTraffic(RateRules(time_constant_s=0, counter_bits=(64,)), windows=windows)
    for reading in readings:
        traffic.read([reading])
    return traffic


def test_a_pods_directions_are_told_apart() -> None:
    # 1,250,000 B x 8 / 10 s = 1 Mbit/s; 125,000 B make 0.1
    found = traffic_of(counters(0, sent_b=0), counters(10, sent_b=1_250_000, received_b=125_000)).of("u1")
    assert found is not None
    assert found.bps == {"egress": 1 * M, "ingress": 0.1 * M}
    assert found.windows == {"egress": (1 * M,), "ingress": (0.1 * M,)}


def test_nothing_is_known_of_a_pod_before_its_second_reading() -> None:
    assert traffic_of(counters(0, sent_b=0)).of("u1") is None
    assert traffic_of().of("u1") is None


def test_the_kubelets_old_answer_once_more_is_no_window() -> None:
    traffic = traffic_of(counters(0, sent_b=0), counters(10, sent_b=1000), counters(10, sent_b=1000))
    traffic.read([counters(20, sent_b=2000)])
    found = traffic.of("u1")
    assert found is not None
    assert found.windows["egress"] == (800, 800)


def test_a_network_set_up_anew_breaks_the_row_of_windows() -> None:
    traffic = traffic_of(counters(0, sent_b=0), counters(10, sent_b=1000), counters(20, sent_b=10))
    assert traffic.of("u1") is not None, "what it received went on"
    assert traffic.of("u1").windows["egress"] == ()  # type: ignore[union-attr]


def test_only_the_latest_windows_are_kept() -> None:
    traffic = traffic_of(*(counters(10 * n, sent_b=1000 * n * n) for n in range(6)), windows=2)
    # (16 - 9) and (25 - 16) thousand bytes, x 8 / 10 s
    assert traffic.of("u1").windows["egress"] == (5600, 7200)  # type: ignore[union-attr]


def test_a_pod_that_left_is_forgotten_and_one_that_is_not_measured_now_is_kept() -> None:
    traffic = traffic_of(counters(0, sent_b=0), counters(10, sent_b=1000))
    traffic.read([])
    traffic.forget(["u1"])
    assert traffic.of("u1") is not None
    traffic.forget([])
    assert traffic.of("u1") is None


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((50, 50, 50, 50), 0.5),
        ((100, 120, 130, 110), 1.0),
        ((40, 60, 40, 60), 0.5),
        ((25, 25, 25, 25), 0.25),
        ((90, 90, 24, 90), None),  # below a quarter once: it may have had nothing to send
        ((90, 90, 90), None),  # not seen for long enough
        ((0, 0, 90, 90, 90, 90), 0.9),  # only the latest count
        ((), None),
    ],
)
def test_what_was_achieved_counts_where_traffic_was_offered_throughout(
    rates: Sequence[int], expected: float | None
) -> None:
    windows = {"egress": [rate * M for rate in rates]}
    assert achieved({"egress": 100 * M}, windows, OfferedRules(share=0.25, windows=4)) == expected


def test_the_direction_that_fell_short_the_most_counts() -> None:
    windows = {"egress": [80.0] * 4, "ingress": [50.0] * 4}
    assert achieved({"egress": 100, "ingress": 100}, windows, OfferedRules()) == 0.5
    assert achieved({"egress": 100, "ingress": 0}, windows, OfferedRules()) == 0.8
    assert achieved({"egress": 100, "ingress": 1000}, windows, OfferedRules()) == 0.8, "5 % is not offered"
    assert achieved({}, windows, OfferedRules()) is None


@pytest.mark.parametrize(("rules", "field"), [({"share": 0}, "share 0"), ({"windows": 0}, "windows 0")])
def test_rules_that_cannot_be_are_refused_by_name(rules: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidSettings, match=field):
        OfferedRules(**rules)
