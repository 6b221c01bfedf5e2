"""The Score plugins beside kubesteer: their weights, and what an extender's weight is worth against them.

A Score plugin gives a node up to 100 times its weight. An extender gives up to 10, times 10, times its weight: the
same. So the weights can be compared as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kubesteer.model.errors import InvalidInput

POINTS = 100
"""What weight 1 is worth at most, of a plugin and of an extender alike."""
LEAST_SHARE = 0.25
"""Below this kubesteer is outvoted more often than not, and the check warns."""
MOST_SHARE = 0.95
"""Above this affinities and taints hardly order anything; `share_weight` takes no more."""

_ALWAYS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
_SINCE = {"DynamicResources": (35, 2), "VolumeBinding": (37, 1)}
"""Plugins that score by default from a minor on, with their weight: for pods with resource claims, and with volumes
that are still to be provisioned."""


def default_weights(minor: int) -> dict[str, int]:
    """The Score plugins that are on by default, and their weights."""
    return _ALWAYS | {name: weight for name, (since, weight) in _SINCE.items() if minor >= since}


def profile_weights(profile: Mapping[str, Any], minor: int) -> dict[str, int]:
    """The same for a profile that may switch some off, others on, and change weights.

    Score plugins from outside the tree count where the profile gives them a weight or names them under `score`.
    """
    weights = default_weights(minor)
    plugins = profile.get("plugins", {})
    for point in ("multiPoint", "score"):
        changes = plugins.get(point, {})
        disabled = {each.get("name") for each in changes.get("disabled", [])}
        weights = {} if "*" in disabled else {name: n for name, n in weights.items() if name not in disabled}
        for each in changes.get("enabled", []):
            name, weight = each.get("name", ""), int(each.get("weight", 0))
            if point == "score" or weight or name in default_weights(minor):
                weights[name] = weight or 1
    return weights


def share(weight: int, plugins: Mapping[str, int]) -> float:
    """The part of all points that an extender of this weight can give: at least this for every pod.

    plugins: the weights beside it, of Score plugins and of other extenders.
    It is more for pods of which some plugin has nothing to say: no affinities, no claims, no volumes.
    """
    total = weight + sum(map(abs, plugins.values()))
    return weight / total if total else 0.0


def share_weight(wanted: float, plugins: Mapping[str, int]) -> int:
    """The smallest weight that gives an extender at least this share. Raises InvalidInput."""
    if not LEAST_SHARE <= wanted <= MOST_SHARE:
        raise InvalidInput(
            f"weight {wanted:g}: kubesteer's share of the score; give {LEAST_SHARE:g} to {MOST_SHARE:g}, half, or 60%"
        )
    needed = wanted / (1 - wanted) * sum(plugins.values())
    return max(1, math.ceil(round(needed, 6)))
