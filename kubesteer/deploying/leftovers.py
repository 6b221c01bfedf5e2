"""What an undeployment takes away, in which order, and what is still there afterwards. Nothing is done here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.progress import lost_nodes
from kubesteer.deploying.proof import PROOF_NAMESPACE
from kubesteer.deploying.rendering import NAMESPACE, PART_OF
from kubesteer.deploying.workloads import WORKLOADS
from kubesteer.model.api_objects import ApiKind, Ref, Thing, labels, ref

PREFIX = "kubesteer.io/"
_NAMESPACES = (NAMESPACE, PROOF_NAMESPACE)
_MADE_IN_EVERY_NAMESPACE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_PASSING = frozenset({"Event", "Endpoints", "EndpointSlice", "Lease", "ReplicaSet", "ControllerRevision"})
"""Kinds that others make for an object, and take away with it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What agents left on one node: amounts in capacity and allocatable, conditions, taints."""

    node: str
    amounts: tuple[str, ...]
    conditions: tuple[str, ...]
    taints: tuple[str, ...]

    def __str__(self) -> str:
        return f"Node {self.node}: {', '.join((*self.amounts, *self.conditions, *self.taints))}"


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, in this order.

    workloads: first, so that no agent publishes and no keeper makes anything anew.
    stuck: their pods on silent nodes, which nobody confirms to be gone; they are struck from the API server.
    marks: on nodes.
    things: the rest, namespaces last.
    kept: with --keep-data, the volumes and their namespace.
    others: objects of somebody else in kubesteer's namespace, which go with it.
    waiting: pods of others that ask for kubesteer's scheduler and have no node yet.
    """

    workloads: tuple[Thing, ...]
    stuck: tuple[Thing, ...]
    marks: tuple[Marks, ...]
    things: tuple[Thing, ...]
    kept: tuple[Ref, ...]
    others: tuple[Ref, ...]
    waiting: tuple[Ref, ...]

    @property
    def is_empty(self) -> bool:
        """There is nothing of kubesteer's."""
        return not (self.workloads or self.stuck or self.marks or self.things)


@dataclass(frozen=True, slots=True)
class Found:
    """One look for everything that is kubesteer's.

    labelled: with its label, everywhere. inside: everything in its namespaces. signing: CertificateSigningRequests.
    asking: pods that name its scheduler. volumes: PersistentVolumes.
    """

    labelled: Sequence[Thing]
    inside: Sequence[Thing]
    nodes: Sequence[Thing]
    signing: Sequence[Thing] = ()
    asking: Sequence[Thing] = ()
    volumes: Sequence[Thing] = ()


def listable(kinds: Iterable[ApiKind], *, namespaced_only: bool = False) -> list[str]:
    """The kinds whose objects can be listed and deleted, as kubectl takes them; Events pass by themselves."""
    return [
        each.full_name
        for each in kinds
        if {"list", "delete"} <= each.verbs and each.kind != "Event" and (each.namespaced or not namespaced_only)
    ]


def removal(found: Found, *, keep_data: bool) -> Removal:
    """The order of it."""
    everything = {ref(each): each for each in [*found.labelled, *found.inside]}
    top = [each for each in everything.values() if not each["metadata"].get("ownerReferences")]
    mine = [each for each in top if is_own(each) and not _is_marked_node(each)]
    workloads = [each for each in mine if each["kind"] in (*WORKLOADS, "CronJob", "Job")]
    kept = [each for each in mine if keep_data and _holds_data(each)]
    rest = [each for each in mine if each not in workloads and each not in kept]
    # What is in a namespace goes with it; one without kubesteer's label stays, and what others have in it too.
    emptied = {each["metadata"]["name"] for each in rest if each["kind"] == "Namespace"}
    rest = [each for each in rest if ref(each).namespace not in emptied]
    rest += [each for each in found.signing if each not in rest]
    lost = lost_nodes(found.nodes)
    pods = [each for each in everything.values() if each["kind"] == "Pod" and _in_namespaces(each)]
    ending = [each for each in pods if is_own(each) or ref(each).namespace in emptied]
    return Removal(
        workloads=tuple(workloads),
        stuck=tuple(each for each in ending if each["spec"].get("nodeName") in lost),
        marks=marks(found.nodes),
        things=tuple(sorted(rest, key=lambda each: (each["kind"] == "Namespace", ref(each)))),
        kept=tuple(sorted(map(ref, kept))),
        others=tuple(sorted(ref(each) for each in top if _is_somebodys(each) and ref(each).namespace in emptied)),
        waiting=tuple(sorted(ref(each) for each in found.asking if _waits(each))),
    )


def is_own(thing: Mapping[str, Any]) -> bool:
    """Carries kubesteer's label, or is the lease that its scheduler leads by."""
    lease = thing["kind"] == "Lease" and ref(thing).namespace == NAMESPACE and ref(thing).name.startswith("kubesteer")
    return lease or labels(thing).get(PART_OF) == NAMESPACE


def marks(nodes: Iterable[Thing]) -> tuple[Marks, ...]:
    """What is left on each node, where anything is."""
    return tuple(each for each in map(_marks, nodes) if each.amounts or each.conditions or each.taints)


def status_patch(node: Thing) -> list[dict[str, Any]]:
    """A JSON patch of the node's status that takes kubesteer's amounts and conditions away."""
    status, found = node.get("status") or {}, _marks(node)
    changes: list[dict[str, Any]] = []
    for field in ("capacity", "allocatable"):
        names = [name for name in found.amounts if name in (status.get(field) or {})]
        changes += [{"op": "remove", "path": f"/status/{field}/{_escaped(name)}"} for name in names]
    return changes + _out_of_list("/status/conditions", status.get("conditions") or (), "type")


def taints_patch(node: Thing) -> list[dict[str, Any]]:
    """The same for the taints in its spec."""
    return _out_of_list("/spec/taints", node["spec"].get("taints") or (), "key")


def remaining(after: Found, going: Removal) -> list[str]:
    """What is still there of what was to go, in words: kubesteer's, and what others had in its namespace."""
    things = [*after.labelled, *after.inside, *after.signing]
    left = {ref(each) for each in things if _is_left(each)} | (set(map(ref, things)) & set(going.others))
    return [*map(str, sorted(left - set(going.kept))), *map(str, marks(after.nodes))]


def volumes_left(after: Found) -> list[str]:
    """PersistentVolumes that a StorageClass keeps although their claim is gone."""
    claims = {each["metadata"]["name"] for each in after.inside if each["kind"] == "PersistentVolumeClaim"}
    return sorted(
        each["metadata"]["name"]
        for each in after.volumes
        if (claim := each["spec"].get("claimRef") or {}).get("namespace") == NAMESPACE
        and claim.get("name") not in claims
    )


def _is_left(thing: Thing) -> bool:
    return not _is_marked_node(thing) and (is_own(thing) or ref(thing).kind == "CertificateSigningRequest")


def _is_somebodys(thing: Thing) -> bool:
    """In kubesteer's namespace, and not kubesteer's."""
    known: bool = (thing["kind"], thing["metadata"]["name"]) in _MADE_IN_EVERY_NAMESPACE or thing["kind"] in _PASSING
    return _in_namespaces(thing) and not (known or is_own(thing))


def _in_namespaces(thing: Thing) -> bool:
    return ref(thing).namespace in _NAMESPACES


def _is_marked_node(thing: Thing) -> bool:
    """A node that somebody gave the label is no object to delete."""
    return ref(thing).kind == "Node"


def _holds_data(thing: Thing) -> bool:
    if thing["kind"] == "Namespace":
        return ref(thing).name == NAMESPACE
    return ref(thing).kind == "PersistentVolumeClaim"


def _waits(pod: Thing) -> bool:
    return not pod["spec"].get("nodeName") and not _in_namespaces(pod)


def _marks(node: Thing) -> Marks:
    status = node.get("status") or {}
    amounts = {
        name for field in ("capacity", "allocatable") for name in (status.get(field) or {}) if name.startswith(PREFIX)
    }
    conditions = [row["type"] for row in status.get("conditions") or () if row["type"].startswith(PREFIX)]
    taints = [row["key"] for row in node["spec"].get("taints") or () if row["key"].startswith(PREFIX)]
    return Marks(node["metadata"]["name"], tuple(sorted(amounts)), tuple(conditions), tuple(taints))


def _out_of_list(path: str, rows: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Each removal says what it expects to find there, as the kubelet writes the list too. The last goes first."""
    found = [(index, row[key]) for index, row in enumerate(rows) if row[key].startswith(PREFIX)]
    return [
        change
        for index, name in reversed(found)
        for change in (
            {"op": "test", "path": f"{path}/{index}/{key}", "value": name},
            {"op": "remove", "path": f"{path}/{index}"},
        )
    ]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
