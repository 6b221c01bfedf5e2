"""Nodes and pods out of YAML or JSON text, as `kubectl get nodes,pods -A -o yaml` prints them.

No I/O: text comes in, summaries come out. Text that is no list of objects is an error; an object that cannot be used
is left out and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import Node, Pod
from kubesteer.model.cluster import NodeSummary, PodSummary, summarise_node, summarise_pod
from kubesteer.model.errors import InvalidInput, InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.quantity import shown

_LISTS = {"List": "", "NodeList": "Node", "PodList": "Pod"}
"""Kinds of list, and the kind of their items where these name none."""


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
    try:
        return _summarised(_documents(text), network)
    except RecursionError as exc:
        raise InvalidInput("it is nested too deeply, or an alias holds itself") from exc


def _summarised(documents: Iterable[Any], network: Sequence[NetworkResource]) -> Manifest:
    manifest = Manifest()
    seen: set[tuple[str, str]] = set()
    for kind, value in _objects(documents):
        try:
            if kind == "Node":
                node = msgspec.convert(value, Node)
                name = node.metadata.name
                manifest.nodes[name] = summarise_node(node, network)
            elif kind == "Pod":
                pod = msgspec.convert(value, Pod)
                summary = summarise_pod(pod, network)
                name = f"{summary.namespace}/{summary.name}"
                manifest.pods[name] = summary
            else:
                continue
        except (ValueError, InvalidQuantity) as exc:
            why = told(exc, value) if isinstance(exc, msgspec.ValidationError) else exc
            manifest.faults.append(f"{kind} {_name(value)}: {why}; it is not counted")
            continue
        if not name.rpartition("/")[2]:
            manifest.faults.append(f"{kind}: metadata.name is missing; write one")
        elif (kind, name) in seen:
            manifest.faults.append(f"{kind} {name}: there more than once; the last one counts")
        seen.add((kind, name))
    manifest.nodes.pop("", None)
    manifest.pods = {name: pod for name, pod in manifest.pods.items() if pod.name and not pod.terminal}
    return manifest


def _documents(text: bytes) -> list[Any]:
    if text.lstrip()[:1] == b"{":
        try:
            return [msgspec.json.decode(text)]
        except ValueError:
            pass  # YAML in braces, or broken JSON, of which YAML's reader tells the line
    try:
        return list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidInput(f"{where}{exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise InvalidInput(f"not YAML: {exc}") from exc


def _objects(documents: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """(kind, object) of every object, lists unfolded."""
    empty = True
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        empty = False
        yield from _unfolded(document, f"document {number}", "")
    if empty:
        raise InvalidInput("there is nothing in it; write a List of nodes and pods, an empty one if need be")


def _unfolded(value: Any, where: str, default_kind: str) -> Iterator[tuple[str, Any]]:
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
        yield from _unfolded(item, f"{where}, item {number}", _LISTS[kind])


def _name(value: Any) -> str:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return "without metadata"
    return shown("/".join(str(metadata[key]) for key in ("namespace", "name") if key in metadata))
