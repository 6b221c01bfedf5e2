"""`python -m tests.availability`: every fault in its long form; prints, and writes its part of docs/operations.md."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.availability import balancer, report
from tests.availability.faults import FAULTS
from tests.availability.running import Outcome, measure
from tests.availability.stand import Stand
from tests.bench import machine
from tools.cluster.build import build, cache_folder
from tools.cluster.extender import ROOT

DOCUMENT = ROOT / "docs" / "operations.md"
NODES, WAITING, FULL = 100, 100, 0.8
QUIET_S, FAULT_S, KILLING_S = 15.0, 30.0, 120.0


def main() -> int:
    arguments = parser().parse_args()
    if reason := balancer.why_not():
        sys.stderr.write(f"{reason}\n")
        return 1
    chosen = arguments.only or list(FAULTS)
    outcomes = measured(chosen, quiet_s=arguments.quiet_s, fault_s=arguments.fault_s)
    text = report.section(outcomes, machine.described(), time.strftime("%Y-%m-%d", time.gmtime()))
    say(text)
    wrong = [f"{outcome.title}: {what}" for outcome in outcomes for what in outcome.wrong]
    if wrong:
        sys.stderr.write("\n".join(wrong) + "\n")
        return 1
    if set(chosen) == set(FAULTS) and arguments.fault_s is None:
        DOCUMENT.write_text(report.put_in(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
        say(f"written: {DOCUMENT.relative_to(ROOT)}")
    return 0


def measured(chosen: list[str], *, quiet_s: float, fault_s: float | None) -> list[Outcome]:
    """One installation for all; the load rests between two faults."""
    outcomes = []
    with Stand(build(cache_folder(os.environ)), nodes=NODES) as stand, stand.load(waiting=WAITING, full=FULL) as load:
        for name in chosen:
            lasts_s = fault_s or (KILLING_S if name == "replicas-killed" else FAULT_S)
            say(f"{FAULTS[name].title}: {quiet_s:g} s quiet, then {lasts_s:g} s ...")
            outcomes.append(measure(stand, load, FAULTS[name], quiet_s=quiet_s, fault_s=lasts_s))
            say(f"  {outcomes[-1]}")
    return outcomes


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.availability", description="Scheduling under faults.")
    top.add_argument("--only", action="append", choices=list(FAULTS), help="this fault only; may be given again")
    top.add_argument("--quiet-s", type=float, default=QUIET_S, help="seconds of quiet before each fault")
    top.add_argument("--fault-s", type=float, help="seconds of each fault; where given, nothing is written")
    return top


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
