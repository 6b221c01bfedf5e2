"""`python -m tests.bench`: measure, print, and write docs/benchmarks.md after a complete run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, field

from tests.bench import aims, calls, machine, pods_per_second, report, syncing
from tests.bench.aims import Aim
from tools.cluster.build import build, cache_folder
from tools.cluster.bundles import CONTROL_PLANE
from tools.cluster.extender import ROOT

PARTS = ("http", "scheduler", "sync")
TARGET = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    call_rounds: int
    call_pods: int
    scheduler_nodes: tuple[int, ...]
    scheduler_pods: int
    scheduler_rounds: int
    apart_rounds: int
    sync_nodes: int
    sync_pods: int
    sync_rounds: int
    follow_s: float


FULL = Size(20, 100, (1_000, 5_000), 2_000, 2, 1, 5_000, 50_000, 2, 20.0)
SHORT = Size(4, 30, (1_000,), 300, 1, 1, 500, 3_000, 1, 3.0)


@dataclass(slots=True)
class Outcome:
    """What the parts found, in order."""

    aims: list[Aim] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


def main() -> int:
    arguments = parser().parse_args()
    size = SHORT if arguments.short else FULL
    chosen = arguments.only or list(PARTS)
    text = measured(size, chosen)
    sys.stdout.write("\n" + text)
    if not arguments.short and set(chosen) == set(PARTS):
        TARGET.write_text(text, encoding="utf-8")
        say(f"written: {TARGET.relative_to(ROOT)}")
    return 0


def measured(size: Size, chosen: list[str]) -> str:
    """The document with the chosen parts."""
    binaries = build(cache_folder(os.environ))
    outcome = Outcome()
    if "http" in chosen:
        say("single calls: about a minute ...")
        results = calls.measure(binaries, rounds=size.call_rounds, pods=size.call_pods)
        outcome.aims += aims.of_calls(results)
        outcome.parts.append(report.of_calls(results))
    if "scheduler" in chosen:
        runs = []
        for nodes in size.scheduler_nodes:
            say(
                f"real scheduler, {nodes} nodes: {size.scheduler_rounds + size.apart_rounds} rounds of about a minute ..."
            )
            runs += pods_per_second.measure(
                binaries,
                nodes=nodes,
                pods=size.scheduler_pods,
                rounds=size.scheduler_rounds,
                apart_rounds=size.apart_rounds,
                say=say,
            )
        outcome.aims += aims.of_scheduler(runs)
        outcome.parts.append(report.of_scheduler(runs, size.scheduler_pods))
    if "sync" in chosen:
        synced = syncing.measure(
            binaries,
            nodes=size.sync_nodes,
            pods=size.sync_pods,
            rounds=size.sync_rounds,
            follow_s=size.follow_s,
            say=say,
        )
        outcome.aims += aims.of_sync(synced)
        outcome.parts.append(report.of_sync(synced))
    versions = f"kube-scheduler {CONTROL_PLANE.kubernetes_version}, {machine.versions()}"
    return report.document(
        machine.described(), versions, time.strftime("%Y-%m-%d", time.gmtime()), outcome.aims, outcome.parts
    )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed, measured side by side.")
    top.add_argument("--short", action="store_true", help="a few minutes, smaller clusters, nothing written")
    top.add_argument("--only", action="append", choices=PARTS, help="this part only; may be given more than once")
    return top


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
