"""Standard output and error of a service: writing neither blocks nor raises, even where no reader takes it.

A full disk, a pipe that is not read or is closed must not stop the service: lines that find no room are dropped
and counted, and a line says so once there is room. No form of a line is decided here. Not logging's QueueListener: its
end waits for ever for a pipe that is not read, and it knows nothing of print, tracebacks and the libraries' warnings.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO, cast

_MOST_WAITING_B = 1 << 20
"""Some thousand lines."""
_END_WITHIN_S = 1.0
_TRY_AGAIN_S = 1.0


class Output(io.TextIOBase):
    """A text stream over a file descriptor, to which one thread writes line after line; without one, all is dropped."""

    def __init__(self, fd: int | None, *, most_waiting_b: int = _MOST_WAITING_B) -> None:
        """most_waiting_b: so much may wait for the thread; what comes beyond is dropped."""
        super().__init__()
        self.dropped = 0
        """Lines, since the start."""
        self._fd = -1 if fd is None else fd
        self._most_waiting_b = most_waiting_b
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_b = 0
        self._begun = ""
        self._without_room = 0
        """Lines since the thread last looked."""
        self._untold = 0
        """Lines that are missing where the thread has got to."""
        self._is_torn = False
        """The last thing written is part of a line."""
        self._is_ending = fd is None
        self._thread = threading.Thread(target=self._work, name="output", daemon=True)
        if fd is not None:
            self._thread.start()

    def writable(self) -> bool:
        """As io has it."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._fd >= 0 and os.isatty(self._fd)

    def write(self, text: str, /) -> int:
        """Takes it; it is written once its line ends."""
        with self._changed:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
            if end or len(self._begun) > self._most_waiting_b:
                self._put(lines + end)
        return len(text)

    def end(self, within_s: float = _END_WITHIN_S) -> None:
        """Write what waits, for so long; what comes later is dropped."""
        with self._changed:
            if self._begun:
                self._put(self._begun)
            self._begun = ""
            self._is_ending = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(within_s)

    def _put(self, text: str) -> None:
        """With the lock held."""
        data = text.encode(errors="backslashreplace")
        if self._is_ending or self._waiting_b + len(data) > self._most_waiting_b:
            self._without_room += _lines(data)
            self.dropped += _lines(data)
        else:
            self._waiting.append(data)
            self._waiting_b += len(data)
        self._changed.notify()

    def _work(self) -> None:
        """The thread. It takes all that waits at once: what found no room then came after it, and before all else."""
        while True:
            with self._changed:
                wait_s = _TRY_AGAIN_S if self._untold else None
                self._changed.wait_for(lambda: self._waiting or self._without_room or self._is_ending, wait_s)
                taken, self._waiting, self._waiting_b = self._waiting, deque(), 0
                without_room, self._without_room = self._without_room, 0
                is_last = self._is_ending and not taken
            for data in taken:
                self._tell_missing()
                if not self._is_written(data):
                    self._untold += _lines(data)
                    with self._changed:
                        self.dropped += _lines(data)
            self._untold += without_room
            self._tell_missing()
            if is_last:
                return

    def _tell_missing(self) -> None:
        if self._untold and self._is_written(_notice(self._untold)):
            self._untold = 0

    def _is_written(self, data: bytes) -> bool:
        """False where the rest of it is lost. It waits for as long as there is no room in a pipe."""
        rest = b"\n" + data if self._is_torn else data
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    room = select.poll()
                    room.register(self._fd, select.POLLOUT)
                    room.poll()
        except OSError:
            self._is_torn = self._is_torn or len(rest) < len(data)
            return False
        self._is_torn = False
        return True


def take_over() -> Callable[[], int]:
    """Put an Output in the place of sys.stdout and one in that of sys.stderr; gives how many lines they have dropped.

    Both write what waits when the process ends.
    """
    _fill_standard_descriptors()
    out, err = Output(_fd(sys.stdout)), Output(_fd(sys.stderr))
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    for output in (out, err):
        atexit.register(output.end)
    return lambda: out.dropped + err.dropped


def _fill_standard_descriptors() -> None:
    """A socket with one of their numbers would get what libraries print, and libuv aborts when it closes one."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _fd(stream: TextIO | None) -> int | None:
    """None where there was no descriptor at the start: its number may be another file's by now."""
    return None if stream is None else stream.fileno()


def _lines(data: bytes) -> int:
    return max(data.count(b"\n"), 1)


def _notice(lines: int) -> bytes:
    told = {
        "event": "log lines dropped",
        "lines": lines,
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat(),
    }
    return json.dumps(told).encode() + b"\n"
