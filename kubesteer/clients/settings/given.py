"""What a file and the environment give: known settings by group, and the file's line or the variable of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubesteer.clients.settings.hints import hint
from kubesteer.clients.settings.strict_yaml import Document, Place, parsed
from kubesteer.clients.settings.variables import Known, settings_in
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.quantity import shown


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """Settings as they were written. faults: sentences about what is no setting, and is left out of groups."""

    groups: Mapping[str, Mapping[str, Any]]
    faults: Sequence[str] = ()
    file: Path | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)
    variables: Mapping[Place, str] = field(default_factory=dict)

    def where(self, place: Sequence[str | int]) -> str:
        """What gives this part of the settings: the file with its line, or variables. Then ": "; or empty."""
        at = tuple(str(step) for step in place)
        if at[:2] in self.variables:
            return f"{self.variables[at[:2]]}: "
        sources = dict.fromkeys(name for given, name in self.variables.items() if given[: len(at)] == at)
        if self.file is not None:
            known = next((at[:n] for n in range(len(at), 0, -1) if at[:n] in self.lines), None)
            if known is not None:
                sources = {f"{self.file}:{self.lines[known]}": None, **sources}
            elif not at:
                sources = {str(self.file): None, **sources}
        return f"{', '.join(sources)}: " if sources else ""


def given(
    path: Path | None,
    known: Known,
    environ: Mapping[str, str] | None = None,
    *,
    prefix: str = "",
    others: tuple[str, ...] = (),
) -> GivenSettings:
    """What a YAML file (none: nothing) gives, and variables with the prefix over it.

    Raises InvalidSettings where the file cannot be read at all.
    """
    document = _read(path) if path is not None else Document({}, {})
    faults: list[str] = []
    groups: dict[str, dict[str, Any]] = {}
    where = GivenSettings({}, file=path, lines=document.lines).where
    for group, settings in document.content.items():
        at = f"{where((group,))}{group}: "
        if group not in known:
            faults.append(f"{at}there is no such settings group, for {shown(settings)}; {hint(str(group), known)}")
        elif settings is not None and not isinstance(settings, dict):
            faults.append(f"{at}{shown(settings)} is no group; write its settings below it, as name: value")
        else:
            groups[group] = {name: value for name, value in (settings or {}).items() if name in known[group]}
            faults += [
                f"{where((group, name))}{group}.{name}: there is no such setting, for {shown(value)}; "
                f"{hint(str(name), known[group])}"
                for name, value in (settings or {}).items()
                if name not in known[group]
            ]
    variables: dict[Place, str] = {}
    for each in settings_in(environ or {}, known, prefix, others, faults):
        groups.setdefault(each.group, {})[each.setting] = each.value
        variables[each.group, each.setting] = each.name
    return GivenSettings(groups, faults, path, document.lines, variables)


def _read(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettings(f"settings file {path}: {exc}") from exc
    document = parsed(text, str(path))
    if document.content is None:
        return Document({}, {})
    if not isinstance(document.content, dict):
        raise InvalidSettings(f"settings file {path}: write groups of settings, each with its settings below it")
    return document
