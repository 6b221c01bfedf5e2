"""The machine: which core runs what, what a process takes, and what a report must say of it."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LIBRARIES = ("fastapi", "uvicorn", "uvloop", "httptools", "msgspec", "numpy", "aiohttp")


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Programs started in here run on this core only (modulo the cores there are)."""
    before = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {before[core % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, cores: Collection[int]) -> None:
    """All threads that a process has; what they start stays there too."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Memory of a process now, MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_rss_mb(pid: int) -> float:
    """The most it ever took."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def described() -> str:
    """One sentence for the report."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return f"{os.cpu_count()} cores ({model}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}"


def versions() -> str:
    """The interpreter and the libraries that count."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)])
