"""From manifests/ to the chart's templates: the same text, with rules that put values in place of what a user chooses.

Text in, text out, so that comments stay. chart/rules.yaml has the rules; nothing is rendered here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS, CHART = ROOT / "manifests", ROOT / "chart"
HEAD = "{{{{- /* Made from manifests/{folder} by `make chart`: change that, or chart/rules.yaml. */ -}}}}\n"


class RuleError(Exception):
    """A rule that does not fit what manifests/ has now; the text names the file and what was looked for."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A kustomization's folder: which templates it becomes, and under which condition they have anything."""

    path: str
    into: str
    when: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A text of manifests/, what it becomes, and what stands around it there. JSON is data, in which nothing changes."""

    source: str
    made: Path
    text: str
    before: str = ""
    after: str = ""

    @property
    def is_taken_as_it_is(self) -> bool:
        return self.made.suffix == ".json"


@dataclass(frozen=True, slots=True)
class Rules:
    """everywhere: patterns and what takes their place. files: by path, the texts that stand there once."""

    folders: tuple[Folder, ...]
    everywhere: tuple[tuple[re.Pattern[str], str], ...]
    files: Mapping[str, tuple[tuple[str, str], ...]]


def read_rules(path: Path = CHART / "rules.yaml") -> Rules:
    content = yaml.safe_load(path.read_text())
    return Rules(
        tuple(Folder(folder, each["into"], each.get("when")) for folder, each in content["folders"].items()),
        tuple((re.compile(pattern, re.MULTILINE), new) for pattern, new in content["everywhere"].items()),
        {file: tuple(_edit(each) for each in edits) for file, edits in content["files"].items()},
    )


def _edit(rule: Mapping[str, str]) -> tuple[str, str]:
    """put: instead of the text. add: after it. when: the text, or else `otherwise`, under this condition."""
    find = rule["find"]
    if "put" in rule:
        return find, rule["put"]
    if "add" in rule:
        return find, find + rule["add"]
    otherwise = f"{{{{- else }}}}\n{rule['otherwise']}" if "otherwise" in rule else ""
    return find, f"{{{{- if {rule['when']} }}}}\n{find}{otherwise}{{{{- end }}}}\n"


def made_files(rules: Rules, manifests: Path = MANIFESTS) -> dict[Path, str]:
    """Every file that is made, by its path in the chart. Raises RuleError when a rule found nothing to do."""
    found: dict[Path, str] = {}
    pieces = [piece for folder in rules.folders for piece in _pieces(manifests, folder)]
    if unused := rules.files.keys() - {piece.source for piece in pieces}:
        raise RuleError(f"chart/rules.yaml: {sorted(unused)[0]}: no kustomization there has that file")
    for piece in pieces:
        text = piece.text if piece.is_taken_as_it_is else _replaced(piece.source, piece.text, rules)
        found[piece.made] = piece.before + text + piece.after
    return found


def _replaced(path: str, text: str, rules: Rules) -> str:
    for find, put in rules.files.get(path, ()):
        text, times = _pattern(find).subn(lambda found, put=put: _put(found, put), text)  # type: ignore[misc]
        if times != 1:
            raise RuleError(f"chart/rules.yaml: {path}: {times} times {find!r}, not once")
    for pattern, put in rules.everywhere:
        text = pattern.sub(put, text)
    return text


def _pattern(find: str) -> re.Pattern[str]:
    """Whole lines, at whatever depth they stand; what ends in the middle of a line, anywhere."""
    if not find.endswith("\n"):
        return re.compile(re.escape(find))
    lines = "".join(f"(?P=depth){re.escape(line)}\n" for line in find.splitlines())
    return re.compile(f"^{lines.replace('(?P=depth)', '(?P<depth> *)', 1)}", re.MULTILINE)


def _put(found: re.Match[str], put: str) -> str:
    return indent(put, found.groupdict().get("depth", ""))


def _pieces(manifests: Path, folder: Folder) -> Iterator[Piece]:
    """A kustomization's own resources, and what it generates. Its own: other folders have rules of their own."""
    kustomization = yaml.safe_load((manifests / folder.path / "kustomization.yaml").read_text())
    into, head = Path("templates") / folder.into, HEAD.format(folder=folder.path)
    before, after = (f"{head}{{{{- if {folder.when} }}}}\n", "{{- end }}\n") if folder.when else (head, "")
    for name in kustomization.get("resources", ()):
        if (file := manifests / folder.path / name).is_file():
            yield Piece(f"{folder.path}/{name}", into / name, _escaped(file.read_text()), before, after)
    for generator in kustomization.get("configMapGenerator", ()):
        if "behavior" in generator:
            continue  # It changes another folder's, which chart/rules.yaml does there.
        config_map: str = generator["name"]
        for name in generator.get("files", ()):
            source, text = f"{folder.path}/{name}", (manifests / folder.path / name).read_text()
            if name.endswith(".json"):
                yield Piece(source, Path("files") / name, text)
            else:
                define = f'{head}{{{{- define "{config_map}.{name}" -}}}}\n'
                yield Piece(source, into / f"_{Path(name).stem}.tpl", _escaped(text), define, "{{- end }}\n")
        made = into / f"{config_map.removeprefix('kubesteer-')}-configmap.yaml"
        yield Piece(f"{folder.path}/kustomization.yaml", made, _config_map(generator), before, after)


def _config_map(generator: Mapping[str, Any]) -> str:
    """What is YAML in it can be changed by the values of the same name; JSON is taken as it is."""
    name: str = generator["name"]
    data = ""
    for literal in generator.get("literals", ()):
        key, _, value = literal.partition("=")
        data += f"  {key}: |\n    {value}\n"
    for key in generator.get("files", ()):
        values = f".Values.{name.removeprefix('kubesteer-')}.{key.removesuffix('.yaml')}"
        merged = f'include "kubesteer.merged" (list . "{name}.{key}" {values})'
        text = f'.Files.Get "files/{key}"' if key.endswith(".json") else merged
        data += f"  {key}: |\n    {{{{- {text} | nindent 4 }}}}\n"
    labels = indent(yaml.safe_dump(generator["options"]["labels"], sort_keys=False), "    ")
    metadata = f"  name: {name}\n  namespace: {generator['namespace']}\n  labels:\n{labels}"
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n{metadata}data:\n{data}"


def _escaped(text: str) -> str:
    """What looks like a template there (Prometheus has such) stays as it is."""
    return text.replace("{{", '{{ "{{" }}')


def stale_files(made: Mapping[Path, str]) -> list[Path]:
    """What was made once, and has nothing in manifests/ any more. Files of the chart's own are right in templates/."""
    there = [*CHART.glob("templates/*/*"), *CHART.glob("files/*")]
    return sorted(each.relative_to(CHART) for each in there if each.relative_to(CHART) not in made)
