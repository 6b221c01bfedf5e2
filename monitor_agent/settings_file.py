"""Settings from a YAML file and the environment, and their reference as Markdown."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown
from monitor_agent.settings import Group, Settings

PREFIX = "KUBESTEER_AGENT_"
_GROUPS: Mapping[str, type[Group]] = {each.name: each.type for each in msgspec.structs.fields(Settings)}
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from a YAML file (none: defaults) and the environment over it.

    Raises InvalidSettings that names each bad setting, its value and its rule.
    """
    given = _from_file(path) if path is not None else {}
    faults: list[str] = []
    for variable, group, name, text in _variables(environ):
        if group not in _GROUPS or not name:
            faults.append(f"{variable}: there is no such settings group; one of {', '.join(_GROUPS)}")
            continue
        try:
            given.setdefault(group, {})[name] = _parsed(text, _types(_GROUPS[group]).get(name))
        except yaml.YAMLError as exc:
            faults.append(f"{variable}: {shown(text)} is not YAML: {exc}")
    for group, values in given.items():
        if group not in _GROUPS:
            faults.append(f"{group}: there is no such settings group; one of {', '.join(_GROUPS)}")
        elif not isinstance(values, dict):
            faults.append(f"{group}: {shown(values)} is no group; write its settings below it, as name: value")
        else:
            faults += [fault for name, value in values.items() if (fault := _fault(group, name, value))]
    if faults:
        raise InvalidSettings("\n".join(faults))
    return msgspec.convert(given, Settings)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise InvalidSettings(f"settings file {path}: {exc}") from exc
    if content is None:
        return {}
    if not (isinstance(content, dict) and all(isinstance(name, str) for name in content)):
        raise InvalidSettings(f"settings file {path}: write groups of settings (store:, learning:, ...)")
    return {group: {} if values is None else values for group, values in content.items()}


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for variable, text in environ.items():
        if variable.startswith(PREFIX):
            group, _, name = variable.removeprefix(PREFIX).lower().partition("__")
            yield variable, group, name, text


def _parsed(text: str, of: Any) -> Any:
    """A variable's value: as it stands where a text is wanted (a node may be named 12), else as YAML."""
    try:
        return msgspec.convert(text, of)
    except msgspec.ValidationError:
        return yaml.safe_load(text)


def _fault(group: str, name: str, value: object) -> str:
    """What is wrong with the value of a setting; empty where nothing is."""
    types = _types(_GROUPS[group])
    if name not in types:
        return f"{group}.{name}: there is no such setting; one of {', '.join(types)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{group}.{name}: {shown(value)} is not finite; write a number"
    try:
        msgspec.convert(value, types[name])
    except msgspec.ValidationError as exc:
        choices = " ".join(_choices(types[name]))
        rule, _, place = str(exc).partition(" - at `$")
        place = place.removesuffix("`")
        found = shown(_inside(value, place))
        return f"{group}.{name}{place}: {found} cannot be used: {rule}{choices and f'; one of {choices}'}"
    return ""


def _inside(value: Any, place: str) -> object:
    """The part of a value that stands at a place such as `[0].speed_bps`; all of it where there is none such."""
    for step in re.findall(r"\w+", place):
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (LookupError, TypeError, ValueError):
            break
    return value


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
    direction = typing.get_args(typing.get_args(_types(_GROUPS["network"])["directions"])[0])[0]
    lines += ["", "One of `network.directions`:", "", *_table(direction), "", "Default:", "", "```yaml"]
    defaults = msgspec.to_builtins(Settings().network.directions)
    lines += [yaml.safe_dump({"network": {"directions": defaults}}, sort_keys=False).rstrip(), "```"]
    lines += [
        "",
        f"As a variable: `{PREFIX}<GROUP>__<NAME>`, for example `{PREFIX}OPS__PORT=9000`;",
        "its value is YAML.",
    ]
    return "\n".join([*lines, ""])


def _table(group: type[Group]) -> Iterator[str]:
    yield "| name | default | range | meaning |"
    yield "|---|---|---|---|"
    for each in msgspec.structs.fields(group):
        meaning = next(meta.description for meta in _metas(each.type) if meta.description)
        yield f"| `{each.name}` | {_default(each)} | {_rules(each.type)} | {meaning} |"


def _types(group: Any) -> dict[str, Any]:
    return {each.name: each.type for each in msgspec.structs.fields(group)}


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
    choices = [f"`{choice}`" for choice in _choices(of)]
    return ", ".join(bounds) or " ".join(choices)


def _metas(of: Any) -> Iterator[msgspec.Meta]:
    yield from (meta for meta in getattr(of, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    for part in _parts(of):
        yield from _metas(part)


def _choices(of: Any) -> tuple[str, ...]:
    if typing.get_origin(of) is Literal:
        return typing.get_args(of)
    return tuple(choice for part in _parts(of) for choice in _choices(part))


def _parts(of: Any) -> tuple[Any, ...]:
    if hasattr(of, "__metadata__"):
        return (of.__origin__,)
    return typing.get_args(of) if typing.get_origin(of) not in {Literal, list, dict} else ()
