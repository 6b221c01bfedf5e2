"""Reads a file that another program writes: a regular one only, of bounded size, never on the event loop.

What takes long is read in a process of its own, with limits of time and memory: YAML in a thread would hold up the
others, and nothing could end it. What the text means is the caller's business.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from kubesteer.model.errors import InvalidInput

_MOST_BYTES = 64 << 20
_SMALL_BYTES = 32 << 10
"""Read in a thread, in some milliseconds; a process costs a quarter of a second."""
_LONGEST_S = 120
_MOST_MEMORY_B = 1 << 30
_LESS_URGENT = 10
"""Niceness: answers come before a reading."""
_REFUSED = 3
"""Exit code of the process: the input cannot be used, and the output says why."""

Read = Callable[[bytes], bytes]


async def read_apart(path: Path, read: Read, module: str, arguments: Sequence[str] = ()) -> bytes:
    """What `read` makes of the file; `python -m module arguments` does the same by `answer`.

    Raises OSError, or InvalidInput that tells what is wrong with the file. Cancelling it ends the process.
    """
    handle = await asyncio.to_thread(_opened, path)
    try:
        text = await asyncio.to_thread(os.pread, handle, _SMALL_BYTES + 1, 0)
        if len(text) <= _SMALL_BYTES and b"&" not in text:  # without an anchor nothing small unfolds to much
            return await asyncio.to_thread(read, text)
        return await _in_a_process(handle, module, arguments)
    finally:
        os.close(handle)


def read_whole(path: Path) -> bytes:
    """The bytes of a regular file; raises OSError or InvalidInput."""
    with os.fdopen(_opened(path), "rb") as file:
        return _bounded(file.read(_MOST_BYTES + 1))


def read_stream(stream: BinaryIO) -> bytes:
    """All that a pipe or a terminal gives; raises OSError or InvalidInput."""
    return _bounded(stream.read(_MOST_BYTES + 1))


def answer(read: Read) -> None:
    """In the process: reads standard input, writes what `read` makes of it, and ends."""
    import resource  # noqa: PLC0415 - only the process needs it

    os.nice(_LESS_URGENT)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_B, _MOST_MEMORY_B))
    resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST_S, _LONGEST_S))
    try:
        found, code = read(read_stream(sys.stdin.buffer)), 0
    except InvalidInput as exc:
        found, code = str(exc).encode(errors="backslashreplace"), _REFUSED
    except MemoryError:
        found, code = f"it takes more than {_MOST_MEMORY_B >> 30} GiB to read".encode(), _REFUSED
    sys.stdout.buffer.write(found)
    sys.stdout.flush()
    os._exit(code)  # nothing is left to do, and freeing a large document takes long


def _opened(path: Path) -> int:
    """Without waiting for a writer, as a FIFO would."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidInput("it is no regular file; name a file")
    return handle


def _bounded(text: bytes) -> bytes:
    if len(text) > _MOST_BYTES:
        raise InvalidInput(f"it is larger than {_MOST_BYTES >> 20} MiB; cut it to what placement reads")
    return text


async def _in_a_process(handle: int, module: str, arguments: Sequence[str]) -> bytes:
    path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        *arguments,
        stdin=handle,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            found, said = await process.communicate()
    except TimeoutError as exc:
        raise InvalidInput(f"it is not read within {_LONGEST_S} s; cut it to what placement reads") from exc
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == _REFUSED:
        raise InvalidInput(found.decode(errors="replace"))
    if process.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise InvalidInput(f"its reading ended with {process.returncode}: {last[:200] or 'no word'}")
    return found
