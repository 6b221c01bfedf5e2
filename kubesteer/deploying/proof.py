"""The proof that a deployment works: one pod with an SLO, placed through kubesteer, and what is said of it afterwards.

A scheduler places pods while kubesteer is away, too (`ignorable`), so a bound pod alone proves nothing: the extenders
must have been asked meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.checks import takes_pods
from kubesteer.deploying.rendering import NAME, PART_OF
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.quantity import parse_quantity, to_units

PROOF_NAMESPACE = "kubesteer-proof"
POD = "kubesteer-proof"
SLO_BPS = 1_000_000
"""1 Mbit/s: whatever is left on a node, this much is."""
MOST_CANDIDATES = 500
_LABELS = {NAME: "kubesteer-proof", PART_OF: "kubesteer"}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one extender says of a node for the pod. replica: which extender."""

    replica: str
    node: str
    fits: bool
    reason: str | None
    score: int
    balance: float | None
    reward: float | None
    total: float
    rank: int
    """1 is the best."""
    candidates: int
    """Nodes that fit."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen.

    asked: how often the extenders were asked for nodes meanwhile, for this pod and any other: they do not tell for
    which. slo: the resource, empty for none.
    """

    node: str | None
    slo: str
    asked: int
    took_s: float
    opinions: tuple[Opinion, ...] = ()
    why: str = ""
    """Why there is no node, in the scheduler's words."""

    @property
    def holds(self) -> bool:
        """The pod was placed, and kubesteer was asked."""
        return self.node is not None and self.asked > 0


def published(nodes: Iterable[Thing], names: Sequence[str]) -> str | None:
    """The first resource of these of which a node that takes pods has enough for the proof; None for none."""
    usable = [each for each in nodes if takes_pods(each)]
    for name in names:
        for node in usable:
            amount = ((node.get("status") or {}).get("allocatable") or {}).get(name, "0")
            try:
                if to_units(parse_quantity(amount)) >= SLO_BPS:
                    return name
            except InvalidQuantity:
                continue
    return None


def stage() -> list[Thing]:
    """What the proof needs and takes away again: a namespace, and an account without rights for the pod."""
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": PROOF_NAMESPACE, "labels": {**_LABELS, **level}},
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": POD, "namespace": PROOF_NAMESPACE, "labels": _LABELS},
        },
    ]


def pod(image: str, slo: str | None, scheduler: str) -> Thing:
    """A pod that sleeps. Its image is kubesteer's own, which the nodes have already."""
    resources: dict[str, Any] = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}
    if slo:
        for part in resources.values():
            part[slo] = str(SLO_BPS)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": PROOF_NAMESPACE, "labels": _LABELS},
        "spec": {
            "schedulerName": scheduler,
            "serviceAccountName": POD,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "proof",
                    "image": image,
                    "command": ["python3", "-c", "import time; time.sleep(600)"],
                    "resources": resources,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def question(placed: Thing, nodes: Sequence[str]) -> dict[str, Any]:
    """For /explain: how each node would do, as if the pod were still to be placed."""
    spec = {name: value for name, value in placed["spec"].items() if name != "nodeName"}
    unplaced = {**placed, "spec": spec, "status": {"phase": "Pending"}}
    return {"Pod": unplaced, "Nodes": None, "NodeNames": list(nodes)[:MOST_CANDIDATES]}


def opinion(replica: str, node: str, answer: Mapping[str, Any]) -> Opinion | None:
    """What an extender's /explain says of one node; None where it does not know it."""
    rows = answer["nodes"]
    fitting = sorted((row["total"] for row in rows if row["fits"]), reverse=True)
    for row in rows:
        if row["node"] == node:
            rank = 1 + sum(total > row["total"] for total in fitting)
            numbers = {name: row[name] for name in ("fits", "reason", "score", "balance", "reward", "total")}
            return Opinion(replica=replica, node=node, rank=rank, candidates=len(fitting), **numbers)
    return None


def bound_to(pod_there: Mapping[str, Any]) -> str | None:
    """Its node."""
    name: str | None = pod_there["spec"].get("nodeName")
    return name


def why_pending(pod_there: Mapping[str, Any]) -> str:
    """The scheduler's words, or that none has looked at it."""
    for row in (pod_there.get("status") or {}).get("conditions") or ():
        if row["type"] == "PodScheduled" and row["status"] == "False":
            return " ".join(str(row.get("message", "")).split())
    return f"no scheduler named {pod_there['spec'].get('schedulerName')} has looked at it"
