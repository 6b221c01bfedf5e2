"""Real nodes beside a control plane: started with it, cut off, killed and brought back, ended with it.

What a node's files and command lines look like is files.py's business, its wires network.py's.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from ..client import ApiError
from ..process import Afterwards
from ..waiting import eventually
from . import cgroups, files, network, whole
from .certificates import Authority
from .images import node_archive
from .pod_images import pod_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..build import Binaries
    from ..controlplane import ControlPlane

READY_WITHIN_S = 60.0
VOLUMES_WITHIN_S = 30.0
ROOM = "machine-room"


class RealNodes:
    """`count` nodes named real-0, real-1, ... Their programs are parts of the control plane: `part` names them."""

    def __init__(
        self,
        control_plane: ControlPlane,
        binaries: Binaries,
        count: int,
        *,
        whole: bool = False,
        images: Sequence[Path] = (),
    ) -> None:
        """Say what to start. `whole` adds kube-proxy, a name service and volumes; `images` are archives for all."""
        self.names = [f"real-{index}" for index in range(count)]
        self.addresses = network.free_addresses()
        self._control_plane = control_plane
        self._binaries = binaries
        self._whole = whole
        self._images = images
        self._afterwards: Afterwards | None = None

    @staticmethod
    def part(program: str, node: str) -> str:
        """The name of a node's program for `kill` and `restart`: kubelet, containerd or kube-proxy."""
        return f"{program}@{node}"

    @property
    def users(self) -> dict[str, str]:
        """The users of the nodes' programs, and their groups."""
        kubelets = {_user(name): "system:nodes" for name in self.names}
        return {**kubelets, **({whole.PROXY_USER: ""} if self._whole else {})}

    def prepare(self, *, guarded: bool) -> list[str]:
        """Open the machine room; return the flags that the API server needs.

        guarded: what no process holds, cgroups and files, is removed when this Python process ends, however it does.
        """
        if guarded:
            self._afterwards = Afterwards(removal_script(self._directory))
        self._write_certificates()
        mine = Path("/proc/self/ns/net").readlink()
        self._control_plane.launch(
            ROOM, files.room_holder(), "", lambda: Path(f"/proc/{self._pid(ROOM)}/ns/net").readlink() != mine
        )
        network.connect_room(self._pid(ROOM), self.addresses, len(self.names))
        return [
            "--allow-privileged",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
            "--endpoint-reconciler-type=lease",
            # No kube-proxy runs where the API server does.
            "--enable-aggregator-routing",
            f"--client-ca-file={self._certificate('ca.crt')}",
            f"--tls-cert-file={self._certificate('apiserver.crt')}",
            f"--tls-private-key-file={self._certificate('apiserver.key')}",
            f"--kubelet-client-certificate={self._certificate('kubelet-client.crt')}",
            f"--kubelet-client-key={self._certificate('kubelet-client.key')}",
        ]

    def start(self) -> None:
        """Start every node, and return when all are Ready. The control plane must have its controller manager."""
        if self._whole:
            self._control_plane.client.create_all(
                [*whole.proxy_rights(), *whole.name_service(), whole.storage_class()], workers=1
            )
            for name in self.names:
                self.renew_volumes(name)
        archives = [node_archive(self._binaries.cache, self._binaries), *self._images]
        if self._whole:
            archives.append(pod_archive(self._binaries.cache, self._binaries))
        with ThreadPoolExecutor(len(self.names)) as pool:
            list(pool.map(lambda name: self._start_node(name, archives), self.names))
        self._wait_until_ready(self.names)

    def wait_for_names(self) -> None:
        """Return when a whole cluster's name service answers; a scheduler must have placed it."""
        eventually(self._names_answer, within_s=READY_WITHIN_S, what="name service available")

    def renew_volumes(self, node: str) -> None:
        """Make the node's volumes anew, but for those that a claim still holds: what was in them is gone."""
        folder = self._directory / "volumes" / node
        client = self._control_plane.client
        held = {
            thing["metadata"]["name"]
            for thing in client.list_all("PersistentVolume")
            if thing.get("status", {}).get("phase") == "Bound"
        }
        for made in whole.volumes(node, [folder / f"volume-{number}" for number in range(whole.VOLUMES)]):
            name, path = made["metadata"]["name"], Path(made["spec"]["local"]["path"])
            if name in held:
                continue
            self._delete_volume(name)
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            client.create(made)

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
        self._set_carrier(node, ["wire"], up=False)

    def mend(self, node: str) -> None:
        """Give the carrier back."""
        self._set_carrier(node, ["wire"], up=True)

    def cut_off(self, node: str) -> None:
        """Take the carrier from both interfaces: the node runs on and reaches nobody, and nobody reaches it."""
        self._set_carrier(node, network.BRIDGES, up=False)

    def rejoin(self, node: str) -> None:
        """Give both carriers back."""
        self._set_carrier(node, network.BRIDGES, up=True)

    def kill(self, node: str) -> None:
        """End everything on the node at once, as a power cut does. Its disk stays, but not /var/lib/kubelet.

        The cluster sees it when leases run out, after about 50 s.
        """
        holder = _holder(node)
        self._control_plane.kill(holder)
        for program in self._programs:
            self._control_plane.kill(self.part(program, node))
        network.disconnect_node(self._pid(ROOM), self._index(node))

    def bring_back(self, node: str) -> None:
        """Start a killed node again, with the images, logs and volumes that it had; return when it is Ready."""
        removal = cgroups.removal_script(f"{_cgroup_prefix(self._directory)}{node}", "")
        subprocess.run(["sh", "-c", removal], check=True)
        # The status that the killed kubelet wrote would look like the new one's.
        stale = {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "TestBed"}]}}
        self._control_plane.client.patch("Node", node, stale, subresource="status")
        self._start_node(node, [])
        self._wait_until_ready([node])

    def run(self, node: str, *command: str | Path) -> str:
        """Run a command on the node as root; return what it prints. Raises CalledProcessError with what it said."""
        result = self.attempt(node, *command)
        if result.returncode != 0:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stderr)
            raise error
        return result.stdout

    def attempt(self, node: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """The same, for a command that may fail."""
        entered = files.inside(self._pid(_holder(node)), command)
        return subprocess.run(entered, capture_output=True, text=True, check=False)

    def remove(self) -> None:
        """Remove what outlives the programs, once they have been killed: cgroups and files."""
        if self._afterwards is not None:
            self._afterwards.run()
        else:
            subprocess.run(["sh", "-c", removal_script(self._directory)], check=True)

    def _start_node(self, name: str, archives: Sequence[Path]) -> None:
        control_plane, index = self._control_plane, self._index(name)
        layout = files.NodeLayout(name, self._directory / name, f"{_cgroup_prefix(self._directory)}{name}")
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
        network.connect_node(self._pid(ROOM), self._pid(holder), self.addresses, index, len(self.names))
        if not self._whole:
            network.lead_to_api_server(self._pid(holder), self.addresses, control_plane.layout.api_port)
        containerd = files.containerd(self._binaries.path("containerd", bundle="containerd"), layout)
        control_plane.launch(
            self.part("containerd", name),
            files.inside(self._pid(holder), containerd),
            "",
            lambda: self._containerd_answers(name),
        )
        for archive in archives:
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
        if self._whole:
            self._start_kube_proxy(name, layout)

    def _start_kube_proxy(self, name: str, layout: files.NodeLayout) -> None:
        """Not waited for: it is healthy only once there is a Node of that name.

        After the kubelet: where there is no Node for 30 s it goes on without an address, and ends when there is one.
        """
        kube_proxy = files.kube_proxy(self._binaries.path("kube-proxy", bundle="kubelet"), layout)
        command = files.inside(self._pid(_holder(name)), kube_proxy)
        url = f"http://{self.addresses.node(self._index(name))}:{files.PROXY_HEALTH_PORT}"
        self._control_plane.launch(self.part("kube-proxy", name), command, url, lambda: True)

    def _write_files(self, layout: files.NodeLayout, index: int) -> None:
        layout.cni_folder.mkdir(parents=True, exist_ok=True)
        shim = self._binaries.path("containerd-shim-runc-v2", bundle="containerd")
        layout.containerd_config.write_text(files.containerd_toml(shim, shim.parent, layout))
        dns = whole.DNS if self._whole else None
        configuration = files.kubelet_configuration(layout, client_ca=self._certificate("ca.crt"), dns=dns)
        layout.kubelet_config.write_text(json.dumps(configuration, indent=2))
        (layout.cni_folder / "bed.conflist").write_text(files.cni_configuration(self.addresses.pods(index)))
        kubeconfig = self._control_plane.layout.kubeconfig(whole.PROXY_USER)
        layout.kube_proxy_config.write_text(
            json.dumps(files.kube_proxy_configuration(layout, kubeconfig=kubeconfig), indent=2)
        )

    def _write_certificates(self) -> None:
        authority = Authority.new("bed")
        authority.write(self._certificate("ca.crt"), self._certificate("ca.key"))
        authority.issue_server(
            self._certificate("apiserver.crt"),
            self._certificate("apiserver.key"),
            name="kube-apiserver",
            addresses=["127.0.0.1", self.addresses.machine, network.API_SERVICE],
        )
        authority.issue_client(
            self._certificate("kubelet-client.crt"),
            self._certificate("kubelet-client.key"),
            name="kube-apiserver-kubelet-client",
            group="system:masters",
        )

    def _wait_until_ready(self, nodes: Sequence[str]) -> None:
        what = f"{', '.join(nodes)}: Ready"
        eventually(lambda: all(map(self.is_ready, nodes)), within_s=READY_WITHIN_S, what=what)

    def _names_answer(self) -> bool:
        found = self._control_plane.client.get("Deployment", "coredns", namespace=whole.SYSTEM, api_version="apps/v1")
        return int(found.get("status", {}).get("availableReplicas", 0)) == int(found["spec"]["replicas"])

    def _delete_volume(self, name: str) -> None:
        client = self._control_plane.client

        def gone() -> bool:
            try:
                client.delete("PersistentVolume", name)
            except ApiError as error:
                return error.status == httpx.codes.NOT_FOUND
            return False

        eventually(gone, within_s=VOLUMES_WITHIN_S, what=f"volume {name} gone")

    def _set_carrier(self, node: str, bridges: Iterable[str], *, up: bool) -> None:
        network.set_carrier(self._pid(ROOM), self._index(node), bridges, up=up)

    def _import(self, name: str, archive: Path) -> None:
        """A node needs an image's files, not the archive's tars of them beside: they would be half of its memory."""
        ctr = self._binaries.path("ctr", bundle="containerd")
        self.run(name, ctr, "-n", "k8s.io", "images", "import", "--local", "--discard-unpacked-layers", str(archive))

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
    def _programs(self) -> tuple[str, ...]:
        return ("kubelet", "containerd", *(["kube-proxy"] if self._whole else []))

    def _certificate(self, file: str) -> Path:
        return self._directory / "certificates" / file


def removal_script(directory: Path) -> str:
    """A shell script that removes what outlives the programs of a control plane that has its files there."""
    return f"{cgroups.removal_script(_cgroup_prefix(directory))}rm -rf {shlex.quote(str(directory))}\n"


def _cgroup_prefix(directory: Path) -> str:
    return f"{directory.name}-"


def _holder(node: str) -> str:
    return RealNodes.part("node", node)


def _user(node: str) -> str:
    return f"system:node:{node}"
