"""What an undeployment takes away, in which order, and what is still there afterwards. Nothing is done here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.progress import lost_nodes
from kubesteer.deploying.rendering import NAMESPACE, PART_OF
from kubesteer.deploying.workloads import WORKLOADS
from kubesteer.model.api_objects import ApiKind, Ref, Thing, labels, ref

PREFIX = "kubesteer.io/"
_MADE_IN_EVERY_NAMESPACE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_PASSING = frozenset({"Event", "Endpoints", "EndpointSlice", "Lease", "ReplicaSet", "ControllerRevision"})
"""Kinds that others make for an object, and take away with it."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, in this order.

    workloads: first, so that no agent publishes and no keeper makes anything anew. stuck: their pods on silent nodes,
    which nobody confirms to be gone; they are struck from the API server. marked: nodes with what agents left on them.
    things: the rest, namespaces last. kept: with --keep-data, the volumes and their namespace. others: objects of
    somebody else in kubesteer's namespace, which go with it. waiting: pods of others that ask for kubesteer's scheduler
    and have no node yet.
    """

    workloads: tuple[Thing, ...] = ()
    stuck: tuple[Thing, ...] = ()
    marked: tuple[Thing, ...] = ()
    things: tuple[Thing, ...] = ()
    kept: tuple[Ref, ...] = ()
    others: tuple[Ref, ...] = ()
    waiting: tuple[Ref, ...] = ()

    @property
    def is_empty(self) -> bool:
        """There is nothing of kubesteer's."""
        return not (self.workloads or self.stuck or self.marked or self.things)


@dataclass(frozen=True, slots=True)
class Found:
    """One look for everything that is kubesteer's.

    labelled: with its label, everywhere. inside: everything in its namespace. signing: CertificateSigningRequests.
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
    # A node that somebody gave the label is no object to delete.
    mine = [each for each in top if is_own(each) and each["kind"] != "Node"]
    workloads = [each for each in mine if each["kind"] in (*WORKLOADS, "CronJob", "Job")]
    kept = [each for each in mine if keep_data and each["kind"] in {"Namespace", "PersistentVolumeClaim"}]
    rest = [each for each in mine if each not in workloads and each not in kept]
    # What is in a namespace goes with it; one without kubesteer's label stays, and what others have in it too.
    emptied = {each["metadata"]["name"] for each in rest if each["kind"] == "Namespace"}
    rest = [each for each in rest if ref(each).namespace not in emptied]
    rest += [each for each in found.signing if each not in rest]
    lost = lost_nodes(found.nodes)
    pods = [each for each in everything.values() if each["kind"] == "Pod" and ref(each).namespace == NAMESPACE]
    ending = [each for each in pods if is_own(each) or NAMESPACE in emptied]
    return Removal(
        workloads=tuple(workloads),
        stuck=tuple(each for each in ending if each["spec"].get("nodeName") in lost),
        marked=tuple(each for each in found.nodes if marks(each)),
        things=tuple(sorted(rest, key=lambda each: (each["kind"] == "Namespace", ref(each)))),
        kept=tuple(sorted(map(ref, kept))),
        others=tuple(sorted(ref(each) for each in top if NAMESPACE in emptied and _is_somebodys(each))),
        waiting=tuple(sorted(ref(each) for each in found.asking if _waits(each))),
    )


def is_own(thing: Mapping[str, Any]) -> bool:
    """Carries kubesteer's label, or is the lease that its scheduler leads by."""
    lease = thing["kind"] == "Lease" and ref(thing).namespace == NAMESPACE and ref(thing).name.startswith("kubesteer")
    return lease or labels(thing).get(PART_OF) == NAMESPACE


def marks(node: Thing) -> list[str]:
    """What agents left on a node: amounts in capacity and allocatable, conditions, taints."""
    status = node.get("status") or {}
    names = {name for field in ("capacity", "allocatable") for name in status.get(field) or ()}
    found = [*sorted(names), *(row["type"] for row in status.get("conditions") or ()), *map(_key, _taints(node))]
    return [name for name in found if name.startswith(PREFIX)]


def status_patch(nodes: Iterable[Thing]) -> dict[str, Any]:
    """A strategic patch that takes the amounts and conditions of all these nodes from any of them."""
    names = sorted({name for node in nodes for name in marks(node)})
    nothing = dict.fromkeys(names)
    conditions = [{"$patch": "delete", "type": name} for name in names]
    return {"status": {"capacity": nothing, "allocatable": nothing, "conditions": conditions}}


def taint_patches(nodes: Iterable[Thing]) -> list[tuple[list[dict[str, Any]], list[Thing]]]:
    """JSON patches that take the taints away, each with the nodes that have them in the same places.

    Each removal says what it expects to find there, as the node controller writes the list too. The last goes first.
    """
    found: dict[tuple[tuple[int, str], ...], list[Thing]] = {}
    for node in nodes:
        places = [(index, _key(row)) for index, row in enumerate(_taints(node)) if _key(row).startswith(PREFIX)]
        if places:
            found.setdefault(tuple(reversed(places)), []).append(node)
    return [([step for place in places for step in _removed(*place)], each) for places, each in found.items()]


def remaining(after: Found, going: Removal) -> list[str]:
    """What is still there of what was to go, in words: kubesteer's, and what others had in its namespace."""
    things = [each for each in (*after.labelled, *after.inside, *after.signing) if each["kind"] != "Node"]
    left = {ref(each) for each in things if is_own(each) or each["kind"] == "CertificateSigningRequest"}
    left |= set(map(ref, things)) & set(going.others)
    of_nodes = [f"Node {each['metadata']['name']}: {', '.join(marks(each))}" for each in after.nodes if marks(each)]
    return [*map(str, sorted(left - set(going.kept))), *of_nodes]


def volumes_left(after: Found) -> list[str]:
    """PersistentVolumes that a StorageClass keeps although their claim is gone."""
    claims = {each["metadata"]["name"] for each in after.inside if each["kind"] == "PersistentVolumeClaim"}
    return sorted(
        each["metadata"]["name"]
        for each in after.volumes
        if (claim := each["spec"].get("claimRef") or {}).get("namespace") == NAMESPACE
        and claim.get("name") not in claims
    )


def _removed(index: int, key: str) -> list[dict[str, Any]]:
    path = f"/spec/taints/{index}"
    return [{"op": "test", "path": f"{path}/key", "value": key}, {"op": "remove", "path": path}]


def _taints(node: Thing) -> list[dict[str, str]]:
    return node["spec"].get("taints") or []


def _key(row: Mapping[str, str]) -> str:
    return row["key"]


def _is_somebodys(thing: Thing) -> bool:
    """In kubesteer's namespace, and not kubesteer's."""
    known: bool = (thing["kind"], thing["metadata"]["name"]) in _MADE_IN_EVERY_NAMESPACE or thing["kind"] in _PASSING
    return ref(thing).namespace == NAMESPACE and not (known or is_own(thing))


def _waits(pod: Thing) -> bool:
    return not pod["spec"].get("nodeName") and ref(pod).namespace != NAMESPACE
