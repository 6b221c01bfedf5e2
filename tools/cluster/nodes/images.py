"""The images that every real node has, and the layers that a test's own images stand on.

Everything is made once and cached by a hash of what it is made of. What is written into an archive is oci.py's business.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .oci import Image, write_archive, write_layer
from .packages import install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..build import Binaries

PAUSE = "localhost/bed/pause:1"
PYTHON = "localhost/bed/python:1"
"""Debian with a shell, Python and iperf3."""
SUITE = "bookworm"
PYTHON_VERSION = "3.11"
"""Of that suite."""
CONTENT = ("python3", "iperf3")
LEFT_OUT = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
)
SITE_PACKAGES = "opt/site-packages"


class ImageError(Exception):
    """A root file system could not be made; the text says why."""


def node_archive(cache: Path, binaries: Binaries) -> Path:
    """The archive with PAUSE and PYTHON."""
    pause = binaries.path("pause", bundle="containerd")
    base = base_layer(cache)
    file = _folder(cache) / f"node-{_key(base.name, pause.read_bytes())}.oci.tar"
    if not file.exists():
        layer = _folder(cache) / f"pause-{_key(pause.read_bytes())}.tar"
        write_layer(layer, {"pause": pause})
        write_archive(file, [Image(PAUSE, [layer], entrypoint=["/pause"]), Image(PYTHON, [base])])
    return file


def base_layer(cache: Path, content: Sequence[str] = CONTENT) -> Path:
    """Debian with these packages, as a layer; about 40 s the first time."""
    file = _folder(cache) / f"debian-{_key(SUITE, *content, *LEFT_OUT)}.tar"
    if file.exists():
        return file
    _require_debootstrap()
    print(f"making a root file system of {SUITE} with debootstrap: the first time about 40 s", flush=True)
    with tempfile.TemporaryDirectory(dir=_folder(cache)) as folder:
        root = Path(folder) / "root"
        _run("debootstrap", "--variant=minbase", f"--include={','.join(content)}", SUITE, str(root))
        for path in LEFT_OUT:
            shutil.rmtree(root / path, ignore_errors=True)
        # tar and not write_layer: owners and modes are part of a root file system.
        _run(
            "tar",
            "--create",
            "--one-file-system",
            "--numeric-owner",
            f"--file={folder}/tar",
            f"--directory={root}",
            ".",
        )
        Path(folder, "tar").rename(file)
    return file


def _require_debootstrap() -> None:
    """Installed where this is root and there is apt-get. Raises ImageError that says what to do."""
    install({"debootstrap": "debootstrap", "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"})
    instead = "or give an image with Python 3.11 that a registry here has: make image BASE=REGISTRY/python:3.11-slim"
    if shutil.which("debootstrap") is None:
        raise ImageError(f"debootstrap, which makes the base, is not on PATH; `apt-get install debootstrap`, {instead}")
    if os.geteuid() != 0:
        raise ImageError(f"debootstrap, which makes the base, works for root alone; run this as root, {instead}")


def site_packages_layer(cache: Path, requirements: Path) -> Path:
    """Wheels of a hashed requirements file under /opt/site-packages, for the base layer's Python; cached."""
    file = _folder(cache) / f"site-packages-{_key(PYTHON_VERSION, requirements.read_bytes())}.tar"
    if file.exists():
        return file
    print(f"installing {requirements.name} into an image layer ...", flush=True)
    uv = shutil.which("uv") or str(Path(sys.prefix).parent / ".tools" / "bin" / "uv")
    with tempfile.TemporaryDirectory(dir=_folder(cache)) as folder:
        _run(
            *(uv, "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--no-compile-bytecode"),
            *("--python", sys.executable, "--python-version", PYTHON_VERSION),
            *("--target", folder, "--requirement", str(requirements)),
        )
        write_layer(file, {SITE_PACKAGES: Path(folder)})
    return file


def _folder(cache: Path) -> Path:
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return digest.hexdigest()[:16]


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        end = (result.stderr or result.stdout).strip()[-2000:]
        raise ImageError(f"{command[0]} ended with {result.returncode}: {end}")
