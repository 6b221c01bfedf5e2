"""What is attacked: the real extender as a process over the example cluster, and what an attacker sends. Judges nothing."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.builders import Json, pod
from tests.fuzz.target import rss_mb
from tools.cluster.extender import Extender

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cluster.yaml"
POD = json.dumps(pod()).encode()
GOOD = b'{"Pod":%b,"NodeNames":["node-1"]}' % POD
ANSWER = b'"NodeNames":["node-1"]'
"""What a good request's answer has in it."""
WAIT_S = 60.0
"""For one answer; far more than a loaded machine needs."""


class Target(Extender):
    """An extender process and what can be seen of it from outside."""

    def __init__(self, settings: Json | None = None) -> None:
        super().__init__({"cluster": {"file": str(EXAMPLE)}, **(settings or {})})

    def connect(self) -> socket.socket:
        """A connection to the verbs' port."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)

    def shoot(self, data: bytes, *, ops: bool = False) -> bytes:
        """All that comes back on one connection before it is closed; the attacker's side stays open until then."""
        port = self.ops_port if ops else self.port
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            return until_closed(connection)

    def answers(self, context: ssl.SSLContext | None = None) -> bool:
        """Whether a well-behaved client on a new connection is served."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            connection = stack.enter_context(self.connect())
            if context is not None:
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname="127.0.0.1"))
            connection.sendall(post(GOOD))
            return ANSWER in until_closed(connection)
        return False

    def process_until_end(self) -> contextlib.ExitStack:
        """For one that was started by hand: stops it at the end of the block."""
        stack = contextlib.ExitStack()
        stack.callback(self.__exit__, None, None, None)
        return stack

    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    @contextlib.contextmanager
    def growing_at_most(self, most_mb: float) -> Iterator[None]:
        """The process's peak of resident memory inside the block is at most this much over what it began with."""
        process = Path(f"/proc/{self.process.pid}")
        (process / "clear_refs").write_text("5")
        before_mb = rss_mb(self.process.pid)
        yield
        status = (process / "status").read_text()
        peak_mb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
        grown_mb = peak_mb - before_mb
        assert grown_mb <= most_mb, f"from {before_mb:.0f} MB to {peak_mb:.0f} MB"
        print(f"from {before_mb:.0f} MB to {peak_mb:.0f} MB")

    def rss_mb(self) -> float:
        return rss_mb(self.process.pid)

    def metrics_page(self) -> str:
        return self.shoot(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ops=True).decode()

    def lines(self) -> list[str]:
        """What it has logged, but for a line under way; lines end where a terminal or a log collector ends them."""
        text = self.process.log.read_bytes()
        return text[: text.rfind(b"\n") + 1].decode().splitlines()


def post(body: bytes, *headers: bytes, path: bytes = b"/filter") -> bytes:
    """A whole request on a connection of its own."""
    head = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*head, b"", body])


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 20):
            received += part
    return received


def send_until_refused(connection: socket.socket, piece: Callable[[], bytes], *, most_bytes: int) -> int:
    """Bytes that were taken before the other side closed; most_bytes where it never did."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most_bytes:
            data = piece()
            connection.sendall(data)
            sent += len(data)
    return sent


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def answered(answer: bytes) -> Any:
    """The decoded body of one answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@contextlib.contextmanager
def many_open_files() -> Iterator[int]:
    """Let this process open as many files as it may; gives how many connections fit beside what a test run holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard - 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def idle(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing; those that are refused count too."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(WAIT_S)
            with contextlib.suppress(ConnectionError):
                connection.connect(("127.0.0.1", port))
            opened.append(connection)
        yield opened
