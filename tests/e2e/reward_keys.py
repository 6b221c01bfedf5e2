"""The tests' own eye on etcd: what agents wrote there, by etcd's JSON interface. It shares nothing with kubesteer."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx

from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

PREFIX = "/kubesteer"


class Etcd:
    """A real etcd that listens where real nodes reach it. Use it in a `with`."""

    def __init__(self, program: Path, directory: Path, address: str) -> None:
        client, peer = free_ports(2)
        self.endpoint = f"{address}:{client}"
        self._url = f"http://{self.endpoint}"
        self._directory = directory
        self._command: list[str | Path] = [
            program,
            f"--data-dir={directory / 'data'}",
            f"--listen-client-urls={self._url}",
            f"--advertise-client-urls={self._url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ]
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        self._guard = Guard()
        log = self._directory / "etcd.log"
        process = Process("etcd", self._command, directory=self._directory, log=log, guard=self._guard)
        process.wait_until(self._answers, within_s=20)
        return self

    def __exit__(self, *_: object) -> None:
        if self._guard is not None:
            self._guard.end()

    def record(self, node: str, pod_type: str) -> dict[str, Any] | None:
        """What is believed of a pair, with its outcomes."""
        return self._value(f"{PREFIX}/v1/{node}/{pod_type}")

    def state(self, node: str) -> dict[str, Any] | None:
        """What the node's agent sees of its network."""
        return self._value(f"{PREFIX}/nodes/v1/{node}")

    def _value(self, key: str) -> dict[str, Any] | None:
        answer = httpx.post(f"{self._url}/v3/kv/range", json={"key": base64.b64encode(key.encode()).decode()})
        found = answer.raise_for_status().json().get("kvs", [])
        return json.loads(base64.b64decode(found[0]["value"])) if found else None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._url}/health").is_success
        except httpx.TransportError:
            return False
