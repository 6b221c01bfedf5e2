"""A cluster in memory that answers as kubectl does: for tests of what is done with the answers.

It knows enough of the API server: field managers and their conflicts, a namespace that takes its content along, pods
that a scheduler places. What its controllers would do is said by whoever makes it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from kubesteer.clients.kubectl.asking import Answer, Request
from kubesteer.clients.kubectl.command import FIELD_MANAGER, Kubectl
from kubesteer.model.api_objects import ApiKind, Ref, Thing, labels, ref
from kubesteer.model.errors import ClusterUnavailable, KubectlFailed

_VERBS = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})
_CORE = {
    "ConfigMap": True,
    "Event": True,
    "Namespace": False,
    "Node": False,
    "PersistentVolume": False,
    "PersistentVolumeClaim": True,
    "Pod": True,
    "Secret": True,
    "Service": True,
    "ServiceAccount": True,
}
_GROUPS = {
    "apps": {"DaemonSet": True, "Deployment": True, "StatefulSet": True},
    "batch": {"CronJob": True},
    "policy": {"PodDisruptionBudget": True},
    "networking.k8s.io": {"NetworkPolicy": True},
    "rbac.authorization.k8s.io": {
        "ClusterRole": False,
        "ClusterRoleBinding": False,
        "Role": True,
        "RoleBinding": True,
    },
    "scheduling.k8s.io": {"PriorityClass": False},
    "storage.k8s.io": {"StorageClass": False},
    "coordination.k8s.io": {"Lease": True},
    "certificates.k8s.io": {"CertificateSigningRequest": False},
    "admissionregistration.k8s.io": {
        "ValidatingAdmissionPolicy": False,
        "ValidatingAdmissionPolicyBinding": False,
    },
}

Reaction = Callable[["MemoryCluster"], object]
"""What controllers do between two calls."""


class MemoryCluster(Kubectl):
    """Every call of Kubectl but without kubectl.

    things: what is there. rendering: what every kustomization renders to. denied: rights that the user does not have,
    as `verb resource`. unseen: kinds, by their plural, that cannot be read. reactions run before each reading.
    answers: of the pods' ports, by pod and path.
    """

    def __init__(
        self,
        things: Iterable[Thing] = (),
        *,
        rendering: Sequence[Thing] = (),
        kubectl: str = "v1.37.0",
        server: str = "v1.37.2",
        denied: Iterable[str] = (),
        unseen: Iterable[str] = (),
        reactions: Sequence[Reaction] = (),
        answers: Callable[[str, int, Request], Answer] | None = None,
    ) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self.there: dict[Ref, Thing] = {}
        for each in things:
            self.put(each)
        self.rendering = list(rendering)
        self.versions = (kubectl, server)
        self.denied = frozenset(denied)
        self.unseen = frozenset(unseen)
        self.reactions = list(reactions)
        self.answers = answers
        self.away = False
        self.kustomizations: list[str] = []

    def put(self, thing: Thing) -> Thing:
        """As a controller writes it."""
        stored = copy.deepcopy(thing)
        stored["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.there[ref(stored)] = stored
        return stored

    def client_version(self) -> str:
        """Kubectl's."""
        return self.versions[0]

    def server_version(self) -> str:
        """The API server's."""
        self._answers()
        return self.versions[1]

    def where(self) -> tuple[str, str]:
        """A context and an address."""
        return "memory", "https://memory.invalid"

    def kinds(self) -> list[ApiKind]:
        """What it serves, and what tests put into it."""
        self._answers()
        groups = {"": _CORE, **_GROUPS}
        return [
            ApiKind(kind, group, "v1", _plural(kind), namespaced, _VERBS)
            for group, kinds in groups.items()
            for kind, namespaced in kinds.items()
        ]

    def render(self, folder: Path) -> list[Thing]:
        """The rendering it was given; the kustomization is kept to be looked at."""
        self.kustomizations.append((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        return copy.deepcopy(self.rendering)

    def items(
        self, kinds: Sequence[str], *, selector: str = "", fields: str = "", namespace: str | None = None
    ) -> tuple[list[Thing], list[str]]:
        """Objects of these kinds, and a fault for each that cannot be listed."""
        self._react()
        asked = dict.fromkeys(each.partition(".")[0] for each in kinds)
        plurals = asked.keys() - self.unseen
        key, _, value = selector.partition("=")
        path, _, wanted = fields.partition("=")
        found = [
            copy.deepcopy(each)
            for each in self.there.values()
            if _plural(each["kind"]) in plurals
            and (namespace is None or ref(each).namespace == namespace)
            and (not selector or labels(each).get(key) == value)
            and (not fields or _at(each, path) == wanted)
        ]
        return found, [f"Error from server (Forbidden): {each} is forbidden" for each in asked if each not in plurals]

    def get(self, kind: str, name: str, namespace: str = "") -> Thing | None:
        """One object."""
        self._react()
        if _plural(kind) in self.unseen:
            raise KubectlFailed(f"kubectl get: Error from server (Forbidden): {_plural(kind)} {name!r} is forbidden")
        for each, thing in self.there.items():
            if (each.kind.lower(), each.name) == (kind.lower(), name) and each.namespace == namespace:
                return copy.deepcopy(thing)
        return None

    def apply(self, things: Sequence[Thing], *, dry_run: bool = False, force: bool = False) -> list[Thing]:
        """Server-side apply."""
        self._answers()
        faults = [fault for each in things for fault in self._faults(each, {ref(t).name for t in things}, force)]
        if faults:
            raise KubectlFailed("kubectl apply: " + "\n".join(faults))
        merged = [self._merged(each) for each in things]
        if not dry_run:
            for each in merged:
                if each != self.there.get(ref(each)):
                    each["metadata"]["generation"] = each["metadata"].get("generation", 0) + 1
                    self.put(each)
        return copy.deepcopy(merged)

    def create(self, things: Sequence[Thing]) -> list[Thing]:
        """New objects, or answers to questions about rights."""
        self._answers()
        return [self._reviewed(each) if each["kind"].endswith("Review") else self._new(each) for each in things]

    def delete(
        self, things: Sequence[Thing], *, timeout_s: float, foreground: bool = False, at_once: bool = False
    ) -> None:
        """At once, with what hangs on it."""
        self._answers()
        for each in things:
            gone = self.there.pop(ref(each), None)
            if gone is not None and gone["kind"] == "Namespace":
                name = gone["metadata"]["name"]
                self.there = {r: t for r, t in self.there.items() if r.namespace != name}
            if gone is not None:
                self.there = {r: t for r, t in self.there.items() if not _is_owned(t, gone)}

    def diff(self, things: Sequence[Thing]) -> str:
        """A head for each that would change, and its generation where its spec does."""
        self._answers()
        lines = []
        for each in things:
            before, after = self.there[ref(each)], self._merged(each)
            if before != after:
                meta = each["metadata"]
                file = (
                    f"{each['apiVersion'].replace('/', '.')}.{each['kind']}.{meta.get('namespace', '')}.{meta['name']}"
                )
                lines.append(f"diff -u -N /tmp/LIVE-1/{file} /tmp/MERGED-2/{file}")
                lines += ["-  generation: 1", "+  generation: 2"] * (before.get("spec") != after.get("spec"))
        return "\n".join(lines)

    def patch(self, things: Sequence[Thing], change: Any, *, how: str, subresource: str = "") -> None:
        """JSON patches of `test` and `remove`; of strategic ones, absent keys and conditions that go."""
        self._answers()
        for each in things:
            changed = copy.deepcopy(self.there[ref(each)])
            if how == "json":
                for step in change:
                    *path, last = [int(part) if part.isdigit() else part for part in step["path"].split("/")[1:]]
                    parent: Any = changed
                    for part in path:
                        parent = parent[part]
                    if step["op"] == "test" and parent[last] != step["value"]:
                        raise KubectlFailed(f"kubectl patch: {step['path']}: the test failed")
                    if step["op"] == "remove":
                        del parent[last]
            else:
                status = changed["status"]
                for field in ("capacity", "allocatable"):
                    status[field] = {k: v for k, v in status[field].items() if k not in change["status"][field]}
                gone = {row["type"] for row in change["status"]["conditions"]}
                status["conditions"] = [row for row in status["conditions"] if row["type"] not in gone]
            self.put(changed)

    def token(self, account: str, namespace: str, *, lasts_s: int) -> str:
        """Raises KubectlFailed where there is no such account."""
        self._answers()
        if self.get("serviceaccount", account, namespace) is None:
            raise KubectlFailed(f"kubectl create: serviceaccounts {account!r} not found")
        return f"token-of-{namespace}-{account}"

    def ask(self, pod: str, namespace: str, port: int, request: Request) -> Answer:
        """What the test says that the pod answers."""
        if self.get("pod", pod, namespace) is None or self.answers is None:
            raise ClusterUnavailable(f"{request.path}: no answer")
        return self.answers(pod, port, request)

    def _answers(self) -> None:
        if self.away:
            raise KubectlFailed("kubectl get: the connection to the server was refused")

    def _react(self) -> None:
        self._answers()
        for reaction in self.reactions:
            reaction(self)

    def _faults(self, thing: Thing, also: set[str], force: bool) -> Iterable[str]:
        """An absent namespace, or fields of another manager."""
        namespace = ref(thing).namespace
        known = {"kube-system", "default"} | {each.name for each in self.there if each.kind == "Namespace"} | also
        if namespace and namespace not in known:
            yield f'Error from server (NotFound): namespaces "{namespace}" not found'
        other = (self.there.get(ref(thing)) or {}).get("metadata", {}).get("annotations", {}).get("memory/edited-by")
        if other and not force:
            yield f'error: Apply failed with 1 conflict: conflict with "{other}"'

    def _merged(self, thing: Thing) -> Thing:
        before = self.there.get(ref(thing))
        merged = _merge(copy.deepcopy(before), thing) if before else copy.deepcopy(thing)
        entry = {"manager": FIELD_MANAGER, "operation": "Apply"}
        managers = [each for each in merged["metadata"].get("managedFields", ()) if each != entry]
        merged["metadata"]["managedFields"] = [*managers, entry]
        return merged

    def _new(self, thing: Thing) -> Thing:
        if ref(thing) in self.there:
            raise KubectlFailed(f"kubectl create: {ref(thing)} already exists")
        return copy.deepcopy(self.put(thing))

    def _reviewed(self, review: Thing) -> Thing:
        asked = review["spec"]["resourceAttributes"]
        return {**review, "status": {"allowed": f"{asked['verb']} {asked['resource']}" not in self.denied}}


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


def _at(thing: Any, path: str) -> Any:
    for part in path.split("."):
        thing = (thing or {}).get(part)
    return thing


def _merge(into: Any, change: Any) -> Any:
    """Maps are merged, all else is replaced."""
    if isinstance(into, dict) and isinstance(change, dict):
        return {**into, **{name: _merge(into.get(name), value) for name, value in change.items()}}
    return copy.deepcopy(change)


def _is_owned(thing: Thing, owner: Thing) -> bool:
    owners = thing["metadata"].get("ownerReferences", ())
    return any((each["kind"], each["name"]) == (owner["kind"], owner["metadata"]["name"]) for each in owners)
