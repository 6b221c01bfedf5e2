"""A real TCP balancer, as a Service is one: it sends connections to what is ready, and knows nothing of requests.

Stopped in its tracks it is a cut network: connections stay open, new ones are taken, and nothing passes.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

PROGRAM = "haproxy"
CHECKED = "inter 1s fall 2 rise 1"
"""About as fast as a pod that is not ready leaves a Service."""


def why_not() -> str:
    """Why there is none here; empty where there is."""
    return "" if _program() else f"needs {PROGRAM}: run `python -m tools.cluster nodes`, or apt-get install it"


@dataclass(frozen=True, slots=True)
class Backend:
    """host:port that connections go to. check_port: asked for check_path over HTTP; None asks for a connection only."""

    port: int
    check_port: int | None = None


class Balancer:
    """Use it in a `with`. sticky: a client stays with one backend, as sessionAffinity: ClientIP has it."""

    def __init__(
        self, folder: Path, name: str, backends: Sequence[Backend], *, check_path: str = "", sticky: bool = False
    ) -> None:
        [self.port] = free_ports(1)
        self._folder = folder
        self._name = name
        self._config = folder / f"{name}.cfg"
        self._config.write_text(_config(name, self.port, backends, check_path, sticky=sticky))
        self._guard = Guard()
        self._process: Process | None = None

    def __enter__(self) -> Self:
        log = self._folder / f"{self._name}.log"
        command: list[str | Path] = [_program(), "-db", "-f", self._config]
        self._process = Process(self._name, command, directory=self._folder, log=log, guard=self._guard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.end()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing passes, either way, and nobody is told."""
        if self._process is None:
            raise RuntimeError(f"{self._name}: not started; use it in a `with`")
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


def _program() -> str:
    return shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def _config(name: str, port: int, backends: Sequence[Backend], check_path: str, *, sticky: bool) -> str:
    """No retries and no second choice: kube-proxy has none either."""
    lines = [
        "defaults",
        "  mode tcp",
        "  retries 0",
        "  timeout connect 1s",
        "  timeout client 1h",
        "  timeout server 1h",
        f"listen {name}",
        f"  bind 127.0.0.1:{port}",
        f"  balance {'source' if sticky else 'roundrobin'}",
        *(["  hash-type consistent"] if sticky else []),
        *([f"  option httpchk GET {check_path}", "  http-check expect status 200"] if check_path else []),
    ]
    for number, backend in enumerate(backends):
        check = f" check port {backend.check_port} {CHECKED}" if backend.check_port else ""
        lines.append(f"  server {name}-{number} 127.0.0.1:{backend.port}{check}")
    return "\n".join(lines) + "\n"
