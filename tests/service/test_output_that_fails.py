"""The real process keeps its promises whatever becomes of its output: a full disk, pipes that nobody reads or closed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import pod
from tests.certificates import Authority
from tests.service.harness import args
from tests.waiting import WITHIN_S, wait_until
from tools.cluster.extender import ROOT
from tools.cluster.ports import free_ports

BODY = json.dumps(args(pod(), ["node-1"]))
REFUSALS = 600
"""Of some 230 B each, twice what a pipe holds."""
OUTPUTS = (
    "a full disk",
    "a pipe that nobody reads",
    "a pipe that nobody reads and does not wait",
    "a closed pipe",
    "none",
)


@contextmanager
def outputs(kind: str) -> Iterator[int | None]:
    """A descriptor for standard output and error; None for no descriptor."""
    if kind == "a full disk":
        with Path("/dev/full").open("wb") as full:
            yield full.fileno()
        return
    if kind == "none":
        yield None
        return
    read, write = os.pipe()
    os.set_blocking(write, "does not wait" not in kind)
    if kind == "a closed pipe":
        os.close(read)
    try:
        yield write
    finally:
        os.close(write)
        if kind != "a closed pipe":
            os.close(read)


class Extender:
    """One process with TLS on the verbs' port."""

    def __init__(self, folder: Path, authority: Authority, output: int | None, *, form: str = "json") -> None:
        self.port, self._ops_port = free_ports(2)
        self._context = ssl.create_default_context(cafile=str(authority.ca_file))
        certificate, key = authority.issue("extender", stem=folder / "server")
        settings = {
            "log": {"format": form},
            "cluster": {"file": "examples/cluster.yaml"},
            "listen": {"port": self.port, "drain_s": 1.0},
            "ops": {"port": self._ops_port},
            "tls": {"cert_file": str(certificate), "key_file": str(key), "reload_s": 0.05},
        }
        (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "extender", "--config", str(folder / "settings.yaml")]
        if output is None:
            command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def connected(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=WITHIN_S, context=self._context)
        connection.connect()
        return connection

    def certificate(self) -> bytes | None:
        connection = self.connected()
        try:
            return connection.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
        finally:
            connection.close()

    def ops(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ops_port}{path}", timeout=WITHIN_S) as answer:
            return answer.read().decode()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.process.returncode
        try:
            return bool(json.loads(self.ops("/readyz"))["ready"])
        except OSError:
            return False


def post(connection: http.client.HTTPSConnection, body: str) -> tuple[int, Any]:
    connection.request("POST", "/filter", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(("kind", "form"), [*((kind, "json") for kind in OUTPUTS), ("a full disk", "console")])
def test_verbs_health_certificates_and_drain_do_not_depend_on_the_log(kind: str, form: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    with outputs(kind) as output:
        extender = Extender(tmp_path, authority, output, form=form)
        try:
            wait_until(extender.is_ready)
            connection = extender.connected()
            assert {post(connection, "{")[0] for _ in range(REFUSALS)} == {200}
            assert post(connection, BODY)[1]["NodeNames"] == ["node-1"]
            assert json.loads(extender.ops("/healthz")) == {"status": "ok"}
            before = extender.certificate()
            authority.issue("extender", stem=tmp_path / "server")
            wait_until(lambda: extender.certificate() != before)
            dropped = re.search(r"^kubesteer_log_lines_dropped_total (\S+)$", extender.ops("/metrics"), re.MULTILINE)
            assert dropped is not None
            assert float(dropped[1]) >= (0 if "nobody reads" in kind else REFUSALS)
            tasks = json.loads(extender.ops("/readyz"))["tasks"]
            assert {task: told["restarts"] for task, told in tasks.items()} == dict.fromkeys(tasks, 0)
            extender.process.send_signal(signal.SIGTERM)
            status, _ = post(connection, BODY)
            assert status == 200
            connection.close()  # as the answer asks, or the process waits for it
            assert extender.process.wait(WITHIN_S) == 0
        finally:
            extender.process.kill()
            extender.process.wait()
