"""What is usual of a pod type on other nodes, from a sample of their records. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import OTHER_TYPES, RewardRecord, parse_time
from kubesteer.rewards.entry import DURATION, STARTUP
from kubesteer.rewards.entry_records import outcomes_of, samples_of
from kubesteer.rewards.reasons import Reason

FEWEST = 3
"""A median of fewer samples tells nothing."""
PULL_COUNTS_S = 3600.0
"""Records of other nodes that are no older than this tell whether a type's image can be pulled."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of one pod type: medians in seconds, None where too little is known; whether its image fails elsewhere too."""

    startup_s: float | None = None
    duration_s: float | None = None
    pull_fails: bool = False


def usual_elsewhere(records: Iterable[RewardRecord], node: str, now_s: float) -> dict[str, Baseline]:
    """By pod type, what the records of all nodes but this one say at `now_s`, unix seconds."""
    by_type: dict[str, list[RewardRecord]] = {}
    for record in records:
        if record.node != node and record.pod_type != OTHER_TYPES:
            by_type.setdefault(record.pod_type, []).append(record)
    return {
        pod_type: Baseline(
            _median_s(held, STARTUP),
            _median_s(held, DURATION),
            _pull_fails(held, now_s),
        )
        for pod_type, held in by_type.items()
    }


def _median_s(records: Iterable[RewardRecord], name: str) -> float | None:
    samples = [sample for record in records for sample in samples_of(record, name)]
    return median(samples) if len(samples) >= FEWEST else None


def _pull_fails(records: Iterable[RewardRecord], now_s: float) -> bool:
    """Whether the image fails on at least half of the nodes that tell of it: a few bad nodes are not elsewhere."""
    failed = [last for record in records if (last := _failed_last(record, now_s)) is not None]
    return any(failed) and 2 * sum(failed) >= len(failed)


def _failed_last(record: RewardRecord, now_s: float) -> bool | None:
    """Whether the newest that a node tells is a failed pull; None where it tells nothing that is new enough."""
    told: list[tuple[float, bool]] = []
    for each in (*outcomes_of(record, "recent"), *outcomes_of(record, "bad")):
        try:
            told.append((parse_time(each.get("time")), each.get("reason") == Reason.PULL))
        except InvalidRecord:
            continue
    newest_s, failed = max(told, default=(-PULL_COUNTS_S, False))
    return failed if now_s - newest_s <= PULL_COUNTS_S else None
