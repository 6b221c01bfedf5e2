"""Which environment variables are settings, and what their texts mean. A mistyped one is never passed over in silence.

Kubernetes puts variables for every Service into each container (service links), and names of kubesteer's Services begin
as its settings do: those are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubesteer.clients.settings.hints import hint, near
from kubesteer.clients.settings.strict_yaml import parsed
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown

Kind = Literal["text", "list", "groups", "yaml"]
"""How a variable's text is read: as it stands; as texts, by commas or as JSON; as JSON of groups; as YAML."""
Known = Mapping[str, Mapping[str, Kind]]
"""The settings that there are, by group and name."""
_LINK = re.compile(
    r".*_SERVICE_(HOST|PORT(_\w+)?)|(.*_)?PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|SERVICE_(HOST|PORT)"
)
_LINK_PORT = re.compile(r"(tcp|udp|sctp)://.*")
_GROUPS = 'it as JSON, such as [{"name": "..."}]'
_ALIKE = 0.85
"""So much must a name without `__` be like a setting's to be taken for a mistyped one."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting that a variable gives."""

    name: str
    group: str
    setting: str
    value: Any


def settings_in(
    environ: Mapping[str, str], known: Known, prefix: str, others: tuple[str, ...], faults: list[str]
) -> Iterator[Variable]:
    """What the variables give, whole groups first; what cannot be used is added to faults.

    others: longer prefixes, of other programs.
    """
    mine = [name for name in environ if name.upper().startswith(prefix) and not name.upper().startswith(others)]
    for name in sorted(mine, key=lambda name: ("__" in name, name)):
        try:
            yield from _one(name, environ[name], known, prefix)
        except InvalidSettings as exc:
            faults.append(str(exc))


def _one(name: str, text: str, known: Known, prefix: str) -> Iterator[Variable]:
    rest = name.upper().removeprefix(prefix)
    group, separator, setting = rest.lower().partition("__")
    names = {_plain(f"{g}_{s}"): f"{prefix}{g}__{s}".upper() for g, settings in known.items() for s in settings}
    if separator and setting in known.get(group, {}):
        yield Variable(name, group, setting, _value(name, text, known[group][setting]))
    elif separator:
        fault = f"{group}.{setting}: there is no such setting" if group in known else "there is no such settings group"
        those = [
            f"{g}__{s}".upper() for g, settings in known.items() if g == group or group not in known for s in settings
        ]
        meant = near(rest, those)
        advice = hint(group, known) if meant is None else f"did you mean {prefix}{meant}?"
        raise InvalidSettings(f"{name}: {fault}, for {shown(text)}; {advice}")
    elif group in known:
        for setting, value in _group(name, text, group, known).items():
            yield Variable(name, group, setting, value)
    elif not is_service_link(rest, text):
        meant = near(_plain(rest), [*names, *(g.upper() for g in known)], alike=_ALIKE)
        if meant is not None:
            raise InvalidSettings(
                f"{name}: there is no such setting, for {shown(text)}; did you mean "
                f"{names.get(meant, prefix + meant)}? Else unset it"
            )


def is_service_link(rest: str, text: str) -> bool:
    """Whether Kubernetes makes such a variable of a Service; rest: its name after the prefix."""
    return bool(_LINK.fullmatch(rest) or (rest.endswith("PORT") and _LINK_PORT.fullmatch(text)))


def _plain(name: str) -> str:
    return re.sub("_+", "_", name.upper())


def _group(name: str, text: str, group: str, known: Known) -> Mapping[str, Any]:
    example = json.dumps({next(iter(known[group])): "..."})
    content = _yaml(name, text, f"a group as JSON, such as {example}, or one setting as {name.upper()}__<NAME>")
    if not isinstance(content, dict):
        raise InvalidSettings(
            f"{name}: {group}: {shown(text)} is no group; write it as JSON, such as {example}, or one setting as "
            f"{name.upper()}__<NAME>"
        )
    for setting in content:
        if setting not in known[group]:
            raise InvalidSettings(
                f"{name}: {group}.{setting}: there is no such setting; {hint(str(setting), known[group])}"
            )
    return content


def _value(name: str, text: str, kind: Kind) -> Any:
    if kind == "text":
        return text
    if kind == "yaml":
        return _yaml(name, text, "it as JSON")
    if kind == "groups":
        content = _yaml(name, text, _GROUPS)
        if not isinstance(content, list):
            raise InvalidSettings(f"{name}: {shown(text)} is no list of groups; write {_GROUPS}")
        return content
    text = text.strip()
    # An IPv6 address begins with a bracket too.
    if text.startswith("[") and (text.endswith("]") or '"' in text):
        return _yaml(name, text, 'it with commas, such as a,b, or as JSON, such as ["a", "b"]')
    return [part.strip() for part in text.split(",")] if text else []


def _yaml(name: str, text: str, fix: str) -> Any:
    try:
        return parsed(text, name).content
    except InvalidSettings as exc:
        raise InvalidSettings(f"{exc}; the value is {shown(text)}; write {fix}") from exc
