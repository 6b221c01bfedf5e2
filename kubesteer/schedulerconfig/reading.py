"""The text of a KubeSchedulerConfiguration: read as the scheduler reads it, and written for people. Opens no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.findings import Finding, error, warning

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_SHORT = {"name", "weight", "ignoredByScheduler"}


class _Loader(yaml.SafeLoader):
    """Leaves dates the text that they are for the scheduler."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(yaml.SafeDumper):
    """A line for a plugin or a resource; everything else a line for each field."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        return super().represent_mapping(tag, mapping, flow_style or (bool(mapping) and _SHORT.issuperset(mapping)))


def read(text: str) -> tuple[Any, list[Finding]]:
    """The first document, and what is wrong with the text as such. Raises InvalidInput for what is no YAML or JSON."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.YAMLError as exc:
        raise InvalidInput(f"no YAML: {exc}") from exc
    if not documents:
        return None, []
    findings = list(_twice(nodes[0], ""))
    if len(documents) > 1:
        reason = "the scheduler reads the first document of a file only"
        findings.append(warning("second-document", "", None, reason, "leave the others out"))
    return documents[0], findings


def render(document: Mapping[str, Any], head: Sequence[str]) -> str:
    """The file's text, with these lines as comments at its head."""
    body = yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False)
    return "".join(f"# {line}\n" for line in head) + body


def _twice(node: yaml.Node, path: str) -> Iterator[Finding]:
    """Fields that are there twice, of which PyYAML keeps the last in silence."""
    if isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield from _twice(each, f"{path}[{number}]")
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            at = f"{path}.{name}" if path else name
            if name in seen:
                line = key.start_mark.line + 1
                yield error(
                    "duplicate-key", at, None, f"line {line} has this field a second time", "keep one of the two"
                )
            seen.add(name)
            yield from _twice(value, at)
