"""Changes a rewards file: the list that file.py reads, written whole and put in place at once.

A name that ends in .json stays JSON, every other is YAML. Entries that are not changed stay as they are; comments in
the file do not survive.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kubesteer.clients.file_reading import read_whole
from kubesteer.clients.plain_yaml import plain
from kubesteer.clients.rewards.file import parse_items, records_of
from kubesteer.model.errors import InvalidInput, InvalidRecord, StoreUnavailable
from kubesteer.model.reward import RewardRecord, encode_value, format_time, shown

_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NAMES = ("node", "podType")
_NEW_FILE_MODE = 0o644
_LINE_CHARACTERS = 120

Pair = tuple[str, str]
"""Node and pod type."""
Edit = Callable[[RewardRecord | None], RewardRecord | None]
"""From the record that is there to the one that shall be; None for none."""
Item = dict[str, Any]
"""A record as the file has it."""


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Quotes what plain_yaml.py would not read as text again."""


def _text(dumper: Any, text: str) -> Any:
    quoted = "'" if not isinstance(plain(text), str) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=quoted)


_Dumper.add_representer(str, _text)


class FileWriter:
    """Satisfies RewardWriter. Raises InvalidRecord, and changes nothing, when what the file holds cannot be read."""

    def __init__(self, path: Path, *, unix_clock: Callable[[], float]) -> None:
        self._path = path
        self._unix_clock = unix_clock

    async def put(self, record: RewardRecord, /) -> None:
        """As RewardWriter."""
        await self.edit({(record.node, record.pod_type): lambda _: record}, now_s=record.time_s)

    async def delete(self, node: str, pod_type: str, /) -> None:
        """As RewardWriter."""
        await self.edit({(node, pod_type): lambda _: None}, now_s=self._unix_clock())

    async def edit(self, changes: Mapping[Pair, Edit], /, *, now_s: float) -> set[str]:
        """Changes the records of these pairs in one new version of the file. No node's end is waited for in a file.

        When that was is not marked: a file has no agent that must be told.
        """
        await asyncio.to_thread(self._edit, changes)
        return set()

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """The records of one node, or of all; one without a time gets the present one."""
        held = await asyncio.to_thread(self._read)
        return [record for record, _ in held.values() if node in {None, record.node}]

    async def close(self) -> None:
        """Nothing is held."""

    def _edit(self, changes: Mapping[Pair, Edit]) -> None:
        held = self._read()
        for pair, change in changes.items():
            record = change(held[pair][0] if pair in held else None)
            if record is None:
                held.pop(pair, None)
            else:
                held[pair] = record, as_item(record)
        text = render([item for _, item in held.values()], as_json=self._path.suffix == ".json")
        try:
            _replace(self._path.resolve(), text)
        except OSError as exc:
            raise StoreUnavailable(f"{self._path} cannot be written: {exc.strerror}") from exc

    def _read(self) -> dict[Pair, tuple[RewardRecord, Item]]:
        try:
            written = parse_items(read_whole(self._path))
            records = records_of(written, loaded_at_s=self._unix_clock())
            items = [as_item(record) for record in records]
        except OSError as exc:
            raise StoreUnavailable(f"{self._path} cannot be read: {exc.strerror}") from exc
        except InvalidInput as exc:
            raise InvalidRecord(f"{self._path}: {exc}") from exc
        for item, as_written in zip(items, written, strict=True):
            if "time" not in as_written:
                del item["time"]
        return {(r.node, r.pod_type): (r, item) for r, item in zip(records, items, strict=True)}


def as_item(record: RewardRecord) -> Item:
    """The record as a rewards file has it. Raises InvalidRecord when its extra fields cannot be written."""
    encode_value(record)
    clash = [name for name in _NAMES if name in record.extra]
    if clash:
        raise InvalidRecord(f"extra field {shown(clash[0])} has the name of a known one; rename it")
    return {
        "node": record.node,
        "podType": record.pod_type,
        "mean": record.mean,
        "evidence": record.evidence,
        "time": format_time(record.time_s),
        **record.extra,
    }


def render(items: Iterable[Item], *, as_json: bool) -> str:
    """The text of a rewards file."""
    if as_json:
        return "[\n" + ",\n".join(map(_json, items)) + "\n]\n"
    return str(
        yaml.dump(
            list(items),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=_LINE_CHARACTERS,
        )
    )


def _json(value: Any) -> str:
    """JSON that a YAML reader takes for the same: it wants a point in a number with an exponent."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)}: {_json(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_json, value)) + "]"
        case float():
            digits, exponent, power = repr(value).partition("e")
            return digits if not exponent else f"{digits}{'' if '.' in digits else '.0'}e{power}"
    return json.dumps(value)


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, also after a power cut."""
    mode = path.stat().st_mode if path.exists() else _NEW_FILE_MODE
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            os.fchmod(handle, mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
