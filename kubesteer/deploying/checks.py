"""What is looked at before a deployment: each check is a judgement over what was read; all are shown at once."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesteer.deploying.ops_port import OpsPort, ops_port
from kubesteer.deploying.rendering import NAMESPACE, OVERLAY, OWN_IMAGE, PART_OF, VERSION
from kubesteer.deploying.rights import GRANTING, Held
from kubesteer.deploying.workloads import condition
from kubesteer.model.api_objects import ApiKind, Thing, group, labels, ref
from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.findings import Finding, Severity
from kubesteer.schedulerconfig.minors import NEWEST

OLDEST_SERVER = 34
"""The admission policies of the agent, and matchLabelKeys beside anti-affinity, are all there from this minor on."""
OLDEST_KUBECTL = 28
"""The first with server-side apply, `--subresource` of patch and `create token` as they are used here."""
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_HELM_RELEASE, _HELM_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_ETCD_MEMBERS = 3


class Level(enum.StrEnum):
    """What a judgement means for the deployment."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One check's. fix: what to do about it; empty where it passes."""

    name: str
    level: Level
    said: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read of the cluster, before anything is changed.

    things: what is to be applied. there: everything that carries kubesteer's label already.
    unseen: what was said of kinds that could not be listed; what is there is not known then.
    would_be: what a dry run made of the things. refused: what the API server said against it, empty where it took all.
    schedulers: the cluster's own kube-scheduler pods, as far as they can be seen.
    slo_names: the resources that the extender places by. ops: how its ops port is asked.
    """

    kubectl: str
    server: str
    overlay: str
    own_version: str
    image: str
    forced: bool = False
    things: Sequence[Thing] = ()
    there: Sequence[Thing] = ()
    unseen: Sequence[str] = ()
    namespace: Thing | None = None
    kinds: Sequence[ApiKind] = ()
    held: Held = field(default_factory=lambda: Held(frozenset(), frozenset()))
    nodes: Sequence[Thing] = ()
    storage_classes: Sequence[Thing] = ()
    schedulers: Sequence[Thing] = ()
    would_be: Sequence[Thing] = ()
    refused: str = ""
    findings: Sequence[Finding] = ()

    @property
    def brings_scheduler(self) -> bool:
        """A second one; else kubesteer is for the cluster's own."""
        return _has(self, "Deployment", "kubesteer-scheduler")

    slo_names: Sequence[str] = ()
    ops: OpsPort = field(default_factory=lambda: ops_port({}))


def judgements(facts: Facts) -> list[Judgement]:
    """Every check's, in the order in which they are best read."""
    checks = (
        _kubectl, _version, _rights, _seen, _there, _kinds, _scheduler, _configuration, _nodes, _storage, _image,
        _dry_run,
    )  # fmt: skip
    return [each for check in checks for each in check(facts)]


def may_go_on(found: Sequence[Judgement]) -> bool:
    """Nothing refuses."""
    return all(each.level is not Level.REFUSE for each in found)


def minor_of(version: str) -> int:
    """37 for v1.37.2, of a version as Kubernetes' programs tell it. Raises InvalidInput."""
    found = re.match(r"v?1\.(\d+)", version)
    if found is None:
        raise InvalidInput(f"version {version!r}: it is not as Kubernetes' are, such as v1.37.2")
    return int(found[1])


def _kubectl(facts: Facts) -> Iterator[Judgement]:
    try:
        minor, server = minor_of(facts.kubectl), minor_of(facts.server)
    except InvalidInput:
        yield Judgement("kubectl", Level.WARN, f"version {facts.kubectl}", "its version cannot be compared")
        return
    if minor < OLDEST_KUBECTL:
        fix = f"install 1.{OLDEST_KUBECTL} or newer, best of the cluster's own minor"
        yield Judgement("kubectl", Level.REFUSE, f"version {facts.kubectl} is too old", fix)
    elif abs(minor - server) > 1:
        said = f"version {facts.kubectl}: kubectl and API server {facts.server} are more than one minor apart"
        yield Judgement("kubectl", Level.WARN, said, "Kubernetes supports one minor; all that is used here is older")
    else:
        yield Judgement("kubectl", Level.PASS, f"version {facts.kubectl}")


def _version(facts: Facts) -> Iterator[Judgement]:
    minor = minor_of(facts.server)
    if minor < OLDEST_SERVER:
        fix = f"kubesteer needs 1.{OLDEST_SERVER} or newer; upgrade the cluster"
        yield Judgement("Kubernetes", Level.REFUSE, f"version {facts.server}", fix)
    elif minor > NEWEST:
        said = f"version {facts.server} is newer than 1.{NEWEST}, the newest that kubesteer was tested with"
        yield Judgement("Kubernetes", Level.WARN, said, "look for a newer kubesteer")
    else:
        yield Judgement("Kubernetes", Level.PASS, f"version {facts.server}")


def _rights(facts: Facts) -> Iterator[Judgement]:
    denied = sorted(facts.held.denied)
    granting = [each for each in denied if each.verb in GRANTING]
    plain = [each for each in denied if each.verb not in GRANTING]
    if plain:
        said = f"you may not: {_listed([str(each) for each in plain])}"
        yield Judgement("rights", Level.REFUSE, said, "have an administrator run this, or grant them to you")
    if granting:
        said = f"you may not {_listed([str(each) for each in granting])}, so you can grant only what you hold yourself"
        fix = "nothing, where the dry run below passes; else have an administrator run this"
        yield Judgement("rights", Level.WARN, said, fix)
    if not denied:
        yield Judgement("rights", Level.PASS, f"all {len(facts.held.allowed)} that are needed")


def _seen(facts: Facts) -> Iterator[Judgement]:
    if facts.unseen:
        fix = "run this again; where it is forbidden, have an administrator run it, or grant you to list every kind"
        yield Judgement("reading", Level.REFUSE, f"could not be listed: {_listed(facts.unseen)}", fix)


def _there(facts: Facts) -> Iterator[Judgement]:
    name = "already there"
    if release := helm_release(facts.there):
        fix = f"go on with `helm upgrade`, or `{release.uninstall}` first"
        yield Judgement(name, Level.REFUSE, f"kubesteer of the Helm release {release.name}", fix)
        return
    if facts.namespace is not None and labels(facts.namespace).get(PART_OF) != NAMESPACE:
        fix = f"whose is it? kubesteer's carries the label {PART_OF}={NAMESPACE}; give it that, or rename yours"
        yield Judgement(name, Level.REFUSE, f"a namespace {NAMESPACE} that is not kubesteer's", fix)
        return
    if facts.namespace is not None and "deletionTimestamp" in facts.namespace["metadata"]:
        fix = "wait until it is gone: kubectl wait --for=delete namespace/kubesteer"
        yield Judgement(name, Level.REFUSE, f"the namespace {NAMESPACE} is being deleted", fix)
        return
    deployed = installed(facts.there)
    if deployed is None:
        yield Judgement(name, Level.PASS, "nothing of kubesteer's")
        return
    version, overlay = deployed
    if overlay not in {"", facts.overlay}:
        said = f"kubesteer {version} of the overlay {overlay}; this is {facts.overlay}"
        fix = "what only the other one has is deleted; volumes stay. `kubesteer undeploy` first for a clean start"
        yield Judgement(name, Level.WARN, said, fix)
    else:
        what = "the same version" if version == facts.own_version else f"this is {facts.own_version}"
        yield Judgement(name, Level.PASS, f"kubesteer {version or 'applied by hand'}; {what}")


@dataclass(frozen=True, slots=True, order=True)
class HelmRelease:
    """Who else installed kubesteer: the release's name, and the namespace that Helm keeps it in."""

    name: str
    namespace: str

    @property
    def uninstall(self) -> str:
        """The command that takes it away."""
        return f"helm uninstall {self.name}" + (f" --namespace {self.namespace}" if self.namespace else "")


def helm_release(there: Iterable[Thing]) -> HelmRelease | None:
    """The first whose annotations objects of kubesteer's carry."""
    notes = [each["metadata"].get("annotations") or {} for each in there]
    found = {HelmRelease(each[_HELM_RELEASE], each.get(_HELM_NAMESPACE, "")) for each in notes if _HELM_RELEASE in each}
    return min(found, default=None)


def installed(there: Sequence[Thing]) -> tuple[str, str] | None:
    """Version and overlay of what is deployed, as its labels tell; None where nothing is."""
    found = [
        each for each in there if each["kind"] == "Deployment" and each["metadata"]["name"] == "kubesteer-extender"
    ]
    return (labels(found[0]).get(VERSION, ""), labels(found[0]).get(OVERLAY, "")) if found else None


def _kinds(facts: Facts) -> Iterator[Judgement]:
    served = {(each.group, each.kind) for each in facts.kinds}
    missing = sorted({(group(each), each["kind"]) for each in facts.things} - served)
    if missing:
        names = _listed([f"{kind}.{of}" for of, kind in missing])
        who = {"cert-manager.io": "cert-manager", "monitoring.coreos.com": "the Prometheus operator"}
        needed = sorted({who.get(of, of) for of, _ in missing})
        fix = f"install {' and '.join(needed)}, or choose an overlay without"
        yield Judgement("kinds", Level.REFUSE, f"the API server does not know {names}", fix)
    else:
        yield Judgement("kinds", Level.PASS, f"the API server knows all {len({each['kind'] for each in facts.things})}")


def _scheduler(facts: Facts) -> Iterator[Judgement]:
    name = "the cluster's scheduler"
    if facts.schedulers:
        images = sorted({each["spec"]["containers"][0]["image"].rpartition("/")[2] for each in facts.schedulers})
        yield Judgement(name, Level.PASS, f"{len(facts.schedulers)} pods to be seen, {', '.join(images)}")
    elif not facts.brings_scheduler:
        fix = "on a managed cluster nobody can configure it: choose another overlay, which brings a second scheduler"
        yield Judgement(name, Level.WARN, "no pod of it is to be seen, and this overlay is about it", fix)
    else:
        yield Judgement(name, Level.PASS, "not to be seen, as on managed clusters; kubesteer brings a second one")


def _configuration(facts: Facts) -> Iterator[Judgement]:
    for each in facts.findings:
        level = Level.REFUSE if each.severity is Severity.ERROR else Level.WARN
        yield Judgement("scheduler configuration", level, f"{each.path}: {each.reason}", each.fix)
    if not facts.findings and any(each["metadata"]["name"] == "kubesteer-scheduler" for each in facts.things):
        yield Judgement("scheduler configuration", Level.PASS, f"made for 1.{minor_of(facts.server)}, and checked")


def _nodes(facts: Facts) -> Iterator[Judgement]:
    usable = [each for each in facts.nodes if takes_pods(each)]
    wanted = _ETCD_MEMBERS if _has(facts, "StatefulSet", "kubesteer-etcd") else 1
    said = f"{len(usable)} of {len(facts.nodes)} take pods"
    if not usable:
        yield Judgement("nodes", Level.REFUSE, said, "no pod of kubesteer's could run; add a node, or uncordon one")
    elif len(usable) < wanted:
        fix = (
            f"etcd's {wanted} members want {wanted} nodes: two keep a quorum, one does not. On one node: --overlay dev"
        )
        yield Judgement("nodes", Level.WARN if len(usable) > 1 else Level.REFUSE, said, fix)
    else:
        yield Judgement("nodes", Level.PASS, said)


def takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a pod without tolerations may come to it."""
    spec = node.get("spec") or {}
    shut = any(each.get("effect") in {"NoSchedule", "NoExecute"} for each in spec.get("taints") or ())
    return not spec.get("unschedulable") and not shut and condition(node, "Ready") == "True"


def _storage(facts: Facts) -> Iterator[Judgement]:
    claims = [each for each in facts.things if each["kind"] == "PersistentVolumeClaim"]
    claims += [
        claim for each in facts.things if each["kind"] == "StatefulSet"
        for claim in each["spec"].get("volumeClaimTemplates", ())
    ]  # fmt: skip
    classless = [each for each in claims if each["spec"].get("storageClassName") is None]
    if not classless:
        yield Judgement("volumes", Level.PASS, "none that needs a default StorageClass")
        return
    names = [
        each["metadata"]["name"] for each in facts.storage_classes
        if (each["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]  # fmt: skip
    claimed = {each["metadata"]["name"] for each in facts.there if each["kind"] == "PersistentVolumeClaim"}
    if names:
        yield Judgement("volumes", Level.PASS, f"default StorageClass {names[0]}")
    elif any(name.startswith("data-kubesteer-etcd-") for name in claimed):
        yield Judgement("volumes", Level.PASS, f"{len(claimed)} claims are there; no default StorageClass for more")
    else:
        fix = f"mark one: kubectl annotate storageclass NAME {_DEFAULT_CLASS}=true; or use --overlay external-etcd"
        yield Judgement("volumes", Level.REFUSE, "no default StorageClass, and etcd needs volumes", fix)


def _image(facts: Facts) -> Iterator[Judgement]:
    if facts.image.startswith(f"{OWN_IMAGE}:") and len(facts.nodes) > 1:
        fix = "push it to your registry and say --image, unless the image was loaded into every node"
        said = f"{facts.image} is in no registry, and there are {len(facts.nodes)} nodes"
        yield Judgement("image", Level.WARN, said, fix)
    else:
        yield Judgement("image", Level.PASS, facts.image)


def _dry_run(facts: Facts) -> Iterator[Judgement]:
    if not facts.refused:
        yield Judgement("dry run", Level.PASS, "the API server takes every object that it can be asked for now")
        return
    if "conflict" in facts.refused:
        fix = "undo what was changed by hand, or take the fields over with --force-conflicts"
        yield Judgement("dry run", Level.REFUSE, facts.refused, fix)
        return
    yield Judgement("dry run", Level.REFUSE, facts.refused, "the API server says what is in the way")


def _has(facts: Facts, kind: str, name: str) -> bool:
    return any(ref(each).kind == kind and each["metadata"]["name"] == name for each in facts.things)


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
