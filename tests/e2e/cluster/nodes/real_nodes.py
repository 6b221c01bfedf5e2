"""Real nodes beside a control plane: started with it, cut off and connected again, ended with it.

What a node's files and command lines look like is files.py's business, its wires network.py's.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..client import ApiError
from ..process import Afterwards
from ..waiting import eventually
from . import cgroups, files, network
from .certificates import write_kubelet_client
from .images import node_archive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..build import Binaries
    from ..controlplane import ControlPlane

READY_WITHIN_S = 60.0
ROOM = "machine-room"


class RealNodes:
    """`count` nodes named real-0, real-1, ... Their programs are parts of the control plane: `part` names them."""

    def __init__(self, control_plane: ControlPlane, binaries: Binaries, count: int) -> None:
        self.names = [f"real-{index}" for index in range(count)]
        self.addresses = network.free_addresses()
        self._control_plane = control_plane
        self._binaries = binaries
        self._afterwards: Afterwards | None = None

    @staticmethod
    def part(program: str, node: str) -> str:
        """The name of a node's program for `kill` and `restart`: kubelet or containerd."""
        return f"{program}@{node}"

    @property
    def users(self) -> dict[str, str]:
        """The kubelets' user names, and their group."""
        return {_user(name): "system:nodes" for name in self.names}

    def prepare(self, *, guarded: bool) -> list[str]:
        """Open the machine room; return the flags that the API server needs.

        guarded: what no process holds, cgroups and files, is removed when this Python process ends, however it does.
        """
        if guarded:
            self._afterwards = Afterwards(removal_script(self._directory))
        write_kubelet_client(self._client_certificate, self._client_key)
        mine = Path("/proc/self/ns/net").readlink()
        self._control_plane.launch(
            ROOM, files.room_holder(), "", lambda: Path(f"/proc/{self._pid(ROOM)}/ns/net").readlink() != mine
        )
        network.connect_room(self._pid(ROOM), self.addresses, len(self.names))
        return [
            "--allow-privileged",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={self._client_certificate}",
            f"--kubelet-client-key={self._client_key}",
        ]

    def start(self) -> None:
        """Start every node, and return when all are Ready. The control plane must have its controller manager."""
        archive = node_archive(self._binaries.cache, self._binaries)
        with ThreadPoolExecutor(len(self.names)) as pool:
            list(pool.map(lambda name: self._start_node(name, archive), self.names))
        eventually(lambda: all(map(self.is_ready, self.names)), within_s=READY_WITHIN_S, what="every real node Ready")

    def is_ready(self, node: str) -> bool:
        try:
            conditions = self._control_plane.client.get("Node", node)["status"].get("conditions", ())
        except ApiError:
            return False
        return any(row["type"] == "Ready" and row["status"] == "True" for row in conditions)

    def import_images(self, archive: Path, nodes: Sequence[str] | None = None) -> None:
        """Give these nodes, or all, the images of an OCI archive. Raises CalledProcessError with ctr's words."""
        names = self.names if nodes is None else nodes
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self._import(name, archive), names))

    def cut(self, node: str) -> None:
        """Take the carrier from the node's eth1, which has its default route; the API server is still reached."""
        network.set_wire(self._pid(ROOM), self._index(node), up=False)

    def mend(self, node: str) -> None:
        """Give the carrier back."""
        network.set_wire(self._pid(ROOM), self._index(node), up=True)

    def run(self, node: str, *command: str | Path) -> str:
        """Run a command on the node as root; return what it prints. Raises CalledProcessError with what it said."""
        entered = files.inside(self._pid(_holder(node)), command)
        result = subprocess.run(entered, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stderr)
            raise error
        return result.stdout

    def remove(self) -> None:
        """Remove what outlives the programs, once they have been killed: cgroups and files."""
        if self._afterwards is not None:
            self._afterwards.run()
        else:
            subprocess.run(["sh", "-c", removal_script(self._directory)], check=True)

    def _start_node(self, name: str, archive: Path) -> None:
        control_plane, index = self._control_plane, self._index(name)
        layout = files.NodeLayout(name, self._directory / name, f"{_cgroup_prefix(self._directory)}{name}")
        layout.directory.mkdir()
        cgroups.create(layout.cgroup)
        self._write_files(layout, index)
        holder = _holder(name)
        pause = self._binaries.path("pause", bundle="containerd")
        control_plane.launch(
            holder,
            files.holder(layout, pause),
            "",
            lambda: Path(f"/proc/{self._pid(holder)}/root/run/mounted").exists(),
        )
        api_port = control_plane.layout.api_port
        network.connect_node(self._pid(ROOM), self._pid(holder), self.addresses, index, len(self.names), api_port)
        containerd = files.containerd(self._binaries.path("containerd", bundle="containerd"), layout)
        control_plane.launch(
            self.part("containerd", name),
            files.inside(self._pid(holder), containerd),
            "",
            lambda: self._containerd_answers(name),
        )
        self._import(name, archive)
        address = self.addresses.node(index)
        kubelet = files.kubelet(
            self._binaries.path("kubelet", bundle="kubelet"),
            layout,
            kubeconfig=control_plane.layout.kubeconfig(_user(name)),
            address=address,
        )
        control_plane.launch_serving(
            self.part("kubelet", name),
            files.inside(self._pid(holder), kubelet),
            f"http://{address}:{files.HEALTH_PORT}",
        )

    def _write_files(self, layout: files.NodeLayout, index: int) -> None:
        shim = self._binaries.path("containerd-shim-runc-v2", bundle="containerd")
        layout.containerd_config.write_text(files.containerd_toml(shim, shim.parent, layout))
        configuration = files.kubelet_configuration(layout, client_ca=self._client_certificate)
        layout.kubelet_config.write_text(json.dumps(configuration, indent=2))
        layout.cni_folder.mkdir()
        (layout.cni_folder / "bed.conflist").write_text(files.cni_configuration(self.addresses.pods(index)))

    def _import(self, name: str, archive: Path) -> None:
        self.run(
            name, self._binaries.path("ctr", bundle="containerd"), "-n", "k8s.io", "images", "import", str(archive)
        )

    def _containerd_answers(self, name: str) -> bool:
        try:
            self.run(name, self._binaries.path("ctr", bundle="containerd"), "version")
        except subprocess.CalledProcessError:
            return False
        return True

    def _index(self, node: str) -> int:
        return self.names.index(node)

    def _pid(self, part: str) -> int:
        return self._control_plane.parts[part].process.pid

    @property
    def _directory(self) -> Path:
        return self._control_plane.layout.directory

    @property
    def _client_certificate(self) -> Path:
        return self._directory / "certificates" / "kubelet-client.crt"

    @property
    def _client_key(self) -> Path:
        return self._directory / "certificates" / "kubelet-client.key"


def removal_script(directory: Path) -> str:
    """A shell script that removes what outlives the programs of a control plane that has its files there."""
    return f"{cgroups.removal_script(_cgroup_prefix(directory))}rm -rf {shlex.quote(str(directory))}\n"


def _cgroup_prefix(directory: Path) -> str:
    return f"{directory.name}-"


def _holder(node: str) -> str:
    return RealNodes.part("node", node)


def _user(node: str) -> str:
    return f"system:node:{node}"
