"""Reads what the checks, the plan and the waiting judge by. Reads only; nothing is decided here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubesteer.cli.cluster.reporter import RunOptions
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying.checks import Facts, minor_of
from kubesteer.deploying.leftovers import Found, listable
from kubesteer.deploying.rendering import (
    NAMESPACE,
    PART_OF,
    finished,
    images_of,
    kustomization,
    scheduler_findings,
)
from kubesteer.deploying.rights import denied, needed, question
from kubesteer.model.api_objects import Thing, ref
from kubesteer.model.errors import ClusterUnavailable, InvalidInput

SELECTOR = f"{PART_OF}={NAMESPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions(RunOptions):
    """What was asked for on the command line."""

    overlay: str
    image: str | None
    manifests: Path
    own_version: str
    force_conflicts: bool = False

    def overlay_folder(self) -> Path:
        """Raises InvalidInput for an overlay that is not there."""
        overlay = (self.manifests / "overlays" / self.overlay).resolve()
        if not (overlay / "kustomization.yaml").is_file():
            there = ", ".join(sorted(each.name for each in overlay.parent.iterdir() if each.is_dir()))
            raise InvalidInput(f"overlay {self.overlay!r}: not in {overlay.parent}; there are {there}")
        return overlay


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


class Listings:
    """Listings of a cluster one after the other; faults: what was said of kinds that could not be listed."""

    def __init__(self, cluster: Kubectl) -> None:
        self._cluster = cluster
        self.faults: list[str] = []

    def items(self, kinds: Sequence[str], **which: str) -> list[Thing]:
        """What could be listed. Raises ClusterUnavailable."""
        found, faults = self._cluster.items(kinds, **which)
        self.faults += [each for each in faults if each not in self.faults]
        return found


def facts(cluster: Kubectl, options: DeployOptions) -> Facts:
    """Everything that the checks look at. Raises ClusterUnavailable or InvalidInput."""
    client, server = cluster.client_version(), cluster.server_version()
    things = _rendered(cluster, options, server)
    kinds = cluster.kinds()
    listings = Listings(cluster)
    there = listings.items(listable(kinds), selector=SELECTOR)
    # Not `get`: who may not look is told so by the check of rights.
    namespace = next(iter(listings.items(["namespaces"], fields=f"metadata.name={NAMESPACE}")), None)
    nodes, storage_classes = listings.items(["nodes"]), listings.items(["storageclasses"])
    refused, diff = _asked(cluster, things, there, options, has_namespace=namespace is not None)
    rights = needed(things, kinds, NAMESPACE)
    return Facts(
        kubectl=client,
        server=server,
        overlay=options.overlay,
        own_version=options.own_version,
        image=images_of(things).get("kubesteer-extender", ""),
        things=things,
        there=there,
        unseen=listings.faults,
        namespace=namespace,
        kinds=kinds,
        denied=denied(rights, cluster.create([question(each) for each in rights])),
        nodes=nodes,
        storage_classes=storage_classes,
        schedulers=cluster.items(["pods"], selector="component=kube-scheduler", namespace="kube-system")[0],
        refused=refused,
        diff=diff,
        findings=scheduler_findings(things, minor_of(server)),
    )


def listed(cluster: Kubectl, kinds: Sequence[str], **which: str) -> list[Thing]:
    """All objects of these kinds. Raises ClusterUnavailable where any could not be listed."""
    things, faults = cluster.items(kinds, **which)
    if faults:
        raise ClusterUnavailable("; ".join(faults))
    return things


def everything(cluster: Kubectl) -> tuple[Found, list[str]]:
    """All that is kubesteer's, and what was said of kinds that could not be listed."""
    kinds, listings = cluster.kinds(), Listings(cluster)
    labelled = listings.items(listable(kinds), selector=SELECTOR)
    is_there = cluster.get("namespace", NAMESPACE) is not None
    signing = listings.items(["certificatesigningrequests"])
    found = Found(
        labelled=[each for each in labelled if each["kind"] != "Node"],
        inside=listings.items(listable(kinds, namespaced_only=True), namespace=NAMESPACE) if is_there else [],
        nodes=listings.items(["nodes"]),
        signing=[each for each in signing if each["spec"].get("signerName", "").startswith("kubesteer.io/")],
        asking=listings.items(["pods"], fields="spec.schedulerName=kubesteer"),
        volumes=listings.items(["persistentvolumes"]),
    )
    return found, listings.faults


def _rendered(cluster: Kubectl, options: DeployOptions, server: str) -> list[Thing]:
    """The objects to apply, for this API server."""
    with tempfile.TemporaryDirectory(prefix="kubesteer-deploy-") as folder:
        # kustomize takes no absolute paths, and follows links before it goes up.
        relative = os.path.relpath(options.overlay_folder(), Path(folder).resolve())
        text = kustomization(
            relative,
            overlay=options.overlay,
            image=options.image,
            server_version=server,
            own_version=options.own_version,
        )
        (Path(folder) / "kustomization.yaml").write_text(text, encoding="utf-8")
        return finished(cluster.render(Path(folder)), minor_of(server))


def _asked(
    cluster: Kubectl, things: Sequence[Thing], there: Sequence[Thing], options: DeployOptions, *, has_namespace: bool
) -> tuple[str, str]:
    """What the API server has against an apply, and what would change of what is there.

    It cannot say anything of objects in a namespace that is not there yet.
    """
    before = {ref(each) for each in there}
    try:
        asked = [each for each in things if has_namespace or each["metadata"].get("namespace") != NAMESPACE]
        cluster.apply(asked, dry_run=True, force=options.force_conflicts)
        known = [each for each in things if ref(each) in before]
        return "", cluster.diff(known) if known else ""
    except ClusterUnavailable as exc:
        return str(exc), ""
