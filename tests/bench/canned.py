"""The floor: a bare uvloop server that reads a request and sends bytes made beforehand. Run as a process.

    python -m tests.bench.canned PORT FOLDER

FOLDER/<candidates>-<verb> holds an answer. Which one is sent follows from the verb and the size of the request, as
nothing is parsed but the head.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

Answers = dict[str, list[tuple[int, bytes]]]


class Canned(asyncio.Protocol):
    """One connection. Answers are looked up by the nearest size of request."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._parts: list[bytes] = []
        self._missing_b = 0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if not self._missing_b:
            head, _, rest = b"".join(self._parts).partition(b"\r\n\r\n")
            size_b = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0")
            verb = head.partition(b" HTTP")[0].rpartition(b"/")[2].decode()
            _, body = min(self._answers[verb], key=lambda one: abs(one[0] - size_b))
            self._answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
                len(body),
                body,
            )
            self._missing_b = size_b - len(rest)
        else:
            self._missing_b -= len(data)
        if self._missing_b <= 0:
            b"".join(self._parts)
            self._parts.clear()
            self._missing_b = 0
            self._transport.write(self._answer)  # type: ignore[attr-defined]


def read_answers(folder: Path) -> Answers:
    """File names are <request bytes>-<verb>."""
    answers: Answers = {}
    for file in sorted(folder.iterdir()):
        size_b, _, verb = file.name.partition("-")
        answers.setdefault(verb, []).append((int(size_b), file.read_bytes()))
    return answers


async def serve(port: int, folder: Path) -> None:
    answers = read_answers(folder)
    server = await asyncio.get_running_loop().create_server(lambda: Canned(answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
