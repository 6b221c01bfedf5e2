"""What `kubesteer rewards` says about records: beliefs as the extender reads them now, and what the agents noted.

Values in, values out: no clock, no I/O, nothing printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from kubesteer.model.errors import InvalidRecord
from kubesteer.model.reward import RewardRecord, format_time, parse_time
from kubesteer.rewards.entry_records import outcomes_of, samples_of
from kubesteer.rewards.table import EWMA_FIRST_MEAN, Belief, RewardTable


@dataclass(frozen=True, slots=True)
class Pair:
    """One (pod type, node) pair now.

    mean: what the extender believes. evidence: what is left of the recorded evidence. prior: what would be believed
    without it.
    """

    record: RewardRecord
    mean: float
    evidence: float
    prior: float
    age_s: float


@dataclass(frozen=True, slots=True)
class NotedOutcome:
    """An outcome as an agent noted it; value is 0 worst .. 1 best."""

    time_s: float
    pod: str
    container: str
    stage: str
    run: int
    value: float
    reason: str


def pairs(records: Iterable[RewardRecord], belief: Belief, now_s: float) -> list[Pair]:
    """Every record with what is believed of its pair, by pod type and node."""
    table = RewardTable(belief)
    table.replace(records)
    table.refresh(now_s)
    found = []
    for record in sorted(table.rows(), key=lambda record: (record.pod_type, record.node)):
        beliefs = table.read(record.pod_type, table.columns([record.node]), now_s=now_s)
        mean, evidence, prior = (float(values[0]) for values in beliefs)
        found.append(Pair(record, mean, evidence, prior, age_s=max(now_s - record.time_s, 0.0)))
    return found


def noted(record: RewardRecord, name: str) -> list[NotedOutcome]:
    """The outcomes under `recent` or `bad`, oldest first; what cannot be read of them is left out."""
    return [found for item in outcomes_of(record, name) if (found := _noted(item)) is not None]


def typical_s(record: RewardRecord, name: str) -> float | None:
    """The median of the seconds under `startup_s` or `duration_s`; None where there are none."""
    samples = samples_of(record, name)
    return median(samples) if samples else None


def emptied(record: RewardRecord, now_s: float) -> RewardRecord | None:
    """The record after a reset; None where no agent wrote it, and nothing has to stay.

    Which runs were counted has to: an agent that forgets it counts today's failures again. The mean is the one that
    kubeRL's rule starts from; without evidence, no other rule looks at it.
    """
    if "learner" not in record.extra:
        return None
    counted = {name: record.extra[name] for name in ("learner", "seen", "noted") if name in record.extra}
    return RewardRecord(record.node, record.pod_type, EWMA_FIRST_MEAN, 0.0, now_s, counted)


def restored(exported: RewardRecord, held: RewardRecord | None, *, overwrite: bool) -> RewardRecord:
    """The record after an import: the newer of the two, or the exported one.

    Which runs were counted is known best by the record that is there: its agent may have written since the export.
    """
    if held is None:
        return exported
    if held.time_s >= exported.time_s and not overwrite:
        return held
    return replace(exported, extra=held.extra)


def as_json(pair: Pair) -> dict[str, Any]:
    """One row of `show --json`."""
    record = pair.record
    return {
        "podType": record.pod_type,
        "node": record.node,
        "mean": round(pair.mean, 6),
        "evidence": round(pair.evidence, 6),
        "prior": round(pair.prior, 6),
        "ageS": round(pair.age_s, 3),
        "recordedMean": record.mean,
        "recordedEvidence": record.evidence,
        "time": format_time(record.time_s),
    }


def explained_json(pair: Pair) -> dict[str, Any]:
    """What `explain --json` prints."""
    extra = pair.record.extra
    return {
        **as_json(pair),
        "count": extra.get("count"),
        "learner": extra.get("learner"),
        "edited": extra.get("edited"),
        "startupMedianS": typical_s(pair.record, "startup_s"),
        "durationMedianS": typical_s(pair.record, "duration_s"),
        **{name: [_noted_json(each) for each in noted(pair.record, name)] for name in ("recent", "bad")},
    }


def _noted(item: Mapping[str, Any]) -> NotedOutcome | None:
    try:
        time_s = parse_time(item.get("time"))
    except InvalidRecord:
        return None
    pod, container, stage, reason = (str(item.get(name, "")) for name in ("pod", "container", "stage", "reason"))
    run = item.get("run")
    return NotedOutcome(time_s, pod, container, stage, run if isinstance(run, int) else 0, float(item["value"]), reason)


def _noted_json(each: NotedOutcome) -> dict[str, Any]:
    return {
        "time": format_time(each.time_s),
        "pod": each.pod,
        "container": each.container,
        "stage": each.stage,
        "run": each.run,
        "value": each.value,
        "reason": each.reason,
    }
