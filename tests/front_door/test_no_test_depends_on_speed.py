"""No test fails because the machine is busy, and none passes because a short sleep saw nothing.

Outside tests/bench, and what measures or runs clusters, tests wait through tests/waiting.py. This reads their sources.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FREE = {"bench", "availability", "fuzz", "e2e"}
"""Folders that measure, or that wait for programs in a cluster by its own helper."""
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}
SHORTEST_LIMIT_S = 10


def faults_in(source: str) -> Iterator[str]:
    """Line and fault: clocks that are read, sleeps outside of a loop that asks again, limits that a busy machine passes,
    and numbers of examples that no tier can change.
    """
    tree = ast.parse(source)
    polls = {
        id(inner)
        for loop in ast.walk(tree)
        if isinstance(loop, ast.While)
        for inner in ast.walk(loop)
        if isinstance(inner, ast.Call)
    }
    fakes = {
        id(inner)
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) and not function.name.startswith("test_")
        for inner in ast.walk(function)
        if isinstance(inner, ast.Call) and function.name in {"sleep", "_sleep"}
    }
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        name = ast.unparse(call.func)
        last = name.rpartition(".")[2]
        if name.startswith("time.") and last in CLOCKS:
            yield f"{call.lineno}: {name}()"
        if (
            name in {"time.sleep", "asyncio.sleep"}
            and id(call) not in polls | fakes
            and ast.unparse(call.args[0]) != "0"
        ):
            yield f"{call.lineno}: {ast.unparse(call)}"
        if name in {"asyncio.timeout", "asyncio.wait_for"}:
            limit = call.args[-1] if call.args else call.keywords[-1].value
            if isinstance(limit, ast.Constant) and limit.value < SHORTEST_LIMIT_S:
                yield f"{call.lineno}: {name} of {limit.value} s"
        for option in call.keywords:
            if option.arg == "max_examples" and isinstance(option.value, ast.Constant):
                yield f"{call.lineno}: max_examples={option.value.value}"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("assert time.monotonic() - start_s < 1", "1: time.monotonic()"),
        ("time.sleep(0.1)\nassert told == []", "1: time.sleep(0.1)"),
        ("async def test_a():\n    for _ in range(9):\n        await asyncio.sleep(0.1)", "3: asyncio.sleep(0.1)"),
        ("async def test_a():\n    async with asyncio.timeout(3):\n        pass", "2: asyncio.timeout of 3 s"),
        ("async def test_a():\n    await asyncio.wait_for(it, 1.0)", "2: asyncio.wait_for of 1.0 s"),
        ("@settings(max_examples=300)\ndef test_a():\n    pass", "1: max_examples=300"),
    ],
)
def test_what_depends_on_speed_is_found(source: str, fault: str) -> None:
    assert list(faults_in(source)) == [fault]


@pytest.mark.parametrize(
    "source",
    [
        "Source(clock=time.monotonic, sleep=asyncio.sleep)",
        "async def test_a():\n    await asyncio.sleep(0)",
        "while not there():\n    time.sleep(0.05)",
        "async def sleep(delay_s):\n    await asyncio.sleep(delay_s / 50)",
        "async def test_a():\n    async with asyncio.timeout(WITHIN_S):\n        pass",
    ],
)
def test_what_does_not_is_left_alone(source: str) -> None:
    assert list(faults_in(source)) == []


def test_no_test_reads_a_clock_or_trusts_a_sleep() -> None:
    files = [
        file
        for file in TESTS.rglob("*.py")
        if file.relative_to(TESTS).parts[0] not in FREE and file.name != "waiting.py"
    ]
    faults = [f"{file.relative_to(TESTS)}:{fault}" for file in files for fault in faults_in(file.read_text())]
    assert faults == [], "wait with tests/waiting.py, measure in tests/bench, count with tests/examples.py"
