"""A cluster's part around the keeper, with real processes: Secrets come to folders as the kubelet brings them.

Names are told by a hosts file that only these processes see: it needs root and `unshare`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.manifests.written import MANIFESTS, pod_spec, written
from tools.cluster import objects
from tools.cluster.client import ApiError
from tools.cluster.controlplane import ControlPlane
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tools.cluster.build import Binaries

ROOT = MANIFESTS.parent
NAMESPACE = "kubesteer"
NODES = ("n1", "n2")
KUBELET_S = 0.5
"""The kubelet takes up to two minutes; tests wait accordingly less."""


def why_not() -> str:
    """Why it cannot be had here; empty where it can."""
    return "needs root" if os.geteuid() != 0 else "" if shutil.which("unshare") else "needs unshare"


@contextmanager
def deployed(binaries: Binaries, folder: Path) -> Iterator[KeeperBed]:
    """An API server with the overlay self-signed and certificates for each node, two nodes and an agent's pod on each."""
    with ControlPlane(binaries) as bed:
        to = os.path.relpath(MANIFESTS, folder)
        kustomization = {
            "resources": [f"{to}/overlays/self-signed"],
            "components": [f"{to}/components/node-certificates"],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        bed.kubectl("apply", "--server-side", "-k", str(folder))
        for node in NODES:
            bed.client.create(objects.node(node))
            spec = objects.RESTRICTED | {"nodeName": node, "serviceAccountName": "kubesteer-agent"}
            bed.client.create(objects.pod(f"agent-{node}", namespace=NAMESPACE, spec=spec))
        with KeeperBed(bed, binaries, folder) as running:
            yield running


class KeeperBed:
    """`secrets` is where Secrets are mounted. Use it in a `with`."""

    def __init__(self, bed: ControlPlane, binaries: Binaries, folder: Path) -> None:
        self.bed = bed
        self.secrets = folder / "secrets"
        self.folder = folder
        self._etcd = binaries.path("etcd")
        self.ops_port, *rest = free_ports(12)
        self._ports, self.spare_ports = rest[:9], rest[9:]
        self._guard = Guard()
        self._hosts = folder / "hosts"
        self._members: list[Process] = []
        self._processes: list[Process] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.faults: list[str] = []

    def __enter__(self) -> KeeperBed:
        self.secrets.mkdir()
        names = ["kubesteer-etcd.kubesteer.svc", "kubesteer-extender.kubesteer.svc"]
        names += [f"kubesteer-etcd-{number}.kubesteer-etcd-members.kubesteer.svc" for number in range(3)]
        self._hosts.write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for process in (*self._processes, *self._members):
            process.kill()
        self._guard.end()

    @property
    def endpoints(self) -> list[str]:
        """Of etcd's members, by their names."""
        return [
            f"kubesteer-etcd-{number}.kubesteer-etcd-members.kubesteer.svc:{self._ports[3 * number]}"
            for number in range(3)
        ]

    def start(self, name: str, *command: str | Path) -> Process:
        """A process that knows the names."""
        process = Process(name, self._told(command), directory=ROOT, log=self.folder / f"{name}.log", guard=self._guard)
        self._processes.append(process)
        return process

    def run(self, *command: str | Path, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        return subprocess.run(
            self._told(command), cwd=ROOT, capture_output=True, text=True, timeout=within_s, check=False
        )

    def log_of(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def logs(self) -> str:
        """The end of every log, for a failure's report."""
        return "\n".join(f"--- {file.name}\n{file.read_text()[-1500:]}" for file in sorted(self.folder.glob("*.log")))

    def keeper_settings(self, name: str = "keeper", **groups: Mapping[str, Any]) -> Path:
        """The file of the component self-signed for this bed, quick, under the keeper's own account."""
        settings = yaml.safe_load((MANIFESTS / "components/self-signed/settings.yaml").read_text())
        token = self.bed.kubectl("create", "token", "kubesteer-keeper", "--namespace=kubesteer").strip()
        own: dict[str, Mapping[str, Any]] = {
            "cluster": {"kubeconfig": str(self.bed.kubeconfig_for(token, name))},
            "etcd": {"endpoints": self.endpoints},
            "pace": {"every_s": 0.5, "retry_s": 0.5},
            "ops": {"host": "127.0.0.1", "port": self.ops_port, **self._own_certificate()},
        }
        for given in (own, groups):
            for group, values in given.items():
                settings[group] = {**settings.get(group, {}), **values}
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file

    def keep(self, name: str = "keeper", **groups: Mapping[str, Any]) -> Process:
        """Start the keeper."""
        return self.start(
            name, sys.executable, "-m", "kubesteer", "keep", "--config", self.keeper_settings(name, **groups)
        )

    def keep_once(self, **groups: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """One round: its exit code, and what it told."""
        config = self.keeper_settings("once", **groups)
        told = self.run(sys.executable, "-m", "kubesteer", "keep", "--config", config, "--once", "--json")
        assert told.stdout, told.stderr
        return told.returncode, json.loads(told.stdout)

    def readyz(self) -> dict[str, Any]:
        with suppress(httpx.TransportError):
            return dict(self.ask_keeper("/readyz", self.admin_token).json())
        return {}

    def ask_keeper(self, path: str, token: str = "") -> httpx.Response:
        """Its ops port. Its certificate may be the one that nobody signed."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"https://127.0.0.1:{self.ops_port}{path}", headers=headers, verify=False)

    @property
    def admin_token(self) -> str:
        return str(json.loads(self.bed.kubeconfig.read_text())["users"][0]["user"]["token"])

    def _own_certificate(self) -> dict[str, str]:
        folder = self.secrets / "kubesteer-keeper-server"
        return {"cert_file": str(folder / "tls.crt"), "key_file": str(folder / "tls.key")}

    def start_members(self) -> None:
        """etcd by the StatefulSet's command line, on ports of this test."""
        for number in range(3):
            self._members.append(self._member(number))
        for number in range(3):
            self._members[number].wait_until(lambda number=number: self._is_ready(number), within_s=30)  # type: ignore[misc]

    def restart_members(self) -> None:
        """All at once, as when their pods are deleted."""
        for member in self._members:
            member.stop()
        self._members.clear()
        self.start_members()

    def _member(self, number: int) -> Process:
        [spec] = [pod_spec(each.object) for each in written() if each.object["kind"] == "StatefulSet"]
        assert spec is not None
        client, peer, metrics = self._ports[3 * number : 3 * number + 3]
        arguments = []
        for argument in spec["containers"][0]["args"]:
            text = argument.replace("$(POD_NAME)", f"kubesteer-etcd-{number}").replace("0.0.0.0", "127.0.0.1")
            for other in range(3):
                member = f"kubesteer-etcd-{other}.kubesteer-etcd-members.kubesteer.svc"
                text = text.replace(f"{member}:2380", f"{member}:{self._ports[3 * other + 1]}")
            text = text.replace(":2379", f":{client}").replace(":2380", f":{peer}").replace(":2381", f":{metrics}")
            text = text.replace("/var/lib/etcd", str(self.folder / f"member-{number}"))
            arguments.append(text.replace("/etc/etcd/", f"{self.secrets}/kubesteer-etcd-"))
        command = self._told([self._etcd, *arguments, "--unsafe-no-fsync"])
        log = self.folder / f"etcd-{number}.log"
        return Process(f"etcd-{number}", command, directory=ROOT, log=log, guard=self._guard)

    def _is_ready(self, number: int) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self._ports[3 * number + 2]}/readyz", timeout=5).is_success
        return False

    def _told(self, command: Any) -> list[str]:
        script = f'mount --bind {self._hosts} /etc/hosts && exec "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, *map(str, command)]

    def _live(self) -> None:
        while not self._stopping.is_set():
            try:
                self._bring_secrets()
            except (ApiError, httpx.TransportError) as exc:
                self.faults.append(str(exc))
            self._stopping.wait(KUBELET_S)

    def _bring_secrets(self) -> None:
        """Each Secret's files change at once, by the switch of a link."""
        for secret in self.bed.client.list_all("Secret", namespace=NAMESPACE):
            name, version = secret["metadata"]["name"], secret["metadata"]["resourceVersion"]
            held = self.folder / f"{name}.{version}"
            if held.exists():
                continue
            held.mkdir()
            for file, content in secret["data"].items():
                (held / file).write_bytes(base64.b64decode(content))
            link = self.folder / f"{name}.new"
            link.symlink_to(held)
            link.rename(self.secrets / name)


def until(what: Callable[[], bool], *, within_s: float, saying: Callable[[], str] = lambda: "") -> None:
    """Waits; fails with what is said."""
    give_up_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < give_up_s, saying()
        time.sleep(0.1)
