"""Images of programs built here that run in pods: CoreDNS, etcd and the scheduler, under their registries' names.

Manifests that name them run unmodified. Each has its program and what that is linked with, no shell and no more.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundles import CONTROL_PLANE, IN_PODS
from .oci import Image, write_archive, write_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..build import Binaries

COREDNS = f"registry.k8s.io/coredns/coredns:v{IN_PODS.version_of('github.com/coredns/coredns')}"
ETCD = f"quay.io/coreos/etcd:v{IN_PODS.version_of('go.etcd.io/etcd/server/v3')}"
SCHEDULER = f"registry.k8s.io/kube-scheduler:v{CONTROL_PLANE.kubernetes_version}"


def pod_archive(cache: Path, binaries: Binaries) -> Path:
    """The archive with COREDNS, ETCD and SCHEDULER, cached by what it is made of."""
    scheduler = binaries.path("kube-scheduler")
    etcd = {
        f"usr/local/bin/{name}": binaries.path(name, bundle=IN_PODS.name) for name in ("etcd", "etcdctl", "etcdutl")
    }
    contents: Mapping[str, dict[str, Path]] = {
        COREDNS: {"coredns": binaries.path("coredns", bundle=IN_PODS.name)},
        ETCD: etcd,
        SCHEDULER: {"usr/local/bin/kube-scheduler": scheduler, **linked(scheduler)},
    }
    built = "".join(str(source) for entries in contents.values() for source in entries.values())
    file = cache / "images" / f"pods-{hashlib.sha256(built.encode()).hexdigest()[:16]}.oci.tar"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        images = []
        for number, (name, entries) in enumerate(contents.items()):
            layer = file.with_name(f"{file.name}.layer-{number}")
            write_layer(layer, entries)
            images.append(Image(name, [layer], entrypoint=["/coredns"] if name == COREDNS else ()))
        write_archive(file, images)
        for image in images:
            Path(image.layers[0]).unlink()
    return file


def linked(program: Path) -> dict[str, Path]:
    """The libraries that a program needs beside it, by their place in the image; none of a static one's."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    paths = re.findall(r"(/\S+) \(0x", result.stdout)
    return {path.lstrip("/"): Path(path).resolve() for path in paths}
