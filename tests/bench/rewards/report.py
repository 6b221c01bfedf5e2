"""What was measured as Markdown: the aims, the table behind them, why what is missed is missed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.report import table
from tests.bench.rewards.aims import Aim, estimate
from tests.bench.rewards.notes import METHOD, WHY
from tests.bench.rewards.scene import LOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rewards.measures import Figures
    from tests.bench.rewards.runs import Run

HEADING = "## How good it is: `make bench-rewards`"
_COLUMNS = (
    ("until_avoided", "pods on a bad node until it is avoided", 1),
    ("share_afterwards", "% of the type's pods on bad nodes afterwards", 2),
    ("tried_again", "repaired node tried again, half-lives", 2),
    ("in_use_again", "in use again, half-lives", 2),
    ("never_in_use", "not in use by the end, part of the seeds", 2),
    ("failed_runs", "failed runs", 0),
    ("failed_on_bad", "of which on bad nodes", 0),
    ("spread", "spread of fullness, points", 2),
    ("largest_share", "largest share on one node, %", 1),
)
"""Of Figures: name, heading, digits."""


def section(runs: Sequence[Run], aims: Sequence[Aim], when: str) -> str:
    """Everything from HEADING on."""
    seeds = len({run.seed for run in runs})
    met = sum(aim.met for aim in aims)
    loads = dict.fromkeys(run.load for run in runs)
    rates = "; ".join(
        f"{load} load {LOADS[load]:.0%} of the CPU, {_pods_a_turn(runs, load):.1f} pods of the type a node and half-life"
        for load in loads
    )
    parts = [
        HEADING,
        "",
        f"Written on {when}, {seeds} seeds a line; means with 95 % confidence intervals. {rates}.",
        "",
        "![Course of the simulations](rewards.svg)",
        "",
        f"### Aims: {met} of {len(aims)} met",
        "",
        table(("load", "", "", "measured", "aim", ""), [_aim(aim) for aim in aims]),
        "",
        *(["### Missed aims, and why", "", WHY, ""] if met < len(aims) else []),
        "### Figures",
        "",
        table(("load", "", *(heading for _, heading, _ in _COLUMNS)), _figures(runs)),
        "",
        "### How it is measured",
        "",
        METHOD,
    ]
    return "\n".join(parts) + "\n"


def _aim(aim: Aim) -> tuple[str, ...]:
    digits, unit = (0, f" {aim.unit}") if aim.unit == "%" else (2, f" {aim.unit}".rstrip())
    measured = aim.figure.text(digits) if aim.figure.low < aim.figure.high else f"{aim.figure.mean:.{digits}f}"
    verdict = "met" if aim.met else "missed"
    return aim.load, aim.contender, aim.what, measured, f"≤ {aim.bound:g}{unit}", verdict


def _figures(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    rows = []
    for load in dict.fromkeys(run.load for run in runs):
        for contender in dict.fromkeys(run.contender for run in runs):
            cells = [
                estimate(runs, load, contender, lambda one, name=name: getattr(one, name)).text(digits)  # type: ignore[misc]
                for name, _, digits in _COLUMNS
            ]
            rows.append((load, contender, *cells))
    return rows


def _pods_a_turn(runs: Sequence[Run], load: str) -> float:
    of_load: list[Figures] = [run.figures for run in runs if run.load == load]
    return sum(one.pods_a_turn for one in of_load) / len(of_load)
