"""What the user must be allowed to do: questions for the API server's own SelfSubjectAccessReview, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.progress import LOOK_KINDS
from kubesteer.model.api_objects import ApiKind, Thing, group

APPLY_VERBS = ("get", "list", "create", "patch", "delete")
"""delete: what an earlier version made and this one no longer has."""
GRANTING = ("escalate", "bind")
"""Without them the API server lets nobody grant a right that they do not hold themselves."""


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


@dataclass(frozen=True, slots=True)
class Held:
    """Which of the rights the user has."""

    allowed: frozenset[Right]
    denied: frozenset[Right]


def to_apply(things: Iterable[Thing], kinds: Sequence[ApiKind]) -> set[Right]:
    """For every object that is going to be applied. Kinds that are not served are another check's."""
    served = {(each.group, each.kind): each for each in kinds}
    needed: set[Right] = set()
    for thing in things:
        kind = served.get((group(thing), thing["kind"]))
        if kind is None:
            continue
        namespace = thing["metadata"].get("namespace", "") if kind.namespaced else ""
        needed |= {Right(verb, kind.plural, kind.group, namespace) for verb in APPLY_VERBS}
        needed |= _granting(kind, namespace)
    return needed


def to_prove(namespace: str, proof_namespace: str) -> set[Right]:
    """For the proof: a pod with an account in a namespace of its own, and the extenders' ops ports."""
    accounts = (verb for verb in APPLY_VERBS if verb != "list")
    return {
        Right("get", "secrets", namespace=namespace),
        Right("create", "pods", namespace=namespace, subresource="portforward"),
        *(Right(verb, "pods", namespace=proof_namespace) for verb in ("create", "get", "delete")),
        *(Right(verb, "serviceaccounts", namespace=proof_namespace) for verb in accounts),
        Right("create", "serviceaccounts", namespace=namespace, subresource="token"),
    }


def to_look(kinds: Sequence[ApiKind], namespace: str) -> set[Right]:
    """For the checks, and for the waiting that looks at the namespace again and again."""
    # kubectl too takes the first group's kind of a name: Events are served in two.
    served = {each.plural: each for each in reversed(kinds)}
    inside = [served[name] for name in (*LOOK_KINDS, "secrets") if name in served]
    return {
        Right("list", "namespaces"),
        Right("list", "nodes"),
        Right("list", "storageclasses", "storage.k8s.io"),
        *(Right("list", each.plural, each.group, namespace) for each in inside),
    }


def question(right: Right) -> Thing:
    """As the API server wants it asked."""
    attributes = {
        "verb": right.verb,
        "resource": right.resource,
        "group": right.group,
        "namespace": right.namespace,
        "subresource": right.subresource,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
    }


def answered(asked: Sequence[Right], reviews: Sequence[Mapping[str, Any]]) -> Held:
    """The answers, which come in the order of the questions."""
    allowed = {right for right, review in zip(asked, reviews, strict=True) if review["status"].get("allowed")}
    return Held(frozenset(allowed), frozenset(asked) - allowed)


def _granting(kind: ApiKind, namespace: str) -> set[Right]:
    if kind.group != "rbac.authorization.k8s.io":
        return set()
    if kind.kind in {"Role", "ClusterRole"}:
        return {Right("escalate", kind.plural, kind.group, namespace)}
    roles = {"clusterroles": ""} if kind.kind == "ClusterRoleBinding" else {"clusterroles": "", "roles": namespace}
    return {Right("bind", plural, kind.group, where) for plural, where in roles.items()}
