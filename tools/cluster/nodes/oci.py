"""Container images as OCI archives, written from layers on disk. Pure but for the files; no registry, no daemon."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

MEDIA = "application/vnd.oci.image"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name, such as localhost/bed/pause:1, its layers (plain tars, lowest first) and what it runs."""

    name: str
    layers: Sequence[Path]
    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_folder: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)


def write_archive(file: Path, images: Iterable[Image]) -> None:
    """Write an archive that `ctr images import` reads. A layer that several images share is in it once."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    written: set[str] = set()
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        manifests = [_write_image(archive, image, written) for image in images]
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": manifests}
        _add(archive, "index.json", json.dumps(index).encode())
    unfinished.rename(file)


def write_layer(file: Path, entries: Mapping[str, Path]) -> None:
    """Write a layer: path in the image to a file or folder here, all of it root's and readable by everyone.

    Times are 0, so that the same files make the same layer.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as layer:
        for inside, source in sorted(entries.items()):
            layer.add(source, arcname=inside.strip("/") or ".", filter=_anonymous)
    unfinished.rename(file)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name.split("/"):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _write_image(archive: tarfile.TarFile, image: Image, written: set[str]) -> dict[str, Any]:
    layers = [_add_blob(archive, layer, written) for layer in image.layers]
    settings: dict[str, Any] = {
        "Env": [PATH, *(f"{name}={value}" for name, value in image.environment.items())],
        "WorkingDir": image.working_folder,
        "User": image.user,
        "Labels": dict(image.labels),
    }
    if image.entrypoint:
        settings["Entrypoint"] = list(image.entrypoint)
    here = {"architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux"}
    configuration = {
        **here,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        # buildah refuses an image whose layers have none.
        "history": [{"created_by": "bed"} for _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _add_json(archive, f"{MEDIA}.config.v1+json", configuration, written),
        "layers": layers,
    }
    described = _add_json(archive, f"{MEDIA}.manifest.v1+json", manifest, written)
    # The first is what containerd reads, the second what buildah and podman do.
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
    return {**described, "platform": here, "annotations": names}


def _add_json(archive: tarfile.TarFile, media_type: str, value: Any, written: set[str]) -> dict[str, Any]:
    content = json.dumps(value, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    if digest not in written:
        written.add(digest)
        _add(archive, f"blobs/sha256/{digest}", content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add_blob(archive: tarfile.TarFile, layer: Path, written: set[str]) -> dict[str, Any]:
    with layer.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest not in written:
        written.add(digest)
        archive.add(layer, arcname=f"blobs/sha256/{digest}")
    return {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": f"sha256:{digest}", "size": layer.stat().st_size}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
