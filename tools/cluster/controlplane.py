"""A real control plane on this machine: started, killed, restarted and stopped part by part.

How a part's command line looks is commands.py's business; what runs on the cluster is the scenario's.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from . import bundles, commands
from .bundles import CONTROL_PLANE, OLDER, OWN
from .client import ApiError, Client
from .nodes.real_nodes import RealNodes
from .ports import free_ports
from .process import Guard, Process
from .waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from .build import Binaries

RAM_DISK = Path("/dev/shm")
READY_WITHIN_S = 60.0
ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, KWOK = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A program of the control plane and how to tell that it is ready."""

    process: Process
    url: str
    ready: Callable[[], bool]

    def metrics(self) -> str:
        """Its Prometheus text; the test bed lets a scheduler's be read without a token."""
        return httpx.get(f"{self.url}/metrics", verify=False).raise_for_status().text


class ControlPlane:
    """etcd and an API server, and on demand a controller manager, schedulers and KWOK. Use it in a `with`.

    Without a controller manager a node made by `objects.node` stays Ready for good, and needs no KWOK.
    """

    layout: commands.Layout

    def __init__(
        self,
        binaries: Binaries,
        *,
        scheduler_config: Mapping[str, Any] | None = None,
        controller_manager: bool = False,
        kwok: bool = False,
        load_test: bool = False,
        older: bool = False,
        api_server_flags: Sequence[str] = (),
        detached: bool = False,
        real_nodes: int = 0,
        whole: bool = False,
        images: Sequence[Path] = (),
    ) -> None:
        """Say what to start. `scheduler_config` None starts no scheduler, {} the stock one.

        `older` takes the older minor's API server. `detached` lets the programs outlive this Python process.
        `real_nodes` need root, and a controller manager, which is then started too; they get the `images` of these
        archives. `whole` adds all that a cluster has: Services by kube-proxy, names, volumes, and a scheduler.
        """
        self.parts: dict[str, Part] = {}
        self._binaries = binaries
        self._scheduler_config = {} if whole and scheduler_config is None else scheduler_config
        self._with_controller_manager = controller_manager or real_nodes > 0
        self._with_kwok = kwok
        self._load_test = load_test
        self._api_server_bundle = (OLDER if older else CONTROL_PLANE).name
        self._api_server_flags = api_server_flags
        self._detached = detached
        self._whole = whole
        self._real_nodes = RealNodes(self, binaries, real_nodes, whole=whole, images=images) if real_nodes else None
        self._guard: Guard | None = None
        self._client: Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            error.add_note(self.log_tails())
        self.stop()

    @property
    def url(self) -> str:
        return self.layout.url

    @property
    def client(self) -> Client:
        """The administrator's client. Raises RuntimeError before the start."""
        if self._client is None:
            raise RuntimeError("control plane: not started; use it in a `with` or call start()")
        return self._client

    @property
    def real(self) -> RealNodes:
        """The real nodes. Raises RuntimeError when none were asked for."""
        if self._real_nodes is None:
            raise RuntimeError("control plane: it has no real nodes; pass real_nodes=")
        return self._real_nodes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.layout.kubeconfig()

    def start(self) -> None:
        """Start what the constructor was told, and return when all of it is ready. On failure nothing is left."""
        directory = Path(tempfile.mkdtemp(prefix="kubesteer-bed-", dir=RAM_DISK if RAM_DISK.is_dir() else None))
        etcd_port, peer_port, api_port = free_ports(3)
        address = self._real_nodes.addresses.machine if self._real_nodes else commands.LOOPBACK
        self.layout = commands.Layout(
            directory, etcd_port, peer_port, api_port, address, own_authority=self._real_nodes is not None
        )
        self._guard = None if self._detached else Guard()
        try:
            self._start_parts()
        except BaseException as error:
            error.add_note(self.log_tails())
            self.stop()
            raise

    def stop(self) -> None:
        """Kill every part, last started first, and remove all files."""
        for part in reversed(self.parts.values()):
            part.process.kill()
        self.parts.clear()
        if self._guard is not None:
            self._guard.end()
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._real_nodes is not None:
            self._real_nodes.remove()
        shutil.rmtree(self.layout.directory, ignore_errors=True)

    def kill(self, part: str) -> None:
        """SIGKILL a part, such as `kube-apiserver` or `etcd`; `restart` brings it back on the same port."""
        self.parts[part].process.kill()

    def restart(self, part: str) -> None:
        """Start a killed part again with its old command line and data, and wait until it is ready."""
        old = self.parts[part]
        self.launch(part, old.process.command, old.url, old.ready)

    def start_scheduler(
        self, config: Mapping[str, Any] | None = None, *, name: str = SCHEDULER, older: bool = False
    ) -> Part:
        """Start a kube-scheduler with these KubeSchedulerConfiguration fields, or a stock one. `name` must be free."""
        if name in self.parts:
            raise ValueError(f"scheduler {name!r}: already started; stop it first, or pass another name")
        file = self.layout.directory / f"{name}.json"
        file.write_text(json.dumps(commands.scheduler_configuration(config or {}, self.layout), indent=2))
        [port] = free_ports(1)
        program = self._binaries.path("kube-scheduler", bundle=(OLDER if older else CONTROL_PLANE).name)
        return self.launch_serving(name, commands.scheduler(program, file, port), f"https://127.0.0.1:{port}")

    def stop_scheduler(self, name: str = SCHEDULER) -> None:
        """Stop a scheduler for good, so that another may take its name."""
        self.parts.pop(name).process.stop()

    def start_kwok(self, stages: Sequence[Mapping[str, Any]] = ()) -> Part:
        """Start KWOK with its own fast stages and these Stage objects: nodes become ready, pods on them run."""
        files = self._binaries.files(bundles.KWOK)
        for number, stage in enumerate(stages):
            file = self.layout.directory / f"stage-{number}.json"
            file.write_text(json.dumps(stage))
            files.append(file)
        [port] = free_ports(1)
        command = commands.kwok(self._binaries.path("kwok", bundle="kwok"), self.layout, port, files)
        return self.launch_serving(KWOK, command, f"http://127.0.0.1:{port}")

    def kubeconfig_for(self, token: str, name: str) -> Path:
        """Write a kubeconfig that uses `token`, a ServiceAccount's for instance."""
        file = self.layout.directory / f"{name}.kubeconfig"
        file.write_text(json.dumps(commands.kubeconfig(self.layout, token)))
        return file

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; return what it prints. Raises CalledProcessError with both outputs."""
        command = [str(self._binaries.path("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stderr)
            raise error
        return result.stdout

    def log_tails(self, lines: int = 15) -> str:
        """The end of every part's log, for a failure's report."""
        return "\n".join(f"--- {name}\n{part.process.log_tail(lines)}" for name, part in self.parts.items())

    def launch_serving(self, name: str, command: Sequence[str | Path], url: str, *, path: str = "/healthz") -> Part:
        """Start a program as a part, and return when the health path under its url says yes."""

        def ready() -> bool:
            try:
                return httpx.get(url + path, verify=False, timeout=5.0).is_success
            except httpx.TransportError:
                return False

        return self.launch(name, command, url, ready)

    def launch(self, name: str, command: Sequence[str | Path], url: str, ready: Callable[[], bool]) -> Part:
        """Start a program as a part, and return when it is ready."""
        process = Process(name, command, directory=self.layout.directory, log=self.layout.log(name), guard=self._guard)
        self.parts[name] = Part(process, url, ready)
        process.wait_until(ready, within_s=READY_WITHIN_S)
        return self.parts[name]

    def _start_parts(self) -> None:
        layout = self.layout
        users = {**commands.USERS, **(self._real_nodes.users if self._real_nodes else {})}
        tokens = {user: secrets.token_urlsafe(24) for user in users}
        commands.write_files(layout, users, tokens)
        node_flags = self._real_nodes.prepare(guarded=not self._detached) if self._real_nodes else ()
        keys = self._binaries.path("keys", bundle=OWN.name)
        subprocess.run([keys, "--directory", layout.directory], check=True)
        self.launch_serving(ETCD, commands.etcd(self._binaries.path("etcd"), layout), layout.etcd_url, path="/health")
        api_server = commands.api_server(
            self._binaries.path("kube-apiserver", bundle=self._api_server_bundle),
            layout,
            controller_manager=self._with_controller_manager,
            load_test=self._load_test,
            flags=[*node_flags, *self._api_server_flags],
        )
        self.launch(API_SERVER, api_server, layout.url, lambda: self._connect(tokens["admin"]))
        if self._with_controller_manager:
            self._start_controller_manager()
        if self._real_nodes is not None:
            self._real_nodes.start()
        if self._with_kwok:
            self.start_kwok()
        if self._scheduler_config is not None:
            self.start_scheduler(self._scheduler_config)
        if self._real_nodes is not None and self._whole:
            self._real_nodes.wait_for_names()

    def _connect(self, token: str) -> bool:
        """Whether the API server is ready. Its certificate is there only once it has started."""
        if self._client is None:
            if not self.layout.ca_file.exists():
                return False
            self._client = Client(self.url, token, self.layout.ca_file)
        return self._client.is_ready()

    def _start_controller_manager(self) -> None:
        [port] = free_ports(1)
        command = commands.controller_manager(self._binaries.path(CONTROLLER_MANAGER), self.layout, port)
        self.launch_serving(CONTROLLER_MANAGER, command, f"https://127.0.0.1:{port}")
        eventually(self._has_default_service_account, within_s=READY_WITHIN_S, what="default ServiceAccount")

    def _has_default_service_account(self) -> bool:
        """Until it exists the API server admits no pod."""
        try:
            self.client.get("ServiceAccount", "default")
        except ApiError:
            return False
        return True
