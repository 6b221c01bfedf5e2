"""The StatefulSet's etcd as three processes on loopback, by the manifest's own command line, over mutual TLS.

A member can be killed, lost with its data, and replaced as an operator does it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Self

import grpc
import httpx
from aetcd import rpc

from tests.manifests.etcd_members import initial_cluster
from tests.manifests.written import pod_spec, written
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from kubesteer.model.reward import KeyRange

COUNT = 3
READY_WITHIN_S, ANSWER_WITHIN_S = 30.0, 2.0
READY_PATH = "/readyz"
NAME = "kubesteer-etcd"
_DOMAIN = "kubesteer-etcd-members.kubesteer.svc"


class Members:
    """In a `with` all of them run. `secrets` has a folder a Secret, good for 127.0.0.1."""

    def __init__(self, program: Path, secrets: Path, folder: Path) -> None:
        [spec] = [pod_spec(each.object) for each in written() if each.object["kind"] == "StatefulSet"]
        assert spec is not None
        self._arguments: list[str] = [*spec["containers"][0]["args"], initial_cluster()]
        self._program = program
        self._secrets = secrets
        self._folder = folder
        ports = free_ports(3 * COUNT)
        self.ports = ports[:COUNT]
        self.metrics_ports = ports[COUNT : 2 * COUNT]
        self._peer_ports = ports[2 * COUNT :]
        self._guard = Guard()
        self._processes: dict[int, Process] = {}
        client = secrets / "kubesteer-etcd-maintenance"
        files = (client / name for name in ("ca.crt", "tls.key", "tls.crt"))
        self._credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))

    def __enter__(self) -> Self:
        for number in range(COUNT):
            self._start(number)
        for number in range(COUNT):
            self._wait_ready(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.end()

    def leader(self) -> int:
        """Which member leads. Raises TimeoutError where none does in time."""

        def found() -> list[int]:
            answers = {number: self._status(number) for number in self._processes}
            return [n for n, answer in answers.items() if answer and answer.leader == answer.header.member_id != 0]

        return eventually(found, within_s=READY_WITHIN_S, what="a leader of etcd")[0]

    def kill(self, number: int) -> None:
        """SIGKILL; the data stays."""
        self._processes.pop(number).kill()

    def restart(self, number: int) -> None:
        """Start a killed member with its data, as its pod does."""
        self._start(number)
        self._wait_ready(number)

    def lose(self, number: int) -> None:
        """SIGKILL, and its volume is gone too."""
        self.kill(number)
        shutil.rmtree(self._data(number))

    def replace(self, number: int) -> None:
        """Remove the lost member from the cluster, add a new one in its place, and start that without data."""
        survivor = next(iter(self._processes))
        listed = self.call(survivor, rpc.ClusterStub, "MemberList", rpc.MemberListRequest())
        [lost] = [member for member in listed.members if member.name == f"{NAME}-{number}"]
        peers = list(lost.peerURLs)
        self.call(survivor, rpc.ClusterStub, "MemberRemove", rpc.MemberRemoveRequest(ID=lost.ID))

        def added() -> bool:
            """etcd takes no new member before those that are left have been in touch for five seconds."""
            try:
                self.call(survivor, rpc.ClusterStub, "MemberAdd", rpc.MemberAddRequest(peerURLs=peers))
            except grpc.RpcError:
                return False
            return True

        eventually(added, within_s=READY_WITHIN_S, what="a new member of etcd", every_s=0.5)
        self._start(number, "--initial-cluster-state=existing")
        self._wait_ready(number)

    def put(self, key: bytes, value: bytes) -> None:
        """Store an entry by whichever member takes it. Raises grpc.RpcError where none does."""
        request = rpc.PutRequest(key=key, value=value)
        numbers = list(self._processes)
        for number in numbers[:-1]:
            try:
                self.call(number, rpc.KVStub, "Put", request)
            except grpc.RpcError:
                continue
            return
        self.call(numbers[-1], rpc.KVStub, "Put", request)

    def count(self, span: KeyRange) -> int:
        """How many entries there are."""
        request = rpc.RangeRequest(key=span.start, range_end=span.end, count_only=True)
        return int(self.call(next(iter(self._processes)), rpc.KVStub, "Range", request).count)

    def call(self, number: int, stub: type, method: str, request: object) -> Any:
        """One request to one member, over a connection of its own. Raises grpc.RpcError."""
        with grpc.secure_channel(f"127.0.0.1:{self.ports[number]}", self._credentials) as channel:
            return getattr(stub(channel), method)(request, timeout=ANSWER_WITHIN_S)

    def _status(self, number: int) -> Any:
        try:
            return self.call(number, rpc.MaintenanceStub, "Status", rpc.StatusRequest())
        except grpc.RpcError:
            return None

    def _data(self, number: int) -> Path:
        return self._folder / f"{NAME}-{number}"

    def _start(self, number: int, *more: str) -> None:
        name = f"{NAME}-{number}"
        by = {
            "$(POD_NAME)": name,
            "https://0.0.0.0:2379": f"https://127.0.0.1:{self.ports[number]}",
            "https://0.0.0.0:2380": f"https://127.0.0.1:{self._peer_ports[number]}",
            "http://0.0.0.0:2381": f"http://127.0.0.1:{self.metrics_ports[number]}",
            "/var/lib/etcd": str(self._data(number)),
            "/etc/etcd/": f"{self._secrets}/{NAME}-",
        }
        for other in range(COUNT):
            host = f"https://{NAME}-{other}.{_DOMAIN}"
            by |= {f"{host}:2379": f"https://127.0.0.1:{self.ports[other]}"}
            by |= {f"{host}:2380": f"https://127.0.0.1:{self._peer_ports[other]}"}
        arguments = [_replaced(argument, by) for argument in self._arguments]
        self._data(number).mkdir(exist_ok=True)
        self._processes[number] = Process(
            name,
            [self._program, *arguments, *more],
            directory=self._folder,
            log=self._folder / f"{name}.log",
            guard=self._guard,
        )

    def _wait_ready(self, number: int) -> None:
        url = f"http://127.0.0.1:{self.metrics_ports[number]}{READY_PATH}"

        def ready() -> bool:
            try:
                return httpx.get(url, timeout=ANSWER_WITHIN_S).is_success
            except httpx.TransportError:
                return False

        self._processes[number].wait_until(ready, within_s=READY_WITHIN_S)


def _replaced(text: str, by: dict[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text
