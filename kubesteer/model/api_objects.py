"""Objects of the API server as JSON has them, and which one is which. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Thing = dict[str, Any]
"""An object as JSON: apiVersion, kind, metadata and the rest."""


@dataclass(frozen=True, slots=True)
class ApiKind:
    """A kind that an API server serves. group is empty for the core's."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def full_name(self) -> str:
        """As kubectl takes it: no other group's kind of the same name is meant."""
        return f"{self.plural}.{self.version}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object: group instead of version, as one object is served in several. namespace is empty cluster-wide."""

    kind: str
    namespace: str
    name: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def ref(thing: Mapping[str, Any]) -> Ref:
    """The object's."""
    meta = thing["metadata"]
    return Ref(thing["kind"], meta.get("namespace", ""), meta["name"], group(thing))


def group(thing: Mapping[str, Any]) -> str:
    """The API group; empty for the core's."""
    before, slash, _ = thing["apiVersion"].partition("/")
    return before if slash else ""


def labels(thing: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's; none where it has none."""
    found: Mapping[str, str] = thing["metadata"].get("labels") or {}
    return found


def minimal(thing: Mapping[str, Any]) -> Thing:
    """As much of it as names it, for a deletion."""
    meta = {key: thing["metadata"][key] for key in ("name", "namespace") if key in thing["metadata"]}
    return {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": meta}
