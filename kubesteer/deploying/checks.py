"""What is looked at before a deployment: each check is a judgement over what was read; all are shown at once."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.rendering import NAMESPACE, OVERLAY, OWN_IMAGE, PART_OF, VERSION
from kubesteer.deploying.rights import GRANTING, Right
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
_MEMBER_CLAIM = re.compile(r"data-kubesteer-etcd-(\d+)")
_EXTENDER = ("Deployment", "kubesteer-extender")


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


def _pass(name: str, said: str) -> Judgement:
    return Judgement(name, Level.PASS, said)


def _warn(name: str, said: str, fix: str) -> Judgement:
    return Judgement(name, Level.WARN, said, fix)


def _refuse(name: str, said: str, fix: str) -> Judgement:
    return Judgement(name, Level.REFUSE, said, fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read of the cluster, before anything is changed.

    things: what is to be applied. there: everything that carries kubesteer's label already.
    unseen: what was said of kinds that could not be listed; what is there is not known then.
    denied: rights that the user does not have. refused: what the API server said against a dry run. diff: what an apply
    would change of what is there. schedulers: the cluster's own kube-scheduler pods, as far as they can be seen.
    """

    kubectl: str
    server: str
    overlay: str
    own_version: str
    image: str
    things: Sequence[Thing] = ()
    there: Sequence[Thing] = ()
    unseen: Sequence[str] = ()
    namespace: Thing | None = None
    kinds: Sequence[ApiKind] = ()
    denied: Sequence[Right] = ()
    nodes: Sequence[Thing] = ()
    storage_classes: Sequence[Thing] = ()
    schedulers: Sequence[Thing] = ()
    refused: str = ""
    diff: str = ""
    findings: Sequence[Finding] = ()

    def has(self, kind: str, name: str) -> bool:
        """Whether that object is to be applied."""
        return any(each["kind"] == kind and each["metadata"]["name"] == name for each in self.things)

    @property
    def etcd_members(self) -> int:
        """How many etcd is to have; 0 where this brings none."""
        return sum(each["spec"]["replicas"] for each in self.things if _is_etcd(each))

    @property
    def brings_scheduler(self) -> bool:
        """A second one; else kubesteer is for the cluster's own."""
        return self.has("Deployment", "kubesteer-scheduler")


def judgements(facts: Facts) -> list[Judgement]:
    """Every check's, in the order in which they are best read."""
    of_cluster = [_kubectl(facts), _version(facts), *_rights(facts), *_seen(facts), _there(facts), _kinds(facts)]
    of_scheduler = [_scheduler(facts), *_configuration(facts)]
    of_etcd = [*_members(facts), _storage(facts)]
    return [*of_cluster, *of_scheduler, _nodes(facts), *of_etcd, _image(facts), _dry_run(facts)]


def may_go_on(found: Sequence[Judgement]) -> bool:
    """Nothing refuses."""
    return all(each.level is not Level.REFUSE for each in found)


def minor_of(version: str) -> int:
    """37 for v1.37.2, of a version as Kubernetes' programs tell it. Raises InvalidInput."""
    found = re.match(r"v?1\.(\d+)", version)
    if found is None:
        raise InvalidInput(f"version {version!r}: it is not as Kubernetes' are, such as v1.37.2")
    return int(found[1])


def _kubectl(facts: Facts) -> Judgement:
    try:
        minor, server = minor_of(facts.kubectl), minor_of(facts.server)
    except InvalidInput:
        return _warn("kubectl", f"version {facts.kubectl}", "its version cannot be compared")
    if minor < OLDEST_KUBECTL:
        fix = f"install 1.{OLDEST_KUBECTL} or newer, best of the cluster's own minor"
        return _refuse("kubectl", f"version {facts.kubectl} is too old", fix)
    if abs(minor - server) > 1:
        said = f"version {facts.kubectl}: kubectl and API server {facts.server} are more than one minor apart"
        return _warn("kubectl", said, "Kubernetes supports one minor; all that is used here is older")
    return _pass("kubectl", f"version {facts.kubectl}")


def _version(facts: Facts) -> Judgement:
    minor = minor_of(facts.server)
    if minor < OLDEST_SERVER:
        fix = f"kubesteer needs 1.{OLDEST_SERVER} or newer; upgrade the cluster"
        return _refuse("Kubernetes", f"version {facts.server}", fix)
    if minor > NEWEST:
        said = f"version {facts.server} is newer than 1.{NEWEST}, the newest that kubesteer was tested with"
        return _warn("Kubernetes", said, "look for a newer kubesteer")
    return _pass("Kubernetes", f"version {facts.server}")


def _rights(facts: Facts) -> Iterator[Judgement]:
    granting = [str(each) for each in facts.denied if each.verb in GRANTING]
    plain = [str(each) for each in facts.denied if each.verb not in GRANTING]
    if plain:
        fix = "have an administrator run this, or grant them to you"
        yield _refuse("rights", f"you may not: {_listed(plain)}", fix)
    if granting:
        said = f"you may not {_listed(granting)}, so you can grant only what you hold yourself"
        fix = "nothing, where the dry run below passes; else have an administrator run this"
        yield _warn("rights", said, fix)
    if not facts.denied:
        yield _pass("rights", "all that are needed")


def _seen(facts: Facts) -> Iterator[Judgement]:
    if facts.unseen:
        fix = "run this again; where it is forbidden, have an administrator run it, or grant you to list every kind"
        yield _refuse("reading", f"could not be listed: {_listed(facts.unseen)}", fix)


def _there(facts: Facts) -> Judgement:
    name = "already there"
    if release := helm_release(facts.there):
        fix = f"go on with `helm upgrade`, or `{release[1]}` first"
        return _refuse(name, f"kubesteer of the Helm release {release[0]}", fix)
    if facts.namespace is not None and labels(facts.namespace).get(PART_OF) != NAMESPACE:
        fix = f"whose is it? kubesteer's carries the label {PART_OF}={NAMESPACE}; give it that, or rename yours"
        return _refuse(name, f"a namespace {NAMESPACE} that is not kubesteer's", fix)
    if facts.namespace is not None and "deletionTimestamp" in facts.namespace["metadata"]:
        fix = "wait until it is gone: kubectl wait --for=delete namespace/kubesteer"
        return _refuse(name, f"the namespace {NAMESPACE} is being deleted", fix)
    extenders = [labels(each) for each in facts.there if (each["kind"], ref(each).name) == _EXTENDER]
    if not extenders:
        return _pass(name, "nothing of kubesteer's")
    version, overlay = extenders[0].get(VERSION, ""), extenders[0].get(OVERLAY, "")
    if overlay not in {"", facts.overlay}:
        said = f"kubesteer {version} of the overlay {overlay}; this is {facts.overlay}"
        fix = "what only the other one has is deleted; volumes stay. `kubesteer undeploy` first for a clean start"
        return _warn(name, said, fix)
    what = "the same version" if version == facts.own_version else f"this is {facts.own_version}"
    return _pass(name, f"kubesteer {version or 'applied by hand'}; {what}")


def helm_release(there: Iterable[Thing]) -> tuple[str, str] | None:
    """Name of the first Helm release to which objects of kubesteer's belong, and the command that takes it away."""
    notes = [each["metadata"].get("annotations") or {} for each in there]
    found = sorted((each[_HELM_RELEASE], each.get(_HELM_NAMESPACE, "")) for each in notes if _HELM_RELEASE in each)
    for name, namespace in found:
        return name, f"helm uninstall {name}" + (f" --namespace {namespace}" if namespace else "")
    return None


def _kinds(facts: Facts) -> Judgement:
    served = {(each.group, each.kind) for each in facts.kinds}
    missing = sorted({(group(each), each["kind"]) for each in facts.things} - served)
    if missing:
        names = _listed([f"{kind}.{of}" for of, kind in missing])
        who = {"cert-manager.io": "cert-manager", "monitoring.coreos.com": "the Prometheus operator"}
        needed = sorted({who.get(of, of) for of, _ in missing})
        fix = f"install {' and '.join(needed)}, or choose an overlay without"
        return _refuse("kinds", f"the API server does not know {names}", fix)
    return _pass("kinds", f"the API server knows all {len({each['kind'] for each in facts.things})}")


def _scheduler(facts: Facts) -> Judgement:
    name = "the cluster's scheduler"
    if facts.schedulers:
        images = sorted({each["spec"]["containers"][0]["image"].rpartition("/")[2] for each in facts.schedulers})
        return _pass(name, f"{len(facts.schedulers)} pods to be seen, {', '.join(images)}")
    if not facts.brings_scheduler:
        fix = "on a managed cluster nobody can configure it: choose another overlay, which brings a second scheduler"
        return _warn(name, "no pod of it is to be seen, and this overlay is about it", fix)
    return _pass(name, "not to be seen, as on managed clusters; kubesteer brings a second one")


def _configuration(facts: Facts) -> Iterator[Judgement]:
    for each in facts.findings:
        level = Level.REFUSE if each.severity is Severity.ERROR else Level.WARN
        yield Judgement("scheduler configuration", level, f"{each.path}: {each.reason}", each.fix)
    if not facts.findings and facts.brings_scheduler:
        yield _pass("scheduler configuration", f"made for 1.{minor_of(facts.server)}, and checked")


def _nodes(facts: Facts) -> Judgement:
    usable = [each for each in facts.nodes if takes_pods(each)]
    wanted = max(facts.etcd_members, 1)
    said = f"{len(usable)} of {len(facts.nodes)} take pods"
    if not usable:
        return _refuse("nodes", said, "no pod of kubesteer's could run; add a node, or uncordon one")
    if len(usable) < wanted:
        fix = f"etcd's {wanted} members want {wanted} nodes: two keep a quorum, one does not; or --overlay self-signed"
        return Judgement("nodes", Level.WARN if len(usable) > 1 else Level.REFUSE, said, fix)
    return _pass("nodes", said)


def takes_pods(node: Mapping[str, Any]) -> bool:
    """Whether a pod without tolerations may come to it."""
    spec = node.get("spec") or {}
    shut = any(each.get("effect") in {"NoSchedule", "NoExecute"} for each in spec.get("taints") or ())
    return not spec.get("unschedulable") and not shut and condition(node, "Ready") == "True"


def _is_etcd(thing: Thing) -> bool:
    return (thing["kind"], thing["metadata"]["name"]) == ("StatefulSet", "kubesteer-etcd")


def _members(facts: Facts) -> Iterator[Judgement]:
    """The members keep among their data how many they are: another number of pods would have no quorum, or two."""
    volumes = [each["metadata"]["name"] for each in facts.there if each["kind"] == "PersistentVolumeClaim"]
    kept = len([each for each in volumes if _MEMBER_CLAIM.fullmatch(each)])
    there = next((each["spec"]["replicas"] for each in facts.there if _is_etcd(each)), kept)
    if there and facts.etcd_members and there != facts.etcd_members:
        said = f"{there} members are there, and this overlay has {facts.etcd_members}"
        other = "three-etcd-members" if there > 1 else "self-signed"
        fix = f"keep them (--overlay {other}), or go by docs/operations.md, `Another number of members of etcd`"
        yield _refuse("etcd", said, fix)


def _storage(facts: Facts) -> Judgement:
    claims = [each for each in facts.things if each["kind"] == "PersistentVolumeClaim"]
    claims += [
        claim for each in facts.things if each["kind"] == "StatefulSet"
        for claim in each["spec"].get("volumeClaimTemplates", ())
    ]  # fmt: skip
    classless = [each for each in claims if each["spec"].get("storageClassName") is None]
    if not classless:
        return _pass("volumes", "none that needs a default StorageClass")
    names = [
        each["metadata"]["name"] for each in facts.storage_classes
        if (each["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]  # fmt: skip
    claimed = {each["metadata"]["name"] for each in facts.there if each["kind"] == "PersistentVolumeClaim"}
    if names:
        return _pass("volumes", f"default StorageClass {names[0]}")
    if any(name.startswith("data-kubesteer-etcd-") for name in claimed):
        return _pass("volumes", f"{len(claimed)} claims are there; no default StorageClass for more")
    fix = f"mark one: kubectl annotate storageclass NAME {_DEFAULT_CLASS}=true; or use --overlay external-etcd"
    return _refuse("volumes", "no default StorageClass, and etcd needs volumes", fix)


def _image(facts: Facts) -> Judgement:
    if facts.image.startswith(f"{OWN_IMAGE}:") and len(facts.nodes) > 1:
        fix = "push it to your registry and say --image, unless the image was loaded into every node"
        said = f"{facts.image} is in no registry, and there are {len(facts.nodes)} nodes"
        return _warn("image", said, fix)
    return _pass("image", facts.image)


def _dry_run(facts: Facts) -> Judgement:
    if not facts.refused:
        return _pass("dry run", "the API server takes every object that it can be asked for now")
    by_hand = "undo what was changed by hand, or take the fields over with --force-conflicts"
    fix = by_hand if "conflict" in facts.refused else "the API server says what is in the way"
    return _refuse("dry run", facts.refused, fix)


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
