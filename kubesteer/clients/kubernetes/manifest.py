"""Nodes and pods out of YAML or JSON text, as `kubectl get nodes,pods -A -o yaml` prints them.

Text comes in, summaries come out. Text that is no list of objects is an error; an object that cannot be used is left
out and named. `python -m` of it is the process that reads a large cluster file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubesteer.clients.file_reading import answer
from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import Node, Pod
from kubesteer.clients.plain_yaml import documents, in_brackets
from kubesteer.model.cluster import NodeSummary, PodSummary, summarise_node, summarise_pod
from kubesteer.model.errors import InvalidInput
from kubesteer.model.network import NetworkResource
from kubesteer.model.quantity import shown

_LISTS = {"List": "", "NodeList": "Node", "PodList": "Pod"}
"""Kinds of list, and the kind of their items where these name none."""
_LONGEST_NAME = 253
"""Characters that the API server takes."""
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123, as the API server checks names of nodes and pods."""
_MOST_PRIORITY = (1 << 31) - 1
_NEEDED = {
    "Node": (("metadata", "name"), ("status", "allocatable", "capacity")),
    "Pod": (("metadata", "name"), ("spec", "containers")),
}
"""What every object of a cluster has: a part, and fields of it of which one is enough."""


@dataclass(slots=True)
class Manifest:
    """What a text holds: nodes by name, pods that have not ended by namespace/name, and what is wrong with the rest."""

    nodes: dict[str, NodeSummary] = field(default_factory=dict)
    pods: dict[str, PodSummary] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def read_manifest(text: bytes, network: Sequence[NetworkResource]) -> Manifest:
    """Nodes and pods of the text; objects of other kinds are passed over.

    Raises InvalidInput that names the line, or the document and what is wrong with it.
    """
    reading = _Reading(network)
    try:
        for kind, value in _objects(documents(text)):
            if kind in _NEEDED:
                reading.take(kind, value)
    except RecursionError as exc:
        raise InvalidInput("it is nested too deeply") from exc
    if not in_brackets(text) and (missing := _missing(*reading.last)):
        raise InvalidInput(f"the last object, a {reading.last[0]}, has no {missing}: was the file written whole?")
    return reading.result()


class _Reading:
    """Takes objects one by one."""

    def __init__(self, network: Sequence[NetworkResource]) -> None:
        self.last: tuple[str, Any] = ("", None)
        self._network = network
        self._manifest = Manifest()
        self._seen: set[tuple[str, str]] = set()
        self._names: dict[str, str] = {}

    def take(self, kind: str, value: Any) -> None:
        """What cannot be used becomes a fault."""
        self.last = kind, value
        try:
            name = self._node(value) if kind == "Node" else self._pod(value)
        except (ValueError, InvalidInput) as exc:
            why = told(exc, value) if isinstance(exc, msgspec.ValidationError) else exc
            self._manifest.faults.append(f"{kind} {_name(value)}: {why}; it is not counted")
            return
        if not name.rpartition("/")[2]:
            self._manifest.faults.append(f"{kind}: metadata.name is missing; write one")
        elif (kind, name) in self._seen:
            self._manifest.faults.append(f"{kind} {name}: there more than once; the last one counts")
        self._seen.add((kind, name))

    def result(self) -> Manifest:
        """All that was taken."""
        manifest = self._manifest
        manifest.nodes.pop("", None)
        manifest.pods = {name: pod for name, pod in manifest.pods.items() if pod.name and not pod.terminal}
        return manifest

    def _node(self, value: Any) -> str:
        node = msgspec.convert(value, Node)
        _require_names({"metadata.name": node.metadata.name})
        if node.status is not None and node.status.allocatable is None:
            node.status.allocatable = node.status.capacity  # as the API server does
        summary = self._manifest.nodes[node.metadata.name] = summarise_node(node, self._network)
        if summary.fault is not None:
            self._manifest.faults.append(f"Node {summary.name}: {summary.fault}; it takes no pod")
        return summary.name

    def _pod(self, value: Any) -> str:
        pod = msgspec.convert(value, Pod)
        metadata = pod.metadata
        _require_names({"metadata.name": metadata.name, "metadata.namespace": metadata.namespace})
        summary = summarise_pod(pod, self._network)
        _require_names({"spec.nodeName": summary.node, "status.nominatedNodeName": summary.nominated_node})
        _require_lengths({"metadata.uid": metadata.uid, "its type, of a label or an owner": summary.pod_type})
        if abs(summary.priority) > _MOST_PRIORITY:
            raise InvalidInput(f"spec.priority {summary.priority} is beyond 32 bits")
        name = f"{summary.namespace}/{summary.name}"
        other = self._names.setdefault(summary.uid, name)
        if other != name:
            self._manifest.pods.pop(other, None)
            self._names[summary.uid] = name
            self._manifest.faults.append(
                f"Pod {name}: metadata.uid {shown(summary.uid)} is that of Pod {other} too; the last one counts"
            )
        self._manifest.pods[name] = summary
        return name


def write_manifest(manifest: Manifest) -> bytes:
    """As JSON, one line each: how many of what and the faults, then every node, then every pod."""
    head = {"nodes": len(manifest.nodes), "pods": len(manifest.pods), "faults": manifest.faults}
    return msgspec.json.Encoder().encode_lines([head, *manifest.nodes.values(), *manifest.pods.values()])


def _require_lengths(names: dict[str, str | None]) -> None:
    for what, name in names.items():
        if name and len(name) > _LONGEST_NAME:
            raise InvalidInput(f"{what} {shown(name)} has {len(name)} characters; write {_LONGEST_NAME} at most")


def _require_names(names: dict[str, str | None]) -> None:
    _require_lengths(names)
    for what, name in names.items():
        if name and not _SUBDOMAIN.fullmatch(name):
            raise InvalidInput(
                f"{what} {shown(name)} is no name that the API server takes; write lower case letters, digits, - and ."
            )


def _missing(kind: str, value: Any) -> str | None:
    """What an object of a cluster has and this one has not."""
    for part, *fields in _NEEDED.get(kind, ()):
        held = value.get(part)
        if not isinstance(held, dict) or not any(held.get(one) for one in fields):
            return f"{part}.{' or '.join(fields)}"
    return None


def _objects(documents: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """(kind, object) of every object, lists unfolded."""
    empty = True
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        empty = False
        yield from unfolded(document, f"document {number}", "")
    if empty:
        raise InvalidInput("there is nothing in it; write a List of nodes and pods, an empty one if need be")


def unfolded(value: Any, where: str, default_kind: str) -> Iterator[tuple[str, Any]]:
    """(kind, object) of every object in it, lists unfolded; raises InvalidInput.

    where: its place, for that. default_kind: of what names none.
    """
    kind = value.get("kind", default_kind) if isinstance(value, dict) else None
    if not kind or not isinstance(kind, str):
        raise InvalidInput(f"{where} has no kind but is {shown(value)}; write a List, Node or Pod")
    if kind not in _LISTS:
        yield kind, value
        return
    items = value.get("items") or []
    if not isinstance(items, list):
        raise InvalidInput(f"{where}: items is {shown(items)}; write a list of objects")
    for number, item in enumerate(items, start=1):
        yield from unfolded(item, f"{where}, item {number}", _LISTS[kind])


def _name(value: Any) -> str:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return "without metadata"
    return shown("/".join(str(metadata[key]) for key in ("namespace", "name") if key in metadata))


if __name__ == "__main__":
    _network = msgspec.json.decode(sys.argv[1], type=list[NetworkResource])
    answer(lambda text: write_manifest(read_manifest(text, _network)))
