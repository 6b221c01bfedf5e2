"""The objects to apply: the kustomization that names the image, and what a rendering still needs for one cluster.

Text and objects in, text and objects out. Nothing is read from disk or from the cluster here.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kubesteer.deploying.workloads import WORKLOADS, pod_template
from kubesteer.model.api_objects import Thing, minimal
from kubesteer.model.errors import InvalidInput
from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Finding, Severity
from kubesteer.schedulerconfig.making import HALF
from kubesteer.schedulerconfig.minors import NEWEST
from kubesteer.schedulerconfig.score_plugins import default_weights, share_weight
from kubesteer.schedulerconfig.service import service_from

NAMESPACE = "kubesteer"
PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
VERSION = "app.kubernetes.io/version"
OVERLAY = "kubesteer.io/overlay"
SETTINGS_HASH = "kubesteer.io/settings"
"""Annotation of a pod template: pods read their settings when they start, so other settings mean other pods."""
OWN_IMAGE = "localhost/kubesteer"
SCHEDULER_IMAGE = "registry.k8s.io/kube-scheduler"
SCHEDULER_CONFIG = "kubesteer-scheduler"
_OPS_PORT = 8889


def kustomization(folder: str, *, overlay: str, image: str | None, server_version: str, own_version: str) -> str:
    """A kustomization over the overlay in that folder, a path relative to where it is written.

    image: of kubesteer, as NAME:TAG or NAME@DIGEST; None for what the manifests name.
    """
    images = [{"name": SCHEDULER_IMAGE, "newTag": release_of(server_version)}]
    images += [_image(image)] if image is not None else []
    versions = {VERSION: label_value(own_version), OVERLAY: label_value(overlay)}
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [folder],
        "images": images,
        "labels": [{"pairs": versions}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def release_of(server_version: str) -> str:
    """v1.36.3 for v1.36.3-gke.1200 and v1.36.3+k3s1: what Kubernetes itself has released. Raises InvalidInput."""
    found = re.match(r"v?(\d+\.\d+\.\d+)", server_version)
    if found is None:
        raise InvalidInput(f"the API server's version {server_version!r} is not as v1.37.2 is")
    return f"v{found[1]}"


def label_value(text: str) -> str:
    """Text as a label may carry it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:63].strip("._-")


def finished(things: Iterable[Thing], minor: int) -> list[Thing]:
    """The rendered objects with the scheduler's weights for this minor; templates carry a mark of their settings."""
    fitted = [_fitted(each, minor) for each in things]
    maps = {each["metadata"]["name"]: each for each in fitted if each["kind"] == "ConfigMap"}
    return [_marked(each, maps) for each in fitted]


def bare(thing: Thing) -> Thing:
    """As much of it as says whose it is: fields that a later apply may change belong to the one who applies."""
    made = minimal(thing)
    return {**made, "metadata": {**made["metadata"], "labels": {PART_OF: NAMESPACE}}}


def scheduler_findings(things: Sequence[Thing], minor: int) -> list[Finding]:
    """What `kubesteer config check` has against the second scheduler's configuration; none where there is none."""
    documents = dict(_settings(things))
    config = documents.get(SCHEDULER_CONFIG)
    if config is None:
        return []
    found = check(config, minor, service_from(documents.get("kubesteer-extender") or {}))
    return [each for each in found if each.severity is not Severity.NOTE]


@dataclass(frozen=True, slots=True)
class ExtenderAccess:
    """How the extender's ops port is asked, and the resources that it places by.

    tls: it is served by the wire's certificate. asks: metrics and explain want a token.
    """

    port: int
    tls: bool
    asks: bool
    slo_names: tuple[str, ...]


def extender_access(things: Iterable[Thing]) -> ExtenderAccess:
    """As the extender's ConfigMap makes it. Raises InvalidInput for settings that cannot be used."""
    settings = dict(_settings(things)).get("kubesteer-extender") or {}
    ops = settings.get("ops") or {}
    port = ops.get("port", _OPS_PORT)
    if not isinstance(port, int):
        raise InvalidInput(f"ops.port {port!r}: it is no number; write one, such as {_OPS_PORT}")
    names = tuple(name for name in service_from(settings).resource_names if name.startswith("kubesteer.io/"))
    return ExtenderAccess(port, bool(ops.get("tls")), ops.get("auth", "none") != "none", names)


def images_of(things: Iterable[Thing]) -> dict[str, str]:
    """The first container's image of each workload, by the workload's name."""
    return {
        each["metadata"]["name"]: pod_template(each)["spec"]["containers"][0]["image"]
        for each in things
        if each["kind"] in WORKLOADS
    }


def _settings(things: Iterable[Thing]) -> Iterator[tuple[str, Any]]:
    """Name of each ConfigMap that has a file of settings, and what is in it."""
    for each in things:
        if each["kind"] == "ConfigMap" and (data := each.get("data")):
            name = each["metadata"]["name"]
            try:
                yield name, yaml.safe_load(data.get("settings.yaml") or data.get("config.yaml") or "")
            except yaml.YAMLError as exc:
                raise InvalidInput(f"ConfigMap {name}: its settings are no YAML: {' '.join(str(exc).split())}") from exc


def _image(text: str) -> dict[str, str]:
    name, at, digest = text.partition("@")
    if at:
        return {"name": OWN_IMAGE, "newName": name, "digest": digest}
    before, colon, tag = text.rpartition(":")
    if not colon or "/" in tag or not before:
        raise InvalidInput(f"image {text!r}: it names no version; give NAME:TAG or NAME@DIGEST")
    return {"name": OWN_IMAGE, "newName": before, "newTag": tag}


def _fitted(thing: Thing, minor: int) -> Thing:
    """The weight belongs to the minor. One that somebody chose is left as it is."""
    if thing["kind"] != "ConfigMap" or thing["metadata"]["name"] != SCHEDULER_CONFIG:
        return thing
    text = thing["data"]["config.yaml"]
    shipped, wanted = (share_weight(HALF, default_weights(each)) for each in (NEWEST, minor))
    fitted = re.sub(rf"^(\s+weight: ){shipped}$", rf"\g<1>{wanted}", text, flags=re.MULTILINE)
    return {**thing, "data": {**thing["data"], "config.yaml": fitted}}


def _marked(thing: Thing, maps: Mapping[str, Thing]) -> Thing:
    if thing["kind"] not in WORKLOADS:
        return thing
    marked = copy.deepcopy(thing)
    template = pod_template(marked)
    names = [each["configMap"]["name"] for each in template["spec"].get("volumes", ()) if "configMap" in each]
    data = [maps[name].get("data") for name in names if name in maps]
    if data:
        text = json.dumps(data, sort_keys=True).encode()
        annotations = template["metadata"].setdefault("annotations", {})
        annotations[SETTINGS_HASH] = hashlib.sha256(text).hexdigest()[:16]
    return marked
