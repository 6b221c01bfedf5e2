"""Scheduler configurations in ConfigMaps, as kubectl and Helm print them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.reading import Reading, read
from kubesteer.schedulerconfig.refusals import KIND, POLICY


def wrapped(documents: Sequence[Any]) -> list[tuple[str, Reading]]:
    """Each configuration in a ConfigMap of these documents, and its path; none where the first is one by itself."""
    if not documents or _is_configuration(documents[0]):
        return []
    maps = [each for each in _objects(documents) if each.get("kind") == "ConfigMap"]
    found = [(_name(each), key, part) for each in maps for key, part in _parts(each)]
    return [(f"data[{key}]" if len(found) == 1 else f"{name}.data[{key}]", part) for name, key, part in found]


def _objects(documents: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Those of Lists too."""
    for each in documents:
        if isinstance(each, Mapping):
            yield each
            items = each.get("items")
            yield from _objects(items if isinstance(items, list) else [])


def _parts(config_map: Mapping[str, Any]) -> Iterator[tuple[str, Reading]]:
    data = config_map.get("data")
    for key, text in data.items() if isinstance(data, Mapping) else ():
        with suppress(InvalidInput):
            if isinstance(text, str) and _is_configuration((part := read(text)).document):
                yield key, part


def _is_configuration(document: Any) -> bool:
    return isinstance(document, Mapping) and document.get("kind") in (KIND, POLICY)


def _name(config_map: Mapping[str, Any]) -> str:
    metadata = config_map.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
