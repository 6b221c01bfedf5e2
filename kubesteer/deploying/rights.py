"""What the user must be allowed to do: questions for the API server's own SelfSubjectAccessReview, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.model.api_objects import ApiKind, Thing, group

APPLY_VERBS = ("get", "list", "create", "patch", "delete")
"""delete: what an earlier version made and this one no longer has."""
GRANTING = ("escalate", "bind")
"""Without them the API server lets nobody grant a right that they do not hold themselves."""
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, in a namespace or, where that is empty, everywhere."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        part = f"{name}/{self.subresource}" if self.subresource else name
        return f"{self.verb} {part}" + (f" in {self.namespace}" if self.namespace else "")


def needed(things: Iterable[Thing], kinds: Sequence[ApiKind], namespace: str) -> list[Right]:
    """To look, to apply these objects, to wait and to prove. Kinds that are not served are another check's."""
    served = {(each.group, each.kind): each for each in kinds}
    found = {Right("list", "namespaces"), Right("list", "nodes"), Right("list", "storageclasses", "storage.k8s.io")}
    found |= {Right("list", each, "apps", namespace) for each in ("deployments", "statefulsets", "daemonsets")}
    found |= {Right("list", each, "", namespace) for each in ("pods", "persistentvolumeclaims", "events")}
    found |= {Right(verb, "pods", "", namespace) for verb in ("get", "create", "delete")}
    found |= {Right("get", "secrets", "", namespace), Right("create", "pods", "", namespace, "portforward")}
    found.add(Right("create", "serviceaccounts", "", namespace, "token"))
    for thing in things:
        if kind := served.get((group(thing), thing["kind"])):
            where = thing["metadata"].get("namespace", "") if kind.namespaced else ""
            found |= {Right(verb, kind.plural, kind.group, where) for verb in APPLY_VERBS}
            if kind.group == _RBAC and thing["kind"].endswith("Role"):
                found.add(Right("escalate", kind.plural, _RBAC, where))
            elif kind.group == _RBAC:
                role = thing["roleRef"]["kind"]
                found.add(Right("bind", f"{role.lower()}s", _RBAC, where if role == "Role" else ""))
    return sorted(found)


def question(right: Right) -> Thing:
    """As the API server wants it asked."""
    names = ("verb", "resource", "group", "namespace", "subresource")
    attributes = {name: getattr(right, name) for name in names if getattr(right, name)}
    spec = {"resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}


def denied(asked: Sequence[Right], reviews: Sequence[Mapping[str, Any]]) -> list[Right]:
    """Those that the user does not have; the answers come in the order of the questions."""
    return [right for right, review in zip(asked, reviews, strict=True) if not review["status"].get("allowed")]
