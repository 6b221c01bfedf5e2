"""The explaining process: started when it is first needed, one job at a time, ended when one takes too long.

A process of its own and not a pool's worker: only so can a job be ended that takes too long, and its memory be bounded.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from extender.explaining.work import Job

_LENGTH = struct.Struct("!Q")
_MOST_WAITING = 2
_MOST_BYTES = 512 << 20
"""Of its memory."""


class Busy(Exception):
    """There is too much to do already, or it took too long; ask again later."""


class Worker(Protocol):
    """Does jobs off the event loop."""

    async def do(self, job: Job) -> Any:
        """What job.do() returns. Raises what it raises, or Busy."""

    async def end(self) -> None:
        """No more jobs."""


class ThreadWorker:
    """Does them in a thread: for an extender that is not served."""

    async def do(self, job: Job) -> Any:
        """What job.do() returns."""
        return await asyncio.to_thread(job.do)

    async def end(self) -> None:
        """Nothing is kept."""


class ProcessWorker:
    """Does them in a process."""

    def __init__(self, *, longest_s: float = 10.0) -> None:
        self._longest_s = longest_s
        self._child: _Child | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def do(self, job: Job) -> Any:
        """What job.do() returns."""
        if self._waiting >= _MOST_WAITING:
            raise Busy("other questions are being explained; ask again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._ask(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        finally:
            self._waiting -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def end(self) -> None:
        """Whatever is under way, the process is gone afterwards."""
        child, self._child = self._child, None
        if child is not None:
            child.writer.close()
            child.process.kill()
            await asyncio.to_thread(child.process.wait)

    async def _ask(self, job: bytes) -> Any:
        try:
            async with asyncio.timeout(self._longest_s):
                child = await self._running()
                child.writer.writelines((_LENGTH.pack(len(job)), job))
                await child.writer.drain()
                (length,) = _LENGTH.unpack(await child.reader.readexactly(_LENGTH.size))
                return pickle.loads(await child.reader.readexactly(length))  # noqa: S301 - of our own process
        except (TimeoutError, EOFError, OSError) as exc:
            await self.end()
            raise Busy("explaining took too long or too much memory; ask about fewer nodes") from exc
        except asyncio.CancelledError:
            await self.end()  # what it answers would be taken for the answer to the next
            raise

    async def _running(self) -> _Child:
        child = self._child
        if child is not None and (child.writer.is_closing() or child.process.poll() is not None):
            await self.end()
        if self._child is None:
            self._child = await _started()
        return self._child


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def _started() -> _Child:
    """A new process, which ends with our end of its input.

    Not by the event loop: uvloop's child runs Python between fork and exec, in a process that has threads.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns once the process is there, within milliseconds
            [sys.executable, "-m", "extender.explaining.process"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
    return _Child(process, reader, writer)


def main() -> None:
    """Jobs from standard input, answers to standard output, until the input ends, with the extender."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # those are for the extender
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := jobs.read(_LENGTH.size):
        try:
            answer = pickle.loads(jobs.read(_LENGTH.unpack(head)[0])).do()  # noqa: S301 - of our own process
        except InvalidInput as exc:
            answer = InvalidInput(str(exc))
        except Exception as exc:  # noqa: BLE001 - told where there is a log
            answer = RuntimeError("".join(traceback.format_exception(exc)))
        content = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        answers.write(_LENGTH.pack(len(content)) + content)
        answers.flush()


if __name__ == "__main__":
    main()
