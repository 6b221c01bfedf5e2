"""Reads what the checks, the plan and the waiting judge by. Reads only; nothing is decided here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubesteer.cli.cluster.port import Cluster
from kubesteer.deploying.changes import Plan, plan
from kubesteer.deploying.checks import Facts, minor_of
from kubesteer.deploying.leftovers import Found, listable
from kubesteer.deploying.progress import LOOK_KINDS, Look
from kubesteer.deploying.proof import PROOF_NAMESPACE
from kubesteer.deploying.rendering import (
    NAMESPACE,
    PART_OF,
    Target,
    finished,
    images_of,
    kustomization,
    scheduler_findings,
)
from kubesteer.deploying.rights import Held, Right, answered, question, to_apply, to_prove
from kubesteer.model.api_objects import Thing, ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput

SELECTOR = f"{PART_OF}={NAMESPACE}"
FIELD_MANAGER = "kubesteer"


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
    candidates = [given] if given else [Path("manifests"), Path(__file__).resolve().parents[3] / "manifests"]
    for folder in candidates:
        if (folder / "overlays").is_dir():
            return folder
    looked = " and ".join(str(each) for each in candidates)
    raise InvalidInput(f"manifests: no overlays/ in {looked}; name the folder with --manifests")


def facts(cluster: Cluster, wanted: Wanted) -> tuple[Facts, Plan]:
    """Everything that the checks look at, and what would change. Raises ClusterUnavailable or InvalidInput."""
    client, server = cluster.client_version(), cluster.server_version()
    things = rendered(cluster, wanted, server)
    kinds = cluster.kinds()
    there, _ = cluster.items(listable(kinds), selector=SELECTOR)
    there = [each for each in there if ref(each).namespace != PROOF_NAMESPACE]
    # Not `get`: who may not look is told so by the check of rights.
    namespace = next(iter(cluster.items(["namespaces"], fields=f"metadata.name={NAMESPACE}")[0]), None)
    nodes, _ = cluster.items(["nodes"])
    would_be, refused = _dry_run(cluster, things, namespace is not None, force=wanted.force_conflicts)
    schedulers, _ = cluster.items(["pods"], selector="component=kube-scheduler", namespace="kube-system")
    found = Facts(
        kubectl=client,
        server=server,
        overlay=wanted.overlay,
        own_version=wanted.own_version,
        image=images_of(things).get("kubesteer-extender", ""),
        things=things,
        there=there,
        namespace=namespace,
        kinds=kinds,
        held=_held(cluster, to_apply(things, kinds) | to_prove(NAMESPACE, PROOF_NAMESPACE)),
        nodes=nodes,
        storage_classes=cluster.items(["storageclasses"])[0],
        schedulers=schedulers,
        refused=refused,
        findings=scheduler_findings(things, minor_of(server)),
    )
    return found, plan(things, there, would_be, field_manager=FIELD_MANAGER)


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
    things, faults = cluster.items((*LOOK_KINDS, "secrets"), namespace=NAMESPACE)
    if faults:
        raise ClusterUnavailable("; ".join(faults))
    names = frozenset(each["metadata"]["name"] for each in things if each["kind"] == "Secret")
    return Look([each for each in things if each["kind"] != "Secret"], names, nodes)


def everything(cluster: Cluster) -> tuple[Found, list[str]]:
    """All that is kubesteer's, and what could not be looked at."""
    kinds = cluster.kinds()
    labelled, faults = cluster.items(listable(kinds), selector=SELECTOR)
    inside: list[Thing] = []
    namespaced = listable(kinds, namespaced_only=True)
    for namespace in (NAMESPACE, PROOF_NAMESPACE):
        if cluster.get("namespace", namespace) is not None:
            inside += cluster.items(namespaced, namespace=namespace)[0]
    signing, _ = cluster.items(["certificatesigningrequests"])
    return (
        Found(
            labelled=[each for each in labelled if each["kind"] != "Node"],
            inside=inside,
            nodes=cluster.items(["nodes"])[0],
            signing=[each for each in signing if each["spec"].get("signerName", "").startswith("kubesteer.io/")],
            asking=cluster.items(["pods"], fields="spec.schedulerName=kubesteer")[0],
            volumes=cluster.items(["persistentvolumes"])[0],
        ),
        faults,
    )


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
