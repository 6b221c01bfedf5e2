"""Settings from a YAML file and the environment, and their reference as Markdown."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kubesteer.clients.settings.given import given
from kubesteer.clients.settings.structs import choices_of, converted, known_in, parts_of, types_of
from monitor_agent.settings import Group, Settings

PREFIX = "KUBESTEER_AGENT_"
_GROUPS: Mapping[str, type[Group]] = types_of(Settings)
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from a YAML file (none: defaults) and the environment over it.

    Raises InvalidSettings that names each bad setting, where it stands, its value and its rule.
    """
    return converted(given(path, known_in(Settings), environ, prefix=PREFIX), Settings)


def reference() -> str:
    """All settings as Markdown: name, default, range, meaning."""
    lines = [
        "# Settings of the monitor agent",
        "",
        "Printed by `python -m monitor_agent settings`. A YAML file has them by group; environment variables come over",
        "it.",
    ]
    for name, group in _GROUPS.items():
        lines += ["", f"## {name}", "", group.__doc__ or "", "", *_table(group)]
    direction = typing.get_args(typing.get_args(types_of(_GROUPS["network"])["directions"])[0])[0]
    lines += ["", "One of `network.directions`:", "", *_table(direction), "", "Default:", "", "```yaml"]
    defaults = msgspec.to_builtins(Settings().network.directions)
    lines += [yaml.safe_dump({"network": {"directions": defaults}}, sort_keys=False).rstrip(), "```"]
    lines += [
        "",
        f"As a variable: `{PREFIX}<GROUP>__<NAME>`, for example `{PREFIX}OPS__PORT=9000`;",
        "a text as it stands, a list as `a,b` or as JSON, all else as YAML. A whole group is JSON:",
        f"`{PREFIX}OPS='{{\"port\": 9000}}'`.",
    ]
    return "\n".join([*lines, ""])


def _table(group: type[Group]) -> Iterator[str]:
    yield "| name | default | range | meaning |"
    yield "|---|---|---|---|"
    for each in msgspec.structs.fields(group):
        meaning = next(meta.description for meta in _metas(each.type) if meta.description)
        yield f"| `{each.name}` | {_default(each)} | {_rules(each.type)} | {meaning} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be given"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value in (None, "", {}, []):
        return "none"
    if isinstance(value, list) and isinstance(value[0], msgspec.Struct):
        return "see below"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _rules(of: Any) -> str:
    """Bounds or choices of a setting, for people."""
    bounds = [
        f"{sign} {value:g}"
        for meta in _metas(of)
        for key, sign in _SIGNS.items()
        if (value := getattr(meta, key)) is not None
    ]
    choices = [f"`{choice}`" for choice in choices_of(of)]
    return ", ".join(bounds) or " ".join(choices)


def _metas(of: Any) -> Iterator[msgspec.Meta]:
    yield from (meta for meta in getattr(of, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    for part in parts_of(of):
        yield from _metas(part)
