"""Build the test bed's binaries from Go modules, once, into a cache outside the checkout.

A cache folder is named after a hash of all that its binaries depend on, so a change builds anew and everything
else is found in no time. Nothing is started here.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .bundles import ALWAYS, CONTROL_PLANE, EVERYTHING, Bundle, Program
from .toolchain import find_go

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROGRESS_EVERY_S = 20.0


class BuildError(Exception):
    """The Go compiler or linker failed; the text has its last lines."""


class NotBuiltError(Exception):
    """A binary was asked for that is not in the cache."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each bundle's folder is, by the bundle's name. A folder may still lack what was never built."""

    cache: Path
    folders: Mapping[str, Path]

    def path(self, program: str, *, bundle: str = CONTROL_PLANE.name) -> Path:
        """Return a binary's path, or raise `NotBuiltError` with the command that builds it."""
        return self._existing(self.folders[bundle] / "bin" / program, bundle)

    def files(self, bundle: Bundle) -> list[Path]:
        """Those that the bundle keeps of a module's source: KWOK's Stages, cert-manager's definitions of kinds."""
        folder = self.folders[bundle.name] / "files"
        return [self._existing(folder / Path(file).name, bundle.name) for file in bundle.files]

    def has(self, bundle: Bundle) -> bool:
        return all((self.folders[bundle.name] / "bin" / program.name).exists() for program in bundle.programs)

    def _existing(self, path: Path, bundle: str) -> Path:
        if not path.exists():
            raise NotBuiltError(f"{path.name}: not built; run `python -m tools.cluster build {bundle}` first")
        return path


def cache_folder(environment: Mapping[str, str]) -> Path:
    """KUBESTEER_CACHE, else `kubesteer` in the user's cache folder."""
    if own := environment.get("KUBESTEER_CACHE"):
        return Path(own)
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubesteer"


def find(cache: Path) -> Binaries:
    """Tell where the binaries of this checkout are or would be. Builds nothing."""
    go = find_go(cache, CONTROL_PLANE.module)
    return Binaries(cache, {bundle.name: _folder(cache, bundle, go) for bundle in EVERYTHING})


def build(cache: Path, bundles: Sequence[Bundle] = ALWAYS) -> Binaries:
    """Build what is missing of `bundles`, one builder at a time, and say on standard output what takes how long."""
    binaries = find(cache)
    for bundle in bundles:
        if not binaries.has(bundle):
            with one_at_a_time(cache / "build.lock"):
                _build_bundle(bundle, binaries.folders[bundle.name], find_go(cache, bundle.module))
        print(f"{bundle.name}: built: {binaries.folders[bundle.name] / 'bin'}", flush=True)
    return binaries


def _folder(cache: Path, bundle: Bundle, go: Path) -> Path:
    environment = _go(go, bundle.module, "env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED", "GOFLAGS")
    return cache / "cluster" / f"{bundle.name}-{bundle.fingerprint(environment)}"


def _build_bundle(bundle: Bundle, folder: Path, go: Path) -> None:
    binaries = folder / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    if bundle.files and not (folder / "files").exists():
        _copy_files(bundle, folder, _go(go, bundle.module, "mod", "download", "-json", bundle.files_of))
    for program in bundle.programs:
        if not (binaries / program.name).exists():
            _compile(bundle, program, binaries, go)


def _compile(bundle: Bundle, program: Program, binaries: Path, go: Path) -> None:
    version = f" {bundle.kubernetes_version}" if program.package.startswith("k8s.io/kubernetes/") else ""
    print(f"building {program.name}{version}: the first time about {program.cold_minutes:g} min on 2 cores", flush=True)
    unfinished = binaries / f".{program.name}.unfinished"
    command = [str(go), "build", "-v", *bundle.build_flags, "-o", str(unfinished), program.package]
    started_s = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=bundle.module,
        env={**os.environ, **bundle.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            tail = _report(process, program.name, started_s)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise BuildError(f"{program.name}: go build failed in {bundle.module}:\n" + "".join(tail))
    unfinished.rename(binaries / program.name)
    print(f"  {program.name}: done after {time.monotonic() - started_s:.0f} s", flush=True)


def _report(process: subprocess.Popen[str], name: str, started_s: float) -> Sequence[str]:
    """Print how far the compiler is until it ends; return its last lines. It names each package that it compiles."""
    tail: deque[str] = deque(maxlen=20)
    compiled = 0

    def read() -> None:
        nonlocal compiled
        for line in process.stderr or ():
            compiled += 1
            tail.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(PROGRESS_EVERY_S)
        if reader.is_alive():
            print(f"  {name}: {time.monotonic() - started_s:.0f} s, {compiled} packages compiled", flush=True)
    process.wait()
    return tail


def _copy_files(bundle: Bundle, folder: Path, download: str) -> None:
    """Take the files that the bundle names from their source; `download` is what `go mod download -json` told of it."""
    source = Path(json.loads(download)["Dir"])
    unfinished = folder / ".files.unfinished"
    unfinished.mkdir(exist_ok=True)
    for file in bundle.files:
        shutil.copyfile(source / file, unfinished / Path(file).name)
    unfinished.rename(folder / "files")


def _go(go: Path, module: Path, *arguments: str) -> str:
    result = subprocess.run([go, *arguments], cwd=module, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"go {' '.join(arguments)} failed in {module}: {result.stderr.strip()}")
    return result.stdout


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file; say so where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another builder (lock: {path})", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
