"""YAML with the line of each value, in which no key stands twice: of two, the library would drop one in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kubesteer.model.errors import InvalidSettings

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, and on which line each part of it begins."""

    content: Any
    lines: dict[Place, int]


def parsed(text: str, source: str) -> Document:
    """The text as YAML, and so as JSON. Raises InvalidSettings that names the source and the line."""
    try:
        loader = yaml.SafeLoader(text)
        loader.name = source
        root = loader.get_single_node()
        lines = {} if root is None else dict(_lines(root, (), source, set()))
        return Document(None if root is None else loader.construct_document(root), lines)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        # A date such as 2026-13-01 is a ValueError; brackets without end are a RecursionError.
        raise InvalidSettings(f"{source}: not YAML: {' '.join(str(exc).split())}") from exc


def _lines(node: yaml.Node, place: Place, source: str, seen: set[int]) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if id(node) in seen:  # an alias, maybe of what it stands in
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, (*place, str(number)), source, seen)
    elif isinstance(node, yaml.MappingNode):
        before: dict[object, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if (key.tag, name) in before:
                raise InvalidSettings(
                    f"{source}:{line}: {'.'.join((*place, name))} is given twice, first on line "
                    f"{before[key.tag, name]}; keep one"
                )
            before[key.tag, name] = line
            yield from _lines(value, (*place, name), source, seen)
            yield (*place, name), line
