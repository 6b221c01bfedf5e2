"""What real nodes need of the machine: Debian packages, root and cgroups. Nothing of a node is started here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .cgroups import hierarchies

if TYPE_CHECKING:
    from collections.abc import Mapping

CNI_PLUGINS = Path("/usr/lib/cni")
NEEDED = {
    "/usr/sbin/runc": "runc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    str(CNI_PLUGINS / "bandwidth"): "containernetworking-plugins",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/debootstrap": "debootstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
"""File, or program on PATH, to the Debian package that has it."""


ALSO = {"prometheus": "prometheus", "ethtool": "ethtool", "buildah": "buildah", "/usr/sbin/haproxy": "haproxy"}
"""What tests/network_probes and tests/availability use where it is there, and what builds images; no node needs it."""


class PackagesError(Exception):
    """The packages were not installed; the text says why."""


def missing(needed: Mapping[str, str] = NEEDED) -> list[str]:
    """The packages that have to be installed first."""
    return sorted(
        {package for program, package in needed.items() if shutil.which(program) is None and not _is_file(program)}
    )


def why_not() -> str | None:
    """Why this machine cannot run real nodes, in one line; None where it can."""
    if os.geteuid() != 0:
        return "real nodes need root: namespaces, mounts and cgroups are made"
    if not hierarchies():
        return "real nodes need cgroup v1 with memory, cpu and pids mounted under /sys/fs/cgroup"
    if packages := missing():
        return f"real nodes need {', '.join(packages)}: run `python -m tools.cluster nodes`"
    return None


def install(needed: Mapping[str, str] = {**NEEDED, **ALSO}) -> None:
    """Install what is missing with apt-get, where this is root and there is one, and say so. Raises PackagesError."""
    packages = missing(needed)
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing {', '.join(packages)} with apt-get ...", flush=True)
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        result = subprocess.run(
            ["apt-get", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise PackagesError(f"apt-get {command[0]} failed: {result.stderr.strip() or result.stdout.strip()}")


def _is_file(program: str) -> bool:
    return program.startswith("/") and Path(program).exists()
