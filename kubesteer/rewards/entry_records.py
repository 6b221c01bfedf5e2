"""How an agent's entry is written down as a record, and read again.

Values written by others are taken as far as they can be read, and are small; it never stops an agent. A store
takes no record above its limit, so what is too large is left out, and the next write repairs the record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.entry import DURATION, MOST_SAMPLES, STARTUP, Entry, Limits, NewestRun
from kubesteer.rewards.learners import Estimate

_KNOWN = ("learner", "count", "seen", "noted", "recent", "bad", STARTUP, DURATION, "folded")
_MOST_UNKNOWN_BYTES = 4096
"""Of the JSON of all unknown fields; the smallest are kept first. The mark of an edit is one of them."""
_MOST_SHOWN_BYTES = 4096
"""Of the JSON of one outcome that is shown."""
_MOST_SEEN_BYTES = 400_000
"""Of the JSON of what was counted by pod, and of what was noted: MOST_PODS pods of four containers need less."""
UNKNOWN_MEAN = 0.5
"""Written for a type of which no run counted yet; its evidence is 0."""


def to_record(entry: Entry, node: str, pod_type: str, learner: str) -> RewardRecord:
    """A record that later changes of the entry do not touch."""
    mean, evidence, time_s = entry.estimate or Estimate(UNKNOWN_MEAN, 0.0, 0.0)
    seen = {
        uid: {key: [one.run, one.value, one.time_s] for key, one in stages.items()}
        for uid, stages in entry.seen.items()
    }
    extra: dict[str, Any] = {
        **entry.unknown,
        "learner": learner,
        "count": entry.count,
        "seen": seen,
        "noted": {uid: dict(samples) for uid, samples in entry.noted.items()},
        "recent": list(entry.recent),
        "bad": list(entry.bad),
        **{name: list(values) for name, values in entry.samples.items()},
    }
    if entry.folded:
        extra["folded"] = entry.folded
    return RewardRecord(node, pod_type, mean, evidence, time_s, extra)


def to_entry(record: RewardRecord, learner: str, limits: Limits) -> Entry:
    """The entry of a record. The belief of another learner is left out, since it means something else.

    So are unknown fields and outcomes that are larger than an agent or a person writes them.
    """
    extra = record.extra
    is_own = extra.get("learner", learner) == learner and record.evidence > 0
    return Entry(
        estimate=Estimate(record.mean, record.evidence, record.time_s) if is_own else None,
        count=_count(extra.get("count")) if is_own else 0,
        seen={uid: stages for uid, held in _by_pod(extra.get("seen")) if (stages := _stages(held))},
        noted={uid: samples for uid, held in _by_pod(extra.get("noted")) if (samples := _numbers_of(held))},
        recent=_outcomes(extra.get("recent"), limits.recent),
        bad=_outcomes(extra.get("bad"), limits.bad),
        samples={name: _samples(extra.get(name)) for name in (STARTUP, DURATION)},
        folded=_count(extra.get("folded")),
        unknown=_unknown(extra),
    )


def samples_of(record: RewardRecord, name: str) -> list[float]:
    """Start-ups or durations that a record holds, in seconds."""
    return _samples(record.extra.get(name))


def outcomes_of(record: RewardRecord, name: str) -> list[dict[str, Any]]:
    """The newest outcomes that a record holds as `recent`, or as `bad`; some are both."""
    return _outcomes(record.extra.get(name), MOST_SAMPLES)


def _unknown(extra: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in extra.items() if name not in _KNOWN}
    if _bytes(fields) <= _MOST_UNKNOWN_BYTES:
        return fields
    sizes = {name: _bytes({name: value}) for name, value in fields.items()}
    kept: dict[str, Any] = {}
    left: float = _MOST_UNKNOWN_BYTES
    for name in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[name]
        if left < 0:
            break
        kept[name] = fields[name]
    return kept


def _bytes(held: object) -> float:
    """Of its JSON; what has none, or is nested too deeply, is too large."""
    try:
        return len(json.dumps(held, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return math.inf


def _by_pod(held: object) -> list[tuple[str, Any]]:
    return _items(held) if _bytes(held) <= _MOST_SEEN_BYTES else []


def _stages(held: object) -> dict[str, NewestRun]:
    return {key: seen for key, listed in _items(held) if (seen := _seen(listed)) is not None}


def _seen(listed: object) -> NewestRun | None:
    if not (isinstance(listed, list) and len(listed) == 3):
        return None
    run, value, time_s = listed
    if type(run) is not int or run < 0 or not _is_number(time_s):
        return None
    if value is None:
        return NewestRun(run, None, float(time_s))
    return NewestRun(run, float(value), float(time_s)) if _is_number(value) and 0 <= value <= 1 else None


def _items(held: object) -> list[tuple[str, Any]]:
    return list(held.items()) if isinstance(held, Mapping) else []


def _numbers_of(held: object) -> dict[str, float]:
    return {name: float(value) for name, value in _items(held) if name in (STARTUP, DURATION) and _is_number(value)}


def _outcomes(held: object, most: int) -> list[dict[str, Any]]:
    listed = held if isinstance(held, list) else []
    read = [each for each in listed if isinstance(each, dict) and _is_number(each.get("value"))][-most:]
    return [each for each in read if _bytes(each) <= _MOST_SHOWN_BYTES]


def _samples(held: object) -> list[float]:
    listed = held if isinstance(held, list) else []
    return [float(value) for value in listed if _is_number(value) and value >= 0][-MOST_SAMPLES:]


def _count(held: object) -> int:
    return held if type(held) is int and held >= 0 else 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
