"""What a service writes neither blocks nor raises: lines keep their order, or are dropped, counted and told of."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesteer.clients.output import Output

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its end to read and its end to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def missing(lines: list[str]) -> int:
    """How many lines are told to be missing."""
    return sum(json.loads(line)["lines"] for line in lines if line.startswith("{"))


def test_lines_come_out_in_their_order_and_what_is_begun_comes_out_at_the_end(pipe) -> None:
    output = Output(pipe[1])
    print("first", 1, file=output)
    output.write("second\nthi")
    output.write("rd\nlast")
    output.end()
    os.close(pipe[1])
    assert os.read(pipe[0], 1000) == b"first 1\nsecond\nthird\nlast"


@pytest.mark.parametrize("waits", [True, False])
def test_a_pipe_that_nobody_reads_holds_up_nobody_and_a_line_tells_how_many_are_missing(pipe, waits: bool) -> None:
    """64 KiB of pipe and 10,000 B that wait, and once more as many with the thread: of 2,000 lines most find no room."""
    os.set_blocking(pipe[1], waits)
    output = Output(pipe[1], most_waiting_b=10_000)
    for number in range(2_000):
        output.write(f"{number:99}\n")
    assert 2_000 * 100 - (65_536 + 2 * 10_000) <= output.dropped * 100 < 2_000 * 100
    data = b""
    while not data.endswith(b"\n") or missing(data.decode().splitlines()) < output.dropped:
        data += os.read(pipe[0], 1 << 16)
    lines = data.decode().splitlines()
    numbers = [int(line) for line in lines if not line.startswith("{")]
    assert numbers == sorted(numbers)
    assert len(numbers) + missing(lines) == 2_000
    output.write("later\n")
    assert os.read(pipe[0], 1000) == b"later\n"


def test_the_end_waits_for_a_pipe_that_nobody_reads_only_so_long(pipe) -> None:
    output = Output(pipe[1])
    for _ in range(1_000):
        output.write(LINE)
    ending = threading.Thread(target=output.end, args=(0.05,))
    ending.start()
    ending.join(20)
    assert not ending.is_alive()
    os.close(pipe[0])
    output.end(20)  # its thread would go on to write to the number of a closed pipe, which the next test's may have


def test_a_full_disk_counts_what_it_does_not_take() -> None:
    with Path("/dev/full").open("wb") as full:
        output = Output(full.fileno())
        output.write("a\n")
        output.write("b\nc\n")
        output.end(10)
    assert output.dropped == 3


def test_a_closed_pipe_counts_what_it_does_not_take(pipe) -> None:
    os.close(pipe[0])
    output = Output(pipe[1])
    output.write("a\n")
    output.end(10)
    assert output.dropped == 1


def test_without_a_descriptor_all_is_dropped() -> None:
    output = Output(None)
    print("lost", file=output)
    output.end()
    assert (output.dropped, output.isatty()) == (1, False)


def test_a_line_that_the_disk_cut_off_is_ended_before_the_line_that_tells_what_is_missing(pipe, monkeypatch) -> None:
    """Of "torn" the disk takes 2 bytes, then nothing once; then it has room again."""
    write, takes = os.write, [2, 0]

    def filling(fd: int, data: bytes) -> int:
        if not takes:
            return write(fd, data)
        if (most := takes.pop(0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:most])

    monkeypatch.setattr(os, "write", filling)
    output = Output(pipe[1])
    output.write("torn\n")
    output.write("next\n")
    output.end(10)
    cut, told, after = os.read(pipe[0], 1000).decode().splitlines()
    assert (cut, json.loads(told)["lines"], after) == ("to", 1, "next")
    assert output.dropped == 1
