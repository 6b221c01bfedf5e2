"""JSON and YAML text as dictionaries, lists, str, int, float, bool and None: YAML's core schema, as JSON has it.

No date, no `yes` for true, `=` and `<<` are text (`<<` merges where a mapping uses it so). Nothing here recurses, so no
text ends the process; depth and what aliases unfold to are bounded. The meaning of a document is decided elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from kubesteer.model.errors import InvalidInput
from kubesteer.model.quantity import shown

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_DEEP = 100
_MOST_UNFOLDED = 1_000_000
"""Values that aliases may add to those that are written: 100,000 small objects."""
_WHOLE_ENDS = (b"\n", b"\r", b"\n\x00", b"}", b"]")
"""Ends of a last line that was written whole."""
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset({None, "!", *(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))})
_WORDS = {"": None, "~": None} | {
    form: value
    for name, value in (("null", None), ("true", True), ("false", False))
    for form in (name, name.capitalize(), name.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_GAP = re.compile(r"[ \t\r\n]*")
_MOST_DIGITS = 4300
"""More are no number in Python."""


def documents(text: bytes) -> list[Any]:
    """Every document of the text. Raises InvalidInput, with line and column, also for what was written in part.

    Seen of a half-written text: brackets that do not close, a last line without an end, a key without its value at
    the end. YAML that was cut between two whole lines may be whole YAML.
    """
    if in_brackets(text):
        try:
            return _json_documents(text)
        except (ValueError, RecursionError):
            pass  # YAML in braces, or broken JSON, of which YAML's reader tells the line
    try:
        found = list(_yaml_documents(text))
    except yaml.MarkedYAMLError as exc:
        raise InvalidInput(f"{_place(exc.problem_mark or exc.context_mark)}{exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise InvalidInput(f"not YAML: {exc}") from exc
    if found and not text.endswith(_WHOLE_ENDS):
        raise InvalidInput("the last line has no end: was it written whole? End it with a newline")
    return found


def in_brackets(text: bytes) -> bool:
    """JSON, or YAML written like it: a part of it is never taken for the whole."""
    return text.lstrip()[:1] in {b"{", b"["}


def plain(text: str) -> Any:
    """What unquoted text stands for: a word such as true, a number, or itself."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MOST_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _json_documents(text: bytes) -> list[Any]:
    try:
        return [msgspec.json.decode(text)]
    except msgspec.DecodeError:
        pass
    found, rest, end = [], text.decode(), 0
    while (start := _gap_end(rest, end)) < len(rest):
        _, end = json.JSONDecoder().raw_decode(rest, start)
        found.append(msgspec.json.decode(rest[start:end]))
    return found


def _gap_end(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return at if gap is None else gap.end()


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come. began: how many values there were before it."""

    value: Any
    anchor: str | None
    began: int
    is_flow: bool
    key: str | None = None
    merges: bool = False
    merged: list[dict[str, Any]] = field(default_factory=list)


def _yaml_documents(text: bytes) -> Iterator[Any]:
    reading = _Reading()
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentEndEvent):
            yield reading.root
            reading.anchors.clear()
        else:
            reading.take(event)
    if reading.dangling is not None:
        raise _fault(reading.dangling, "the text ends before a value: was it written whole? Write null for none")


class _Reading:
    """Builds values from YAML's events."""

    def __init__(self) -> None:
        self.root: Any = None
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.dangling: Any = None
        self._open: list[_Open] = []
        self._made = 0
        self._unfolded = 0

    def take(self, event: Any) -> None:
        """One event; raises InvalidInput."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)

    def _scalar(self, event: Any) -> None:
        is_plain = event.implicit[0]
        self._made += 1
        is_open = is_plain and not event.value and not (self._open and self._open[-1].is_flow)
        self.dangling = event.start_mark if is_open else None
        if event.tag is not None:
            _know_tag(event)
        if self._wants_key():
            value = event.value
        else:
            value = plain(event.value) if is_plain or event.tag not in {None, "!", f"{_TAG}str"} else event.value
        self._put(value, event, merges=is_plain and event.value == "<<")
        if event.anchor is not None:
            self.anchors[event.anchor] = value, 1

    def _alias(self, event: Any) -> None:
        self.dangling = None
        if event.anchor not in self.anchors:
            raise _fault(event.start_mark, f"alias {shown(event.anchor)} names nothing that is whole before it")
        value, size = self.anchors[event.anchor]
        self._made += size
        self._unfolded += size
        if self._unfolded > _MOST_UNFOLDED:
            raise _fault(event.start_mark, f"aliases unfold to more than {_MOST_UNFOLDED} values; write them out")
        self._put(value, event)

    def _begin(self, event: Any) -> None:
        self.dangling = None
        if event.tag is not None:
            _know_tag(event)
        if len(self._open) >= _MOST_DEEP:
            raise _fault(event.start_mark, f"it is nested too deeply; at most {_MOST_DEEP} levels are read")
        if self._wants_key():
            raise _fault(event.start_mark, "a key is a list or a mapping; write text")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(value, event.anchor, self._made, bool(event.flow_style)))
        self._made += 1

    def _end(self, event: Any) -> None:
        ended = self._open.pop()
        for merged in ended.merged:
            for key, value in merged.items():
                ended.value.setdefault(key, value)
        if ended.anchor is not None:
            self.anchors[ended.anchor] = ended.value, self._made - ended.began
        self._put(ended.value, event)

    def _wants_key(self) -> bool:
        return bool(self._open) and type(self._open[-1].value) is dict and self._open[-1].key is None

    def _put(self, value: Any, event: Any, *, merges: bool = False) -> None:
        if not self._open:
            self.root = value
            return
        within = self._open[-1]
        if type(within.value) is list:
            within.value.append(value)
        elif within.key is None:
            if not isinstance(value, str):
                raise _fault(event.start_mark, "a key is no text")
            if value in within.value:
                raise _fault(
                    event.start_mark, f"key {shown(value)} is there twice; the file is two, or one is too many"
                )
            within.key, within.merges = value, merges
        else:
            several = value if isinstance(value, list) and value else [value]
            if within.merges and all(isinstance(each, dict) for each in several):
                within.merged += several
            else:
                within.value[within.key] = value
            within.key = None


def _know_tag(event: Any) -> None:
    if event.tag not in _TAGS:
        raise _fault(event.start_mark, f"tag {shown(event.tag)} is not read; leave it out")


def _fault(mark: Any, what: str) -> InvalidInput:
    return InvalidInput(f"{_place(mark)}{what}")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
