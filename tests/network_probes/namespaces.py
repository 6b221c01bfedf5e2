"""Real network namespaces for tests: made by unshare with a /sys of their own, gone when the test ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]
LONGEST_S = 120
"""A namespace ends by itself after this long, whatever became of the test."""


class Namespace:
    """Runs commands in a network namespace where /sys shows that namespace."""

    def __enter__(self) -> Self:
        inside = f"mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep {LONGEST_S}"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", inside], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.terminate()
        self._holder.communicate(timeout=10)

    @property
    def pid(self) -> int:
        return self._holder.pid

    def start(self, *command: str, **streams: Any) -> subprocess.Popen[str]:
        inside = ["nsenter", "--net", "--mount", f"--target={self.pid}", "--", *command]
        return subprocess.Popen(inside, cwd=REPOSITORY, text=True, **streams)

    def run(self, *command: str) -> str:
        """Output of a command that has to succeed."""
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, f"{' '.join(command)}: {err}"
        return out

    def ip(self, *commands: str) -> Self:
        """`ip` commands, such as "link set v0 up"."""
        for command in commands:
            self.run("ip", *command.split())
        return self

    def can(self, command: str) -> bool:
        """Whether `ip` can do it here; what it makes stays."""
        return self.start("ip", *command.split(), stderr=subprocess.DEVNULL).wait(10) == 0

    def probe(self, *flags: str) -> dict[str, Any]:
        """What `python -m monitor_agent.probes` prints here, without counting traffic unless asked to."""
        seconds = () if "--seconds" in flags else ("--seconds", "0")
        found: dict[str, Any] = json.loads(self.run(sys.executable, "-m", "monitor_agent.probes", *seconds, *flags))
        return found
