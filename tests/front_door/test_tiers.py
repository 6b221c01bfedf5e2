"""Which tests `make e2e` leaves out: by what a test asks for, and by what is written on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.tiers import follows, table, tier


@pytest.mark.parametrize(
    ("fixtures", "parameters", "markers"),
    [
        (("binaries", "bed"), {"empty_bed": "1.37"}, set()),
        (("binaries", "bed"), {"empty_bed": "1.34"}, {"older"}),
        (("older_binaries",), {}, {"older"}),
        (("schedulers",), {"file": "1.36/all-pods.yaml"}, {"older"}),
        (("schedulers",), {"file": "1.37/all-pods.yaml"}, set()),
        (("schedulers",), {"minor": 35}, {"older"}),
        (("helm",), {"version": "v1.34.1"}, set()),
        (("node_binaries", "whole_bed"), {}, {"real_nodes"}),
    ],
)
def test_markers_follow_from_fixtures_and_parameters(
    fixtures: tuple[str, ...], parameters: dict[str, Any], markers: set[str]
) -> None:
    assert follows(fixtures, parameters) == markers


def test_a_test_of_two_tiers_is_counted_once() -> None:
    assert tier({"real_nodes", "overlays", "test_it"}) == "overlays"
    assert tier({"test_it"}) == ""


def test_the_summary_has_a_row_a_tier_with_outcomes_and_minutes() -> None:
    """Two tests of 60 s on KWOK, one of them failed; a set-up of 30 s and one test of 90 s on real nodes."""

    def report(duration: float, *keywords: str) -> SimpleNamespace:
        return SimpleNamespace(keywords=dict.fromkeys(keywords, 1), duration=duration)

    stats = {
        "passed": [report(60.0), report(90.0, "real_nodes")],
        "failed": [report(60.0)],
        "": [report(30.0, "real_nodes")],
        "warnings": [object()],
    }
    rows = [line.split() for line in table(stats)]
    assert rows == [
        ["KWOK,", "1.37.2", "1", "passed,", "1", "failed", "2.0", "min"],
        ["real", "nodes", "1", "passed", "2.0", "min"],
    ]
