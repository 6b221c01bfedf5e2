"""What is believed of one (pod type, node) pair, and how it is written down in a store.

Key: `<prefix>/v1/<node>/<pod type>`, node first, so that one range is one writer. Value: JSON that a person can read.
Nothing here decays, averages or stores a belief.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from kubesteer.model.errors import InvalidRecord

VERSION = 1
LATEST_TIME_S = 253_402_300_799
"""The last second that four digits of a year can hold."""

OTHER_TYPES = "*"
"""The pod type that rarely used types of a node are folded into. No label and no name can be it."""

EDITED = "edited"
"""Field of a record: when somebody last set or reset it by hand. Agents keep it."""

_FIELDS = ("v", "mean", "evidence", "time")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
_PLAIN = re.compile(rb"[A-Za-z0-9_.~-]+")
"""A name that is its own escaped form, as nearly all are."""
_SHOWN_CHARACTERS = 80


class KeyRange(NamedTuple):
    """Keys from `start` up to, and without, `end`."""

    start: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class RewardRecord:
    """The belief about one type's pods on one node at `time_s`. Raises InvalidRecord when a field breaks its rule."""

    node: str
    pod_type: str
    mean: float
    """0 worst .. 1 best."""
    evidence: float
    """How many runs' worth this mean is, at `time_s`; 0 or more."""
    time_s: float
    """Unix time of the last update; stored to the microsecond."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields of the stored value that this version does not know; they are kept."""

    def __post_init__(self) -> None:
        _require_name("node", self.node)
        _require_name("podType", self.pod_type)
        _require_number("mean", self.mean, highest=1.0, rule="a number from 0 to 1")
        _require_number("evidence", self.evidence, highest=math.inf, rule="a finite number of 0 or more")
        _require_number("time", self.time_s, highest=LATEST_TIME_S, rule="a time from 1970 to 9999")


def encode_key(prefix: str, node: str, pod_type: str) -> bytes:
    """The key of a pair. Names are percent-escaped, so no name reaches outside its own key."""
    return node_range(prefix, node).start + escaped_name("podType", pod_type)


def decode_key(prefix: str, key: bytes) -> tuple[str, str]:
    """Node and pod type of a key; raises InvalidRecord for a key that `encode_key` would not have written."""
    start = table_range(prefix).start
    node, slash, pod_type = key.removeprefix(start).partition(b"/")
    if key.startswith(start) and slash:
        if _PLAIN.fullmatch(node) and _PLAIN.fullmatch(pod_type):
            return node.decode(), pod_type.decode()
        names = unescaped_name(node), unescaped_name(pod_type)
        if all(names) and encode_key(prefix, *names) == key:
            return names
    raise InvalidRecord(f"key {shown_key(key)} is not {shown_key(start)}<node>/<pod type>, percent-escaped")


def table_range(prefix: str) -> KeyRange:
    """The keys of every node."""
    return below(f"{prefix.rstrip('/')}/v{VERSION}/".encode())


def node_range(prefix: str, node: str) -> KeyRange:
    """The keys of one node: what its agent lists, cleans up, and is granted."""
    return below(table_range(prefix).start + escaped_name("node", node) + b"/")


def encode_value(record: RewardRecord) -> bytes:
    """The record as JSON, unknown fields included; raises InvalidRecord when those cannot be written."""
    clash = [name for name in _FIELDS if name in record.extra]
    if clash:
        raise InvalidRecord(f"extra field {clash[0]!r} has the name of a known one; rename it")
    known = {"v": VERSION, "mean": record.mean, "evidence": record.evidence, "time": format_time(record.time_s)}
    return _to_json({**known, **record.extra}).encode()


def decode_record(prefix: str, key: bytes, value: bytes) -> RewardRecord:
    """The record that a key and its value hold; raises InvalidRecord naming the key, field, value and rule."""
    node, pod_type = decode_key(prefix, key)
    try:
        return _record(node, pod_type, *_from_json(value))
    except InvalidRecord as exc:
        raise InvalidRecord(f"key {shown_key(key)}: {exc}") from exc


def format_time(time_s: float) -> str:
    """RFC 3339 in UTC, to the microsecond, with no more digits than needed."""
    text = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text[:19].rjust(19, "0") + text[19:].rstrip("0").rstrip(".") + "Z"


def parse_time(text: object) -> float:
    """Unix time of an RFC 3339 text; raises InvalidRecord."""
    if isinstance(text, str) and _RFC3339.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).timestamp()
        except (ValueError, OverflowError):
            pass
    raise InvalidRecord(f"time {shown(text)} is not RFC 3339; write it like 2026-11-22T22:41:07Z")


def shown(value: object) -> str:
    """A value as an error message may quote it: never long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def shown_key(key: bytes) -> str:
    """A key as an error message may quote it."""
    return shown(key.decode("utf-8", "backslashreplace"))


def _record(node: str, pod_type: str, fields: dict[str, Any], odd: list[str]) -> RewardRecord:
    """`odd`: the numbers among the fields that JSON cannot hold; only then are the unknown fields looked through."""
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise InvalidRecord(f"{missing[0]} is missing; a value holds {', '.join(_FIELDS)}")
    if type(fields["v"]) is not int or fields["v"] != VERSION:
        raise InvalidRecord(f"v {shown(fields['v'])} is not a version that can be read; write {VERSION}")
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    if odd:
        _to_json(extra)
    mean, evidence = _number("mean", fields["mean"]), _number("evidence", fields["evidence"])
    return RewardRecord(node, pod_type, mean, evidence, parse_time(fields["time"]), extra)


def _from_json(value: bytes) -> tuple[dict[str, Any], list[str]]:
    """The fields, and what Python reads as a number that is not finite: NaN, Infinity, 1e999."""
    odd: list[str] = []

    def number(text: str) -> float:
        read = float(text)
        if not math.isfinite(read):
            odd.append(text)
        return read

    try:
        fields = json.loads(value, parse_float=number, parse_constant=number)
    except (ValueError, RecursionError) as exc:
        raise InvalidRecord(f"value {shown(value)} is not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidRecord(f"value {shown(value)} is not a JSON object")
    return fields, odd


def _to_json(fields: Mapping[str, Any]) -> str:
    try:
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as exc:
        raise InvalidRecord(f"extra fields {shown(dict(fields))} are not plain JSON: {exc}") from exc


def _number(name: str, value: object) -> float:
    """The JSON number as a float; JSON's whole numbers may be too long for one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    raise InvalidRecord(f"{name} {shown(value)} is not a number; write it without quotes")


def _require_number(name: str, value: float, *, highest: float, rule: str) -> None:
    if not (isinstance(value, int | float) and 0 <= value <= highest and math.isfinite(value)):
        raise InvalidRecord(f"{name} {shown(value)} is not {rule}")


def _require_name(name: str, value: str) -> None:
    if not (isinstance(value, str) and value):
        raise InvalidRecord(f"{name} {shown(value)} is not a name; write one character or more")


def escaped_name(field_name: str, name: str) -> bytes:
    """A name as a part of a key; raises InvalidRecord for what is no name."""
    _require_name(field_name, name)
    return quote(name, safe="", errors="surrogatepass").encode()


def unescaped_name(name: bytes) -> str:
    """The name that a part of a key stands for; empty where it stands for none."""
    try:
        return unquote(name.decode("ascii"), errors="surrogatepass")
    except UnicodeDecodeError:
        return ""


def below(start: bytes) -> KeyRange:
    """Every key that begins with `start`, which ends in a slash; the byte after a slash is 0."""
    return KeyRange(start, start[:-1] + b"0")
