"""What a word in a YAML file is for the scheduler: text, number, truth or nothing. Structure is reading.py's.

The scheduler's reader (go-yaml v2) differs from PyYAML: 1e1 is 10, 0o17 is 15, y is true, 1:30 and dates are text.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from kubesteer.model.errors import InvalidInput

_TAGS = "tag:yaml.org,2002:"
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **{spelt: True for word in ("y", "yes", "true", "on") for spelt in (word, word.capitalize(), word.upper())},
    **{spelt: False for word in ("n", "no", "false", "off") for spelt in (word, word.capitalize(), word.upper())},
    **{sign + spelt: math.inf for sign in ("", "+") for spelt in (".inf", ".Inf", ".INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_BASES = {
    16: re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)"),
    2: re.compile(r"([-+]?)0[bB]([01]+)"),
    8: re.compile(r"([-+]?)0[oO]?([0-7]+)"),
    10: re.compile(r"([-+]?)([1-9][0-9]*|0)"),
}
_MOST_INTEGER = 1 << 64
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_INTEGER = 1e21
"""From here on Go writes a whole number with an exponent, which then is no integer."""
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


def scalar(text: str, tag: str | None) -> Any:
    """The value of a word; tag: its own or that of its quotes, None for a plain word. Raises InvalidInput."""
    kind = (tag or "").removeprefix(_TAGS)
    if tag is not None and kind not in _KINDS:
        return _decoded(text) if kind == "binary" else text
    value = _plain(text)
    if kind and (not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool")):
        raise InvalidInput(f"no YAML: {text!r} is no {kind}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"no YAML: {text!r} has no place in JSON, into which the scheduler turns the file")
        return int(value) if value.is_integer() and abs(value) < _LONGEST_INTEGER else value
    return value


def key_text(key: Any) -> str | None:
    """A key as the scheduler names the field; None for null, which is no key."""
    if key is None:
        return None
    return str(key).lower() if isinstance(key, bool) else str(key)


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text
    if text[0] not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    for base, pattern in _BASES.items():
        if found := pattern.fullmatch(digits):
            value = int(found[1] + found[2], base)
            if -_MOST_INTEGER // 2 <= value < _MOST_INTEGER:
                return value
    return float(digits) if _FLOAT.fullmatch(digits) and math.isfinite(float(digits)) else text


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as exc:
        raise InvalidInput(f"no YAML: !!binary {text[:20]!r}: {exc}") from exc
