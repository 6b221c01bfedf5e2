"""Start a program, read the end of its log, stop it. Knows nothing of what the program is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

POLL_S = 0.05


class StartError(Exception):
    """A program ended, or was not ready in time; the text has the end of its log."""


class Process:
    """One run of a program, its output in a log file that later runs append to."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, directory: Path, log: Path, guard: Guard | None = None
    ) -> None:
        """Start at once. With a guard it ends with this Python process at the latest; without, it may outlive it."""
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=guard.group if guard else None,
                start_new_session=guard is None,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Return when `ready()`; raise StartError with the log's end when the program ends first or takes longer."""
        deadline_s = time.monotonic() + within_s
        while not ready():
            if not self.running:
                raise StartError(f"{self.name}: ended with code {self._popen.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline_s:
                raise StartError(f"{self.name}: not ready after {within_s:g} s\n{self.log_tail()}")
            time.sleep(POLL_S)

    def stop(self, *, within_s: float = 10.0) -> None:
        """Ask the program to end; kill it when it takes longer."""
        if self.running:
            self._popen.terminate()
            try:
                self._popen.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.running:
            self._popen.kill()
        self._popen.wait()

    def log_tail(self, lines: int = 20) -> str:
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(line[:500] for line in text[-lines:])


class Guard:
    """A process group that ends when this Python process does, however that ends.

    Its leader is a shell that waits on a pipe from here; when the pipe closes it kills its whole group.
    """

    def __init__(self) -> None:
        self._leader = subprocess.Popen(
            ["sh", "-c", "cat >/dev/null; kill -KILL 0"], stdin=subprocess.PIPE, process_group=0
        )
        self.group = self._leader.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Kill whatever is left in the group."""
        if self._leader.stdin is not None:
            self._leader.stdin.close()
        self._leader.wait()


class Afterwards:
    """A shell script that runs when this Python process has ended, however it does, or when it is told to.

    It waits on a pipe from here, in a session of its own, so that what ends this process does not end the script.
    """

    def __init__(self, script: str) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", f"cat >/dev/null\n{script}"], stdin=subprocess.PIPE, start_new_session=True
        )

    def run(self) -> None:
        """Run the script now, and return when it is done."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()


def runs_program(pid: int, program: Path) -> bool:
    """Whether that process, perhaps of an earlier run, still runs that program."""
    try:
        return Path(f"/proc/{pid}/exe").readlink() == program.resolve()
    except OSError:
        return False


def kill_program(pid: int, program: Path) -> bool:
    """SIGKILL a process of an earlier run, unless its id now belongs to another program. Returns whether it did."""
    if not runs_program(pid, program):
        return False
    os.kill(pid, signal.SIGKILL)
    return True
