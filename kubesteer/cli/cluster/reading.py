"""Reads what the checks, the plan and the waiting judge by. Reads only; nothing is decided here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubesteer.cli.cluster.port import Cluster
from kubesteer.deploying.checks import Facts, minor_of
from kubesteer.deploying.leftovers import Found, listable
from kubesteer.deploying.ops_port import ops_port
from kubesteer.deploying.progress import LOOK_KINDS, Look
from kubesteer.deploying.proof import PROOF_NAMESPACE
from kubesteer.deploying.rendering import (
    NAMESPACE,
    PART_OF,
    Target,
    extender_settings,
    finished,
    images_of,
    kustomization,
    scheduler_findings,
)
from kubesteer.deploying.rights import Held, Right, answered, question, to_apply, to_look, to_prove
from kubesteer.model.api_objects import Thing, ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput
from kubesteer.schedulerconfig.service import service_from

SELECTOR = f"{PART_OF}={NAMESPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    overlay: str
    image: str | None
    manifests: Path
    own_version: str
    force_conflicts: bool = False


def find_manifests(given: Path | None) -> Path:
    """The folder with base/ and overlays/. Raises InvalidInput naming where it was looked for."""
    candidates = [given] if given else [Path(__file__).resolve().parents[3] / "manifests", Path("manifests")]
    for folder in candidates:
        # Others call a folder manifests/overlays too.
        if (folder / "overlays").is_dir() and (folder / "base/extender").is_dir():
            return folder
    looked = " and ".join(str(each) for each in candidates)
    raise InvalidInput(
        f"manifests: no overlays/ beside kubesteer's base/extender/ in {looked}; name the folder with --manifests"
    )


class Looks:
    """Listings of a cluster one after the other; faults: what was said of kinds that could not be listed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.faults: list[str] = []

    def items(self, kinds: Sequence[str], **which: str) -> list[Thing]:
        """What could be listed. Raises ClusterUnavailable."""
        found, faults = self._cluster.items(kinds, **which)
        self.faults += [each for each in faults if each not in self.faults]
        return found


def facts(cluster: Cluster, wanted: Wanted) -> Facts:
    """Everything that the checks look at. Raises ClusterUnavailable or InvalidInput."""
    client, server = cluster.client_version(), cluster.server_version()
    things = rendered(cluster, wanted, server)
    settings = extender_settings(things)
    kinds = cluster.kinds()
    looks = Looks(cluster)
    there = [each for each in looks.items(listable(kinds), selector=SELECTOR) if ref(each).namespace != PROOF_NAMESPACE]
    # Not `get`: who may not look is told so by the check of rights.
    namespace = next(iter(looks.items(["namespaces"], fields=f"metadata.name={NAMESPACE}")), None)
    nodes, storage_classes = looks.items(["nodes"]), looks.items(["storageclasses"])
    would_be, refused = _dry_run(cluster, things, namespace is not None, force=wanted.force_conflicts)
    schedulers, _ = cluster.items(["pods"], selector="component=kube-scheduler", namespace="kube-system")
    rights = to_apply(things, kinds) | to_look(kinds, NAMESPACE) | to_prove(NAMESPACE, PROOF_NAMESPACE)
    return Facts(
        kubectl=client,
        server=server,
        overlay=wanted.overlay,
        own_version=wanted.own_version,
        image=images_of(things).get("kubesteer-extender", ""),
        things=things,
        there=there,
        unseen=looks.faults,
        namespace=namespace,
        kinds=kinds,
        held=_held(cluster, rights),
        nodes=nodes,
        storage_classes=storage_classes,
        schedulers=schedulers,
        would_be=would_be,
        refused=refused,
        findings=scheduler_findings(things, minor_of(server)),
        slo_names=[name for name in service_from(settings).resource_names if name.startswith("kubesteer.io/")],
        ops=ops_port(settings),
    )


def rendered(cluster: Cluster, wanted: Wanted, server: str) -> list[Thing]:
    """The objects to apply, for this API server. Raises InvalidInput for an overlay that is not there."""
    overlay = (wanted.manifests / "overlays" / wanted.overlay).resolve()
    if not (overlay / "kustomization.yaml").is_file():
        there = ", ".join(sorted(each.name for each in overlay.parent.iterdir() if each.is_dir()))
        raise InvalidInput(f"overlay {wanted.overlay!r}: not in {overlay.parent}; there are {there}")
    with tempfile.TemporaryDirectory(prefix="kubesteer-deploy-") as folder:
        target = Target(wanted.overlay, wanted.image, server, wanted.own_version)
        # kustomize takes no absolute paths, and follows links before it goes up.
        relative = os.path.relpath(overlay, Path(folder).resolve())
        (Path(folder) / "kustomization.yaml").write_text(kustomization(relative, target), encoding="utf-8")
        return finished(cluster.render(Path(folder)), minor_of(server))


def look(cluster: Cluster, nodes: Sequence[Thing]) -> Look:
    """The namespace now. Raises ClusterUnavailable."""
    things = listed(cluster, (*LOOK_KINDS, "secrets"), namespace=NAMESPACE)
    names = frozenset(each["metadata"]["name"] for each in things if each["kind"] == "Secret")
    return Look([each for each in things if each["kind"] != "Secret"], names, nodes)


def listed(cluster: Cluster, kinds: Sequence[str], **which: str) -> list[Thing]:
    """All objects of these kinds. Raises ClusterUnavailable where any could not be listed."""
    things, faults = cluster.items(kinds, **which)
    if faults:
        raise ClusterUnavailable("; ".join(faults))
    return things


def everything(cluster: Cluster) -> tuple[Found, list[str]]:
    """All that is kubesteer's, and what was said of kinds that could not be listed."""
    kinds = cluster.kinds()
    looks = Looks(cluster)
    labelled = looks.items(listable(kinds), selector=SELECTOR)
    inside: list[Thing] = []
    namespaced = listable(kinds, namespaced_only=True)
    for namespace in (NAMESPACE, PROOF_NAMESPACE):
        if cluster.get("namespace", namespace) is not None:
            inside += looks.items(namespaced, namespace=namespace)
    signing = looks.items(["certificatesigningrequests"])
    found = Found(
        labelled=[each for each in labelled if each["kind"] != "Node"],
        inside=inside,
        nodes=looks.items(["nodes"]),
        signing=[each for each in signing if each["spec"].get("signerName", "").startswith("kubesteer.io/")],
        asking=looks.items(["pods"], fields="spec.schedulerName=kubesteer"),
        volumes=looks.items(["persistentvolumes"]),
    )
    return found, looks.faults


def _held(cluster: Cluster, rights: set[Right]) -> Held:
    asked = sorted(rights)
    return answered(asked, cluster.create([question(each) for each in asked]))


def _dry_run(cluster: Cluster, things: Sequence[Thing], has_namespace: bool, *, force: bool) -> tuple[list[Thing], str]:
    """What the API server would make of them, and what it has against them.

    It cannot say anything of objects in a namespace that is not there yet.
    """
    asked = [each for each in things if has_namespace or each["metadata"].get("namespace") != NAMESPACE]
    try:
        return cluster.apply(asked, dry_run=True, force=force), ""
    except ClusterUnavailable as exc:
        return [], str(exc)
