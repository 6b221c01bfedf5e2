"""`python -m tests.fuzz --requests N`: shoots N requests at both verbs and stops at the first broken promise.

Promises: one meaning of a body however it is read, status 200 (413 only over the limit), an answer that decodes and keeps the protocol, no fault in the
extender's own count, and memory that stops growing. Exit code 1 names the seed and the request that broke one.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from tests.fuzz.inputs import Inputs
from tests.fuzz.judge import Broken, judge
from tests.fuzz.reading import Readings
from tests.fuzz.target import LIMIT_BYTES, POLICIES, VERBS, InProcess, OverSocket, rss_mb

EVERY = 20_000
"""Bodies between two lines of progress."""
WARM_UP = 0.2
"""This part of the run may fill caches; after it memory is compared."""
MOST_GROWTH_MB = 32.0
SOCKET_SHARE = 0.02
READINGS = Readings(LIMIT_BYTES)


async def shoot(target: InProcess | OverSocket, inputs: Inputs, index: int) -> str:
    """One body at both verbs; how it was taken. Raises Broken."""
    body = inputs.body(index)
    READINGS.compare(body)
    answers = [await target.post(verb, body) for verb in VERBS]
    await asyncio.sleep(0)  # the loop lets go of what it holds only when it turns
    return judge(body, answers[0], answers[1], limit_bytes=LIMIT_BYTES, shortlist=target.shortlist)


async def in_process(inputs: Inputs, first: int, bodies: int) -> None:
    targets = [InProcess(policy) for policy in POLICIES]
    start_s, warm_mb, warm_at = time.monotonic(), 0.0, int(bodies * WARM_UP)
    taken: Counter[str] = Counter()
    for done in range(bodies):
        target = targets[done % len(targets)]
        taken[await _or_report(target, inputs, first + done)] += 1
        if target.faults():
            raise Broken(f"a fault inside the extender; {_again(inputs, first + done)}")
        if done == warm_at:
            warm_mb = rss_mb()
        if (done + 1) % EVERY == 0 or done + 1 == bodies:
            _progress("in process", done + 1, bodies, start_s, rss_mb())
    print("bodies:", ", ".join(f"{count} {how}" for how, count in taken.most_common()))
    _check_growth("in process", warm_mb, rss_mb())


async def over_socket(inputs: Inputs, first: int, bodies: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = OverSocket(Path(directory))
        try:
            start_s, warm_mb, warm_at = time.monotonic(), 0.0, int(bodies * WARM_UP)
            for done in range(bodies):
                await _or_report(target, inputs, first + done)
                if done == warm_at:
                    warm_mb = target.rss_mb()
            if target.faults():
                raise Broken("a fault inside the extender process")
            _progress("over socket", bodies, bodies, start_s, target.rss_mb())
            _check_growth("over socket", warm_mb, target.rss_mb())
        finally:
            target.stop()


async def _or_report(target: InProcess | OverSocket, inputs: Inputs, index: int) -> str:
    try:
        return await shoot(target, inputs, index)
    except Exception as exc:
        raise Broken(f"{type(exc).__name__}: {exc}; {_again(inputs, index)}") from exc


def _again(inputs: Inputs, index: int) -> str:
    body = inputs.body(index)
    shown = repr(body) if len(body) < 4000 else f"{body[:2000]!r} ... {len(body)} bytes"
    return f"again: python -m tests.fuzz --seed {inputs.seed} --only {index}\n{shown}"


def _progress(where: str, done: int, bodies: int, start_s: float, memory_mb: float) -> None:
    rate = 2 * done / (time.monotonic() - start_s)
    print(f"{where}: {2 * done} of {2 * bodies} requests, {rate:.0f}/s, {memory_mb:.0f} MB", flush=True)


def _check_growth(where: str, warm_mb: float, end_mb: float) -> None:
    print(f"{where}: {warm_mb:.0f} MB after warm-up, {end_mb:.0f} MB at the end")
    if end_mb - warm_mb > MOST_GROWTH_MB:
        raise Broken(f"memory {where} grew by {end_mb - warm_mb:.0f} MB, more than {MOST_GROWTH_MB:.0f} MB")


async def run(seed: int, requests: int, only: int | None) -> None:
    """Everything, or one body again."""
    inputs = Inputs(seed)
    if only is not None:
        for policy in POLICIES:
            target = InProcess(policy)
            await _or_report(target, inputs, only)
            if target.faults():
                raise Broken(f"a fault inside the extender; {_again(inputs, only)}")
        return
    bodies = max(requests // 2, 1)
    by_socket = int(bodies * SOCKET_SHARE)
    await over_socket(inputs, bodies - by_socket, by_socket)
    await in_process(inputs, 0, bodies - by_socket)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="another run's seed repeats it")
    parser.add_argument("--only", type=int, default=None, help="one body of that seed again")
    chosen = parser.parse_args()
    seed = secrets.randbits(32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    try:
        uvloop.run(run(seed, chosen.requests, chosen.only))
    except Broken as exc:
        sys.exit(f"broken: {exc}")
    print("no promise broken")


if __name__ == "__main__":
    main()
