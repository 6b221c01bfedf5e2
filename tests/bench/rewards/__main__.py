"""`python -m tests.bench.rewards`: simulate, print, and write the measured part of docs/rewards.md and its plot."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench.rewards import aims, plot, report
from tests.bench.rewards.runs import measure
from tests.bench.rewards.scene import LOADS

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT, PLOT = ROOT / "docs" / "rewards.md", ROOT / "docs" / "rewards.svg"
SEEDS, SHORT_SEEDS, SHORT_LOADS = 20, 2, ("middle",)


def main() -> int:
    arguments = parser().parse_args()
    seeds = arguments.seeds or (SHORT_SEEDS if arguments.short else SEEDS)
    loads = SHORT_LOADS if arguments.short else tuple(LOADS)
    runs = measure(loads, seeds, say)
    found = aims.of_runs(runs)
    text = report.section(runs, found, time.strftime("%Y-%m-%d", time.gmtime()))
    print("\n" + text)
    if not arguments.short and seeds >= SEEDS:
        before = DOCUMENT.read_text(encoding="utf-8").partition(report.HEADING)[0]
        DOCUMENT.write_text(before + text, encoding="utf-8")
        plot.draw(runs, PLOT)
        say(f"written: {DOCUMENT.relative_to(ROOT)}, {PLOT.relative_to(ROOT)}")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.bench.rewards", description="How good the learning is.")
    top.add_argument("--short", action="store_true", help="one load and 2 seeds, half a minute, nothing written")
    top.add_argument("--seeds", type=int, help=f"simulations a line; fewer than {SEEDS} write nothing")
    return top


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
