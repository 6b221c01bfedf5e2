"""The real extender as a process, for tests and benchmarks: start on free ports, ask how it stands, kill."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]


class Extender:
    """`python -m extender` with these settings (groups as in docs/settings.md) over free loopback ports."""

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.port, self.ops_port = free_ports(2)
        self._directory = Path(tempfile.mkdtemp(prefix="kubesteer-"))
        self._guard = Guard()
        self._process: Process | None = None
        self.settings = {"log": {"format": "json"}, **(settings or {})}
        self.settings["listen"] = {"port": self.port, "drain_s": 0, **self.settings.get("listen", {})}
        self.settings["ops"] = {"port": self.ops_port, **self.settings.get("ops", {})}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self, *, wait_ready: bool = True, within_s: float = 60.0) -> None:
        """Start it, again on the same ports after a kill; by default wait until it is ready."""
        config = self._directory / "settings.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        command = [sys.executable, "-m", "extender", "--config", str(config)]
        self._process = Process(
            "extender", command, directory=ROOT, log=self._directory / "extender.log", guard=self._guard
        )
        if wait_ready:
            self._process.wait_until(self.is_ready, within_s=within_s)

    @property
    def process(self) -> Process:
        """The running process; .kill() is SIGKILL, .stop() is SIGTERM, .pid is its pid."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    @property
    def url(self) -> str:
        """What urlPrefix names."""
        scheme = "https" if self.settings.get("tls", {}).get("cert_file") else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.settings['listen'].get('path_prefix', '')}"

    @property
    def ops(self) -> str:
        """The ops address."""
        scheme = "https" if self.settings["ops"].get("tls") else "http"
        return f"{scheme}://127.0.0.1:{self.ops_port}"

    def readyz(self) -> dict[str, Any]:
        """The report of /readyz, ready or not; {} where nothing answers. As a probe, it looks at no certificate."""
        try:
            unchecked = ssl._create_unverified_context()
            with urllib.request.urlopen(f"{self.ops}/readyz", timeout=5, context=unchecked) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as exc:
            return dict(json.load(exc))
        except OSError:
            return {}

    def is_ready(self) -> bool:
        return bool(self.readyz().get("ready"))

    def metric(self, name: str) -> float:
        """Sum of a metric's samples over its labels; 0 where it is absent."""
        with urllib.request.urlopen(f"{self.ops}/metrics", timeout=5) as response:
            text = response.read().decode()
        return sum(
            float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? ([-+.\deE]+|NaN)$", text, re.MULTILINE)
        )

    def post(self, verb: str, body: Any) -> Any:
        """POST to a verb; the decoded answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{verb}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


def scheduler_entry(extender: Extender, **fields: Any) -> dict[str, Any]:
    """The `extenders:` entry for this extender; fields override."""
    return {
        "urlPrefix": extender.url,
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "weight": 5,
        "enableHTTPS": False,
        "httpTimeout": "1s",
        "nodeCacheCapable": True,
        "ignorable": True,
        **fields,
    }


def scheduler_config(*extenders: dict[str, Any]) -> dict[str, Any]:
    """A KubeSchedulerConfiguration for the test bed, which adds the connection."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "extenders": list(extenders),
    }
