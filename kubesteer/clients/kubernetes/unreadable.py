"""What can still be told of JSON that no decoder reads: the name of an object, the objects of a page.

No I/O, and nothing here is used for what can be decoded: one odd byte must not hide the objects beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from kubesteer.clients.kubernetes.objects import ListMeta, Metadata

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8 or nested too deep, and for another shape."""

_HEAD_B = 8192
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]|[\s,:]+|true|false|null|[-+.0-9eE]+', re.DOTALL)
_OPENER = {b"}": b"{", b"]": b"["}
_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([A-Z]+)"')
_ITEMS = re.compile(rb'"items"\s*:\s*\[')
_METADATA = re.compile(rb'"metadata"\s*:\s*\{')


def event_type(line: bytes) -> str:
    """The type of a watch's line, empty where it does not begin with one."""
    found = _TYPE.match(line)
    return found[1].decode() if found else ""


def metadata_of(raw: bytes) -> Metadata:
    """An object's name, namespace, uid and version as far as they can be found."""
    start = _METADATA.search(raw)
    head = raw[start.end() : start.end() + _HEAD_B] if start else b""
    return Metadata(
        name=_field(head, b"name") or "",
        namespace=_field(head, b"namespace"),
        uid=_field(head, b"uid"),
        resource_version=_field(head, b"resourceVersion"),
    )


def page_of(body: bytes) -> tuple[ListMeta, Sequence[bytes]] | None:
    """A page's metadata and the bytes of its objects.

    None for what is no whole page, or where nobody can say where its objects end: what it lacks would be deleted.
    """
    start = _ITEMS.search(body)
    if start is None:
        return None
    head = body[: min(start.start(), _HEAD_B)]
    items: list[bytes] = []
    opened, begin, at = [b"["], 0, start.end()
    while opened:
        token = _TOKEN.match(body, at)
        if token is None:
            return None
        at = token.end()
        if token[0] in (b"{", b"["):
            begin = token.start() if len(opened) == 1 else begin
            opened.append(token[0])
        elif token[0] in _OPENER:
            if opened.pop() != _OPENER[token[0]]:
                return None
            if len(opened) == 1:
                items.append(body[begin:at])
    if body[at:].strip() != b"}":
        return None
    return ListMeta(_field(head, b"resourceVersion") or "", _field(head, b"continue") or ""), items


def _field(head: bytes, name: bytes) -> str | None:
    found = re.search(rb'"' + name + rb'"\s*:\s*"((?:[^"\\]|\\.)*)"', head, re.DOTALL)
    return found[1].decode(errors="replace") if found else None
