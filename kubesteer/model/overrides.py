"""Choices of a pod or its namespace: whether kubesteer's answers decide, and how much rewards weigh.

Only values, and how a pod's annotations are read. Placement decides by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubesteer.model.quantity import shown

MODE_ANNOTATION, REWARD_WEIGHT_ANNOTATION = "kubesteer.io/mode", "kubesteer.io/reward-weight"
MOST_WEIGHT = 100.0


class Mode(StrEnum):
    """enforce: answers are decisions. observe: every node passes with the same score; decisions are only recorded."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Override:
    """None leaves the choice to the next in line: the pod's namespace, then the settings.

    fault: an annotation that cannot be used and is passed over, in words.
    """

    mode: Mode | None = None
    reward_weight: float | None = None
    fault: str | None = None


def pod_override(annotations: Mapping[str, str] | None) -> Override | None:
    """The choices of a pod's annotations; None where there are none."""
    if not annotations:
        return None
    mode, weight = annotations.get(MODE_ANNOTATION), annotations.get(REWARD_WEIGHT_ANNOTATION)
    if mode is None and weight is None:
        return None
    faults = []
    chosen_mode, chosen_weight = _mode(mode), _weight(weight)
    if mode is not None and chosen_mode is None:
        faults.append(f"metadata.annotations[{MODE_ANNOTATION}]: {shown(mode)} is no mode; write enforce or observe")
    if weight is not None and chosen_weight is None:
        faults.append(
            f"metadata.annotations[{REWARD_WEIGHT_ANNOTATION}]: {shown(weight)} is no weight; "
            f"write a number from 0 to {MOST_WEIGHT:g}"
        )
    return Override(chosen_mode, chosen_weight, "; ".join(faults) or None)


def _mode(text: str | None) -> Mode | None:
    return Mode(text) if text in set(Mode) else None


def _weight(text: str | None) -> float | None:
    try:
        weight = float(text or "")
    except ValueError:
        return None
    return weight if math.isfinite(weight) and 0 <= weight <= MOST_WEIGHT else None
