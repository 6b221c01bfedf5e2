"""`make image`: build kubesteer's image with buildah or podman, also where no base image can be pulled.

Then Debian's own tools make both bases. `archive` gives the test bed the image as a file, built anew when its content is.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from .cluster.build import cache_folder, one_at_a_time
from .cluster.nodes.images import CONTENT, ImageError, base_layer
from .cluster.nodes.oci import Image, write_archive
from .cluster.nodes.packages import PackagesError, install

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
CONTENTS = ("Containerfile", "requirements.lock", "pyproject.toml", "kubesteer", "extender", "monitor_agent")
BASE, BUILD_BASE = "localhost/bed/base:1", "localhost/bed/build-base:1"
BED_NAME = "localhost/bed/kubesteer:1"
"""What the test bed builds is called here; in its archive it has the image's own name."""
BUILDERS = ("buildah", "podman")
KEPT = 3
"""Archives in the cache, 110 MB each."""
BUILD_CONTENT = ("python3", "python3-pip", "libpython3-dev", "gcc", "libc6-dev")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PULL_WITHIN_S = 60.0
EXAMPLES = """\
examples:
  python -m tools.image                                      localhost/kubesteer, from the base that the Containerfile names
  python -m tools.image --name registry.example/kubesteer:1  another name, to push it
  python -m tools.image --base local                         bases made here, by debootstrap as root
  python -m tools.image --archive image.tar                  also as an OCI archive
  python -m tools.image --cached                             for the test bed: prints where the archive is
"""


def main() -> int:
    arguments = parser().parse_args()
    cache = cache_folder(os.environ)
    try:
        if arguments.cached:
            # Progress on standard error: what is printed is the path alone.
            with contextlib.redirect_stdout(sys.stderr):
                file = archive(cache)
            print(file)
            return 0
        if arguments.base == "local" or (arguments.base is None and not all(map(can_pull, containerfile_bases()))):
            print("base: a root file system that debootstrap makes here", flush=True)
            build(arguments.name, local_bases(cache))
        else:
            given = {"BASE": arguments.base, "BUILD_BASE": arguments.build_base}
            build(arguments.name, [f"--build-arg={name}={base}" for name, base in given.items() if base])
        if arguments.archive is not None:
            push(arguments.name, arguments.archive)
    except (ImageError, PackagesError, OSError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(f"built {arguments.name}{f'; archive: {arguments.archive}' if arguments.archive else ''}")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tools.image",
        description="Build kubesteer's image.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--name", default=default_name(), help="of the image (default: %(default)s)")
    top.add_argument("--base", help="base image, or `local` (default: the Containerfile's, or local without it)")
    top.add_argument("--build-base", help="what it is built on, with the same Python (default: the Containerfile's)")
    top.add_argument("--archive", type=Path, metavar="FILE", help="write the image there too, as an OCI archive")
    top.add_argument(
        "--cached", action="store_true", help="build from local bases what is not in the cache; print its archive"
    )
    return top


def default_name() -> str:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"localhost/kubesteer:{version}"


def archive(cache: Path) -> Path:
    """The image from local bases as an OCI archive under its default name, built when it is not in the cache."""
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder / "kubesteer.lock"):
        file = folder / f"kubesteer-{content_key()}.oci.tar"
        if not file.exists():
            build(BED_NAME, local_bases(cache))
            unfinished = folder / ".kubesteer.unfinished"
            unfinished.unlink(missing_ok=True)
            push(BED_NAME, unfinished, named=default_name())
            unfinished.rename(file)
            by_age = sorted(folder.glob("kubesteer-*.oci.tar"), key=lambda each: each.stat().st_mtime)
            for old in by_age[:-KEPT]:
                old.unlink()
    return file


def content_key(root: Path = ROOT) -> str:
    """A hash of all that the image is made of, beside its bases."""
    digest = hashlib.sha256(repr((CONTENT, BUILD_CONTENT)).encode())
    for name in CONTENTS:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so":
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def build(name: str, arguments: Sequence[str]) -> None:
    """Build the Containerfile under that name. Raises ImageError with the end of what the builder said."""
    print(f"building {name}: the first time about 1 min ...", flush=True)
    _run(
        *(builder(), "build", "--isolation", "chroot", "--layers", "--timestamp", "0"),
        *("--file", str(ROOT / "Containerfile"), "--tag", name, *arguments, str(ROOT)),
    )


def push(name: str, file: Path, *, named: str = "") -> None:
    """Write an image as an OCI archive, under another name where one is given."""
    _run(builder(), "push", "--quiet", name, f"oci-archive:{file}:{named or name}")


def can_pull(base: str) -> bool:
    """Whether the base is here, or a registry gives it in time."""
    print(f"base: {base}", flush=True)
    command = [builder(), "pull", "--quiet", "--policy", "missing", base]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=PULL_WITHIN_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def containerfile_bases() -> list[str]:
    return re.findall(r"^ARG (?:BUILD_)?BASE=(\S+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)


def local_bases(cache: Path) -> list[str]:
    """Make both bases of Debian's packages, where they are not there yet; return the builder's arguments that name them.

    pip reaches its index as this machine does: by the authorities that this machine trusts.
    """
    arguments = []
    for argument, name, content in (("BASE", BASE, CONTENT), ("BUILD_BASE", BUILD_BASE, BUILD_CONTENT)):
        _make_base(cache, name, content)
        arguments += ["--build-arg", f"{argument}={name}"]
    if CERTIFICATES.exists():
        arguments += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    if index := os.environ.get("PIP_INDEX_URL"):
        arguments += ["--build-arg", f"PIP_INDEX_URL={index}"]
    return arguments


def builder() -> str:
    """buildah, else podman; installed where this is root and neither is there. Raises ImageError."""
    if not has_builder():
        install({"buildah": "buildah"})
    found = next((program for program in BUILDERS if shutil.which(program)), None)
    if found is None:
        raise ImageError(
            "neither buildah nor podman is on PATH; install one of them: `apt-get install buildah` on Debian and Ubuntu,"
            " `dnf install buildah` on Fedora"
        )
    return found


def has_builder() -> bool:
    return any(map(shutil.which, BUILDERS))


def _make_base(cache: Path, name: str, content: Sequence[str]) -> None:
    layer = base_layer(cache, content)
    label = layer.stem
    known = subprocess.run(
        [builder(), "images", "--quiet", "--filter", f"label=layer={label}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    if known.returncode == 0 and known.stdout.strip():
        return
    file = layer.with_name(f"{layer.stem}.oci.tar")
    write_archive(file, [Image(name, [layer], labels={"layer": label})])
    try:
        _run(builder(), "pull", "--quiet", f"oci-archive:{file}:{name}")
    finally:
        file.unlink()


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        end = (result.stderr or result.stdout).strip()[-2000:]
        raise ImageError(f"{' '.join(command[:2])} ended with {result.returncode}: {end}")


if __name__ == "__main__":
    sys.exit(main())
