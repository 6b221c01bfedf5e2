"""The ledger that judges the availability tests."""

from __future__ import annotations

import pytest

from tests.availability.ledger import Ledger, Promise, longest_gap_s

M = 10**6


def promise(pod: str, *, node: str = "a", resource: int = 0, annotated: int = 0) -> Promise:
    return Promise(pod, node, resource * M, annotated * M)


def test_an_excess_that_lasted_for_one_change_is_seen() -> None:
    ledger = Ledger({"a": 100 * M})
    for name, bps in (("p", 60), ("q", 50)):
        ledger.bound(promise(name, resource=bps), 1.0)
    ledger.gone("p")
    assert ledger.peaks.resource_bps == (60 + 50 - 100) * M
    assert ledger.left_bps() == {"a": (100 - 50) * M}


def test_annotations_count_apart_from_extended_resources() -> None:
    ledger = Ledger({"a": 100 * M, "b": 100 * M})
    ledger.bound(promise("p", resource=80), 1.0)
    ledger.bound(promise("q", annotated=30), 1.0)
    assert (ledger.peaks.resource_bps, ledger.peaks.all_bps, ledger.peaks.nodes) == (0, 10 * M, {"a"})


def test_an_old_excess_counts_again_when_the_node_is_given_more() -> None:
    ledger = Ledger({"a": 100 * M})
    ledger.bound(promise("p", annotated=130), 1.0)
    ledger.reset_peaks()
    ledger.gone("q")
    assert ledger.peaks.all_bps == 0
    ledger.bound(promise("r", resource=20), 2.0)
    assert (ledger.peaks.resource_bps, ledger.peaks.all_bps) == (0, (130 + 20 - 100) * M)


def test_a_pod_told_of_twice_counts_once_and_keeps_its_time() -> None:
    ledger = Ledger({"a": 100 * M})
    for at_s in (1.0, 2.0):
        ledger.bound(promise("p", resource=60), at_s)
    assert (ledger.promised_bps, ledger.bindings(0.0, 3.0)) == (60 * M, [1.0])


def test_a_list_is_all_there_is() -> None:
    ledger = Ledger({"a": 100 * M, "b": 100 * M})
    ledger.bound(promise("p", resource=60), 1.0)
    ledger.replace([promise("q", node="b", resource=10)], 2.0)
    assert [one.pod for one in ledger.promises] == ["q"]
    assert ledger.left_bps() == {"a": 100 * M, "b": 90 * M}
    assert ledger.bindings(0.0, 3.0) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("times", "gap"),
    [([], 10.0), ([1.0, 2.0, 9.0], 7.0), ([4.0], 6.0)],
    ids=["nothing bound", "between two", "to the end"],
)
def test_the_longest_gap_counts_both_ends_of_the_time(times: list[float], gap: float) -> None:
    assert longest_gap_s(times, 0.0, 10.0) == gap
