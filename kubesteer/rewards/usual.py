"""What is usual of a pod type on other nodes, from a sample of their records. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import OTHER_TYPES, RewardRecord, parse_time
from kubesteer.rewards.entry import DURATION, STARTUP
from kubesteer.rewards.entry_records import outcomes_of, samples_of
from kubesteer.rewards.reasons import Reason

FEWEST = 3
"""A median of fewer samples tells nothing."""
PULL_COUNTS_S = 3600.0
"""For so long an image that could not be pulled elsewhere is taken for one that cannot be pulled."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Of one pod type: medians in seconds, None where too little is known, and whether its image fails elsewhere."""

    startup_s: float | None = None
    duration_s: float | None = None
    pull_fails: bool = False


def usual_elsewhere(records: Iterable[RewardRecord], node: str, now_s: float) -> dict[str, Usual]:
    """By pod type, what the records of all nodes but this one say at `now_s`, unix seconds."""
    by_type: dict[str, list[RewardRecord]] = {}
    for record in records:
        if record.node != node and record.pod_type != OTHER_TYPES:
            by_type.setdefault(record.pod_type, []).append(record)
    return {
        pod_type: Usual(
            _median_s(held, STARTUP),
            _median_s(held, DURATION),
            any(_is_pull_failure(each, now_s) for record in held for each in outcomes_of(record)),
        )
        for pod_type, held in by_type.items()
    }


def _median_s(records: Iterable[RewardRecord], name: str) -> float | None:
    samples = [sample for record in records for sample in samples_of(record, name)]
    return median(samples) if len(samples) >= FEWEST else None


def _is_pull_failure(outcome: dict[str, Any], now_s: float) -> bool:
    try:
        return outcome.get("reason") == Reason.PULL and now_s - parse_time(outcome.get("time")) <= PULL_COUNTS_S
    except InvalidRecord:
        return False
