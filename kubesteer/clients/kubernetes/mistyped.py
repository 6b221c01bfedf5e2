"""Which key of a map has a value of a wrong type: msgspec tells the map alone. Words only, no rule lives here."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from kubesteer.model.quantity import shown

_IN_MAP = re.compile(r"got `(\w+)` - at `(key` in `)?\$(.*?)(\[\.\.\.\])?`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_KINDS = {dict: "object", list: "array", type(None): "null"}
_MOST_BYTES = 1 << 20
"""A text is decoded once more to find the key; of a larger one only the map is told."""


def told(exc: Exception, value: Any) -> str:
    """What is wrong, and at which key. value: what could not be decoded, JSON or the objects of it."""
    text = str(exc)
    match = _IN_MAP.search(text)
    if match is None or not (match[2] or match[4]):
        return text
    try:
        names = _map_at(match[3], value)
        wrong = next(key for key, one in names.items() if _kind(key if match[2] else one) == match[1])
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration):
        return text
    return f"{text[: match.start()]}got `{match[1]}` - at {'key ' if match[2] else ''}`${match[3]}[{shown(wrong)}]`"


def _map_at(path: str, value: Any) -> Any:
    if isinstance(value, (bytes, msgspec.Raw)):
        if len(memoryview(value)) > _MOST_BYTES:
            raise ValueError
        value = msgspec.json.decode(value)
    for name, index in _STEP.findall(path):
        value = value[name] if name else value[int(index)]
    return value


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)
