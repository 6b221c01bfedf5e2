"""The proof that a deployment works: one pod with an SLO, placed through kubesteer, and what the extenders say of it.

A scheduler places pods while kubesteer is away, too (`ignorable`), so a bound pod alone proves nothing: the extenders
must have been asked meanwhile, at their ops ports. No I/O.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.checks import takes_pods
from kubesteer.deploying.rendering import NAME, NAMESPACE, PART_OF
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable, InvalidQuantity
from kubesteer.model.quantity import parse_quantity, to_units

POD = "kubesteer-proof"
SLO_BPS = 1_000_000
"""1 Mbit/s: whatever is left on a node, this much is."""
MOST_CANDIDATES = 500
SERVER_SECRET = "kubesteer-extender-server"  # noqa: S105 - its name
READER_ACCOUNT = "kubesteer-status"
"""Its tokens read the ops port; no pod runs as it."""
SERVER_NAME = "kubesteer-extender.kubesteer.svc"
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen.

    asked: how often the extenders were asked for nodes meanwhile, for this pod and any other: they do not tell for
    which. slo: the resource, empty for none. opinions: what each extender says of the node. why: why there is no node,
    in the scheduler's words.
    """

    node: str | None
    slo: str
    asked: int
    took_s: float
    opinions: tuple[Mapping[str, Any], ...] = ()
    why: str = ""

    @property
    def holds(self) -> bool:
        """The pod was placed, and kubesteer was asked."""
        return self.node is not None and self.asked > 0


def published(nodes: Iterable[Thing], names: Sequence[str]) -> str | None:
    """The first resource of these of which a node that takes pods has enough for the proof; None for none."""
    usable = [(each.get("status") or {}).get("allocatable") or {} for each in nodes if takes_pods(each)]
    for name in names:
        for amounts in usable:
            try:
                if to_units(parse_quantity(amounts.get(name, "0"))) >= SLO_BPS:
                    return name
            except InvalidQuantity:
                continue
    return None


def pod(image: str, slo: str | None, scheduler: str) -> Thing:
    """A pod that sleeps. Its image is kubesteer's own, which the nodes have already."""
    resources: dict[str, Any] = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}
    if slo:
        for part in resources.values():
            part[slo] = str(SLO_BPS)
    ids = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    nothing = {"drop": ["ALL"]}
    container = {
        "name": "proof",
        "image": image,
        "command": ["python3", "-c", "import time; time.sleep(600)"],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": nothing,
        },
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE, "labels": {NAME: POD, PART_OF: NAMESPACE}},
        "spec": {
            "schedulerName": scheduler,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "securityContext": ids,
            "containers": [container],
        },
    }


def question(placed: Thing, nodes: Sequence[str]) -> dict[str, Any]:
    """For /explain: how each node would do, as if the pod were still to be placed."""
    spec = {name: value for name, value in placed["spec"].items() if name != "nodeName"}
    unplaced = {**placed, "spec": spec, "status": {"phase": "Pending"}}
    return {"Pod": unplaced, "Nodes": None, "NodeNames": list(nodes)[:MOST_CANDIDATES]}


def opinion(replica: str, node: str, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an extender's /explain says of one node, with its rank among those that fit; None for one unknown to it."""
    totals = [row["total"] for row in answer["nodes"] if row["fits"]]
    for row in answer["nodes"]:
        if row["node"] == node:
            rank = 1 + sum(total > row["total"] for total in totals)
            return {"replica": replica, **row, "rank": rank, "candidates": len(totals)}
    return None


def why_pending(pod_there: Mapping[str, Any]) -> str:
    """The scheduler's words, or that none has looked at it."""
    for row in (pod_there.get("status") or {}).get("conditions") or ():
        if row["type"] == "PodScheduled" and row["status"] == "False":
            return " ".join(str(row.get("message", "")).split())
    return f"no scheduler named {pod_there['spec'].get('schedulerName')} has looked at it"


def authority_of(secret: Thing | None) -> str | None:
    """The authority of the certificate in a Secret, as PEM."""
    text = ((secret or {}).get("data") or {}).get("ca.crt")
    return base64.b64decode(text).decode() if text else None


def document_of(text: str, path: str) -> Any:
    """An answer's JSON. Raises ClusterUnavailable for what is none."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ClusterUnavailable(f"{path}: its answer is no JSON: {exc}") from exc


def sample_sum(metrics: str, name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels; 0 where there is none."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    return sum(
        float(found["value"])
        for found in _SAMPLE.finditer(metrics)
        if found["name"] == name and wanted <= set((found["labels"] or "").split(","))
    )
