"""The text of a KubeSchedulerConfiguration: read as the scheduler reads it, and written for people. Opens no file.

Text that begins with { is JSON for the scheduler, everything else YAML; of YAML it reads the first document only.
What a word of YAML means is in scalars.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.findings import Finding, error, warning
from kubesteer.schedulerconfig.scalars import key_text, scalar

PLAIN = "plain"
"""The tag of a word without quotes and without a tag of its own."""
_MERGE = "<<"
_SHORT = {"name", "weight", "ignoredByScheduler"}


class _Loader(yaml.CSafeLoader):
    """libyaml, of which the scheduler's own YAML reader is a port; it leaves to scalars.py what a plain word means."""

    yaml_implicit_resolvers = {None: [(PLAIN, re.compile("", re.DOTALL))]}  # noqa: RUF012 - PyYAML's class attribute


class _Dumper(yaml.SafeDumper):
    """A line for a plugin or a resource; everything else a line for each field."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or (bool(mapping) and _SHORT.issuperset(mapping)))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it is written, with what is there twice."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as the scheduler reads it.

    document: what it reads; others: the documents behind it, where they can be read.
    findings: what is wrong with the text as such.
    """

    document: Any
    others: list[Any] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read(text: str) -> Reading:
    """The text's documents. Raises InvalidInput for what is no YAML or JSON."""
    findings: list[Finding] = []
    if text.lstrip(" \t\r\n").startswith("{"):
        return Reading(_from_pairs(_json(text), "", findings), findings=findings)
    try:
        nodes = _nodes(text)
        first = next(nodes, None)
        document = None if first is None else _Tree(findings).value(first, "")
        others, rest_is_empty = _rest(nodes)
    except yaml.YAMLError as exc:
        raise InvalidInput(f"no YAML: {exc}") from exc
    if not rest_is_empty:
        reason = "the scheduler reads the first document of a file only"
        findings.append(warning("second-document", "", None, reason, "leave the others out"))
    return Reading(document, others, findings)


def render(document: Mapping[str, Any], head: Sequence[str]) -> str:
    """The file's text, with these lines as comments at its head."""
    body = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False)
    return "".join(f"# {line}\n" for line in head) + body


def _nodes(text: str) -> Iterator[yaml.Node]:
    """The documents one by one: the scheduler does not see a fault behind the first."""
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            yield node
    finally:
        loader.dispose()


def _rest(nodes: Iterator[yaml.Node]) -> tuple[list[Any], bool]:
    """The documents behind the first, and whether there is nothing in them, as behind a --- at the end."""
    others: list[Any] = []
    with suppress(yaml.YAMLError, InvalidInput):
        others = [_Tree([]).value(node, "") for node in nodes]
        return others, all(each is None for each in others)
    return others, False


class _Tree:
    """Values from the nodes of one document."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: str) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value, None if node.tag == PLAIN else node.tag)
        if id(node) in self._open:
            raise InvalidInput(f"no YAML: {path} is an alias of what it stands in")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(each, f"{path}[{number}]") for number, each in enumerate(node.value)]
            return self._object(node, path)
        finally:
            self._open.remove(id(node))

    def _object(self, node: yaml.Node, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value, merged in _fields(node):
            name = key_text(self.value(key, path)) if isinstance(key, yaml.ScalarNode) else None
            line = key.start_mark.line + 1
            if name is None:
                raise InvalidInput(f"no YAML: the key in line {line} is no text")
            at = f"{path}.{name}" if path else name
            if name in made:
                by = f"a merge ({_MERGE}) from line {line}" if merged else f"line {line}"
                reason = f"{by} has this field a second time, and the scheduler refuses that"
                self._findings.append(error("duplicate-key", at, None, reason, "keep one of the two"))
            made[name] = self.value(value, at)
        return made


def _fields(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node, bool]]:
    """Key and value of each field, and whether a merge key brought it."""
    for key, value in node.value:
        if not (isinstance(key, yaml.ScalarNode) and key.tag == PLAIN and key.value == _MERGE):
            yield key, value, False
            continue
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise InvalidInput(f"no YAML: line {key.start_mark.line + 1} merges what is no object")
            yield from ((name, part, True) for name, part, _ in _fields(source))


def _json(text: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number of JSON")

    try:
        return json.loads(text, object_pairs_hook=_Pairs, parse_constant=refuse)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"no JSON, as which the scheduler reads a file that begins with {{: {exc}") from exc


def _from_pairs(value: Any, path: str, findings: list[Finding]) -> Any:
    if isinstance(value, _Pairs):
        made: dict[str, Any] = {}
        for name, part in value:
            at = f"{path}.{name}" if path else name
            if name in made:
                reason = "this field is there a second time, and the scheduler refuses that"
                findings.append(error("duplicate-key", at, None, reason, "keep one of the two"))
            made[name] = _from_pairs(part, at, findings)
        return made
    if isinstance(value, list):
        return [_from_pairs(each, f"{path}[{number}]", findings) for number, each in enumerate(value)]
    return value
