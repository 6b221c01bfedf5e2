"""What an extender's weight is worth beside the Score plugins, computed from the configuration."""

from __future__ import annotations

from typing import Any

import pytest

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.making import parse_share
from kubesteer.schedulerconfig.score_plugins import default_weights, profile_weights, share, share_weight

# TaintToleration 3 + NodeAffinity 2 + Fit 1 + PodTopologySpread 2 + InterPodAffinity 2 + Balanced 1 + ImageLocality 1
SUM_1_34 = 12
SUM_1_35 = 14  # + DynamicResources 2
SUM_1_37 = 15  # + VolumeBinding 1


@pytest.mark.parametrize(
    ("minor", "total"), [(29, SUM_1_34), (34, SUM_1_34), (35, SUM_1_35), (36, SUM_1_35), (37, SUM_1_37)]
)
def test_the_default_plugins_weigh_more_with_newer_minors(minor: int, total: int) -> None:
    assert sum(default_weights(minor).values()) == total


@pytest.mark.parametrize(
    ("wanted", "minor", "weight"),
    [
        pytest.param(0.5, 34, 12, id="half: as much as all others"),
        pytest.param(0.5, 37, 15, id="half beside more plugins"),
        pytest.param(0.6, 34, 18, id="0.6 / 0.4 * 12 = 18"),
        pytest.param(0.25, 34, 4, id="0.25 / 0.75 * 12 = 4"),
        pytest.param(0.9, 34, 108, id="0.9 / 0.1 * 12 = 108"),
        pytest.param(0.7, 34, 28, id="0.7 / 0.3 * 12 = 28, whatever floats make of it"),
        pytest.param(0.51, 34, 13, id="0.51 / 0.49 * 12 = 12.5, rounded up"),
    ],
)
def test_a_share_becomes_the_smallest_weight_that_has_it(wanted: float, minor: int, weight: int) -> None:
    plugins = default_weights(minor)
    assert share_weight(wanted, plugins) == weight
    assert share(weight, plugins) >= wanted - 1e-9 > share(weight - 1, plugins)


@pytest.mark.parametrize(
    ("plugins", "total"),
    [
        pytest.param({}, 12, id="nothing said"),
        pytest.param({"score": {"disabled": [{"name": "TaintToleration"}]}}, 9, id="12 - 3"),
        pytest.param({"multiPoint": {"disabled": [{"name": "TaintToleration"}]}}, 9, id="off everywhere"),
        pytest.param({"score": {"enabled": [{"name": "NodeResourcesFit", "weight": 5}]}}, 16, id="12 - 1 + 5"),
        pytest.param({"multiPoint": {"enabled": [{"name": "NodeResourcesFit", "weight": 5}]}}, 16, id="everywhere"),
        pytest.param({"multiPoint": {"enabled": [{"name": "TaintToleration"}]}}, 10, id="no weight is 1: 12 - 3 + 1"),
        pytest.param({"score": {"disabled": [{"name": "*"}]}}, 0, id="all off"),
        pytest.param(
            {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeAffinity", "weight": 2}]}},
            2,
            id="one left",
        ),
        pytest.param({"multiPoint": {"enabled": [{"name": "Mine", "weight": 3}]}}, 15, id="one's own with a weight"),
        pytest.param({"multiPoint": {"enabled": [{"name": "Mine"}]}}, 12, id="one's own that need not score"),
        pytest.param({"score": {"enabled": [{"name": "Mine"}]}}, 13, id="one's own that scores"),
        pytest.param(
            {
                "multiPoint": {"enabled": [{"name": "NodeAffinity", "weight": 9}]},
                "score": {"enabled": [{"name": "NodeAffinity", "weight": 4}]},
            },
            14,
            id="score counts before multiPoint: 12 - 2 + 4",
        ),
    ],
)
def test_a_profiles_changes_count(plugins: dict[str, Any], total: int) -> None:
    assert sum(profile_weights({"plugins": plugins}, 34).values()) == total


@pytest.mark.parametrize(("text", "wanted"), [("half", 0.5), ("Half ", 0.5), ("60%", 0.6), ("0.6", 0.6), ("25%", 0.25)])
def test_a_share_is_read_from_words(text: str, wanted: float) -> None:
    assert parse_share(text) == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["12", "0.1", "99%", "-50%", "nan", "most", "", "%"])
def test_what_is_no_share_is_refused_with_the_value_and_what_to_give(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^weight '.*give ") as refusal:
        parse_share(text)
    assert repr(text) in str(refusal.value)
