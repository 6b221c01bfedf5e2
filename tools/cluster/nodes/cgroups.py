"""The cgroups of real nodes: one folder a node in every v1 hierarchy, made before and removed after it.

No process is started or ended here.
"""

from __future__ import annotations

import shlex
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NEEDED = {"memory", "cpu", "pids"}


def hierarchies(mounts: Path = Path("/proc/mounts")) -> list[Path]:
    """Where the v1 hierarchies are mounted; none where one that a kubelet needs is not."""
    rows = [line.split() for line in mounts.read_text().splitlines()]
    found = [(Path(row[1]), set(row[3].split(","))) for row in rows if row[2] == "cgroup"]
    controllers = {option for _, options in found for option in options}
    return [folder for folder, _ in found] if controllers >= NEEDED else []


def create(name: str) -> None:
    """Make the node's folder everywhere. In cpuset a folder takes no process before its own two files are filled."""
    for hierarchy in hierarchies():
        folder = hierarchy / name
        folder.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists():
                (folder / file).write_text((hierarchy / file).read_text())


def removal_script(prefix: str, rest: str = "*") -> str:
    """A shell script that removes the folders whose name is `prefix` and something that matches the glob `rest`.

    It gives the processes in them 10 s to end: a folder cannot go before its last process, and one that stays costs
    every later kubelet 3 s at its start.
    """
    pattern = f"{ROOT}/*/{shlex.quote(prefix)}{rest}"
    return f"""\
for attempt in $(seq 100); do
  for folder in {pattern}; do [ -d "$folder" ] && find "$folder" -depth -type d -exec rmdir {{}} + 2>/dev/null; done
  for folder in {pattern}; do [ -d "$folder" ] && sleep 0.1 && continue 2; done
  break
done
"""
