"""What was measured as Markdown: the aims, the table behind them, why what is missed is missed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.report import table
from tests.bench.rewards.aims import Aim, back, estimate, never_back, regret
from tests.bench.rewards.notes import METHOD, WHY
from tests.bench.rewards.scene import LOADS, ROUGH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rewards.measures import Figures
    from tests.bench.rewards.runs import Run

HEADING = "## How good it is: `make bench-rewards`"
_COLUMNS = (
    ("until_avoided", "pods on a bad node until it is avoided", 1),
    ("failed_runs", "failed runs", 0),
    ("failed_on_bad", "of which on bad nodes", 1),
    ("spread", "spread of fullness, points", 2),
    ("largest_share", "largest share on one node, %", 1),
)
"""Of Figures: name, heading, digits."""
_RETURNS = (
    "regret, failed runs",
    "repaired node in use again, half-lives, median",
    "not by the end, % of repaired nodes",
)


def section(runs: Sequence[Run], aims: Sequence[Aim], when: str) -> str:
    """Everything from HEADING on."""
    seeds = len({run.seed for run in runs})
    met = sum(aim.met for aim in aims)
    loads = dict.fromkeys(run.load for run in runs)
    rates = "; ".join(
        f"{load} {'weather' if load == ROUGH else 'load'} {LOADS[load]:.0%} of the CPU, {_pods_a_turn(runs, load):.1f} pods of the type a node and half-life"
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
        table(("load", "", *(heading for _, heading, _ in _COLUMNS), *_RETURNS), _figures(runs)),
        "",
        *_rough(runs),
        "### How it is measured",
        "",
        METHOD,
    ]
    return "\n".join(parts) + "\n"


def _aim(aim: Aim) -> tuple[str, ...]:
    digits = 1 if aim.unit == "%" else 2
    return aim.load, aim.contender, aim.what, aim.figure.text(digits), f"≤ {aim.bound:g} {aim.unit}", _verdict(aim)


def _verdict(aim: Aim) -> str:
    return "met" if aim.met else "missed"


def _figures(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    rows = []
    for load in dict.fromkeys(run.load for run in runs):
        for contender in dict.fromkeys(run.contender for run in runs):
            cells = [
                estimate(runs, load, contender, lambda one, name=name: getattr(one, name)).text(digits)  # type: ignore[misc]
                for name, _, digits in _COLUMNS
            ]
            told = (
                regret(runs, load, contender).text(1),
                back(runs, load, contender).text(2),
                never_back(runs, load, contender).text(1),
            )
            rows.append((load, contender, *cells, *told))
    return rows


def _rough(runs: Sequence[Run]) -> list[str]:
    """Failed runs by kind of fault, where there are several kinds."""
    rough = [run for run in runs if run.load == ROUGH]
    kinds = sorted({kind for run in rough for kind in run.figures.failed_by_kind})
    rows = [
        (
            contender,
            *(
                estimate(rough, ROUGH, contender, lambda one, kind=kind: float(one.failed_by_kind.get(kind, 0))).text(1)  # type: ignore[misc]
                for kind in kinds
            ),
        )
        for contender in dict.fromkeys(run.contender for run in rough)
    ]
    return ["### Failed runs by kind of fault, in rough weather", "", table(("", *kinds), rows), ""] if rough else []


def _pods_a_turn(runs: Sequence[Run], load: str) -> float:
    of_load: list[Figures] = [run.figures for run in runs if run.load == load]
    return sum(one.pods_a_turn for one in of_load) / len(of_load)
