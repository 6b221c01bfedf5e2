"""One answer of /explain as a person reads it in a terminal. Takes values and makes rich's tables; prints nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_tables import plain

_MOST_ROWS = 40
"""Shown; --json has all."""


def shown_answer(answer: dict[str, Any], made_by: str = "") -> RenderableType:
    """One row a node, the best first. made_by: the workload that the pod is one of."""
    of = f" of {made_by}" if made_by else ""
    title = plain(f"{answer['pod']}{of} (type {answer['podType']})")
    table = Table(box=None, title=Text(title), title_justify="left", title_style="bold")
    for heading in ("node", "score", "balance", "reward", "why"):
        table.add_column(heading, justify="left" if heading in {"node", "why"} else "right")
    best = max((row["total"] for row in answer["nodes"] if row["fits"]), default=None)
    rows = sorted(answer["nodes"], key=lambda row: (not row["fits"], -row["total"]))
    for row in rows[:_MOST_ROWS]:
        goes = row["fits"] and row["total"] == best
        table.add_row(
            Text(plain(row["node"])),
            str(row["score"]) if row["fits"] else "-",
            *(_number(row[term]) for term in ("balance", "reward")),
            Text(plain(row["reason"] or ("goes here" if goes else "fits"))),
            style="green" if goes else ("" if row["fits"] else "dim"),
        )
    parts: list[RenderableType] = [table]
    if left := rows[_MOST_ROWS:]:
        fitting = sum(row["fits"] for row in left)
        parts.append(Text(f"  and {len(left)} more nodes, {fitting} of them fit; --json has all", style="dim"))
    if answer["suspect"]:
        parts.append(Text.assemble(("  warning:", "yellow"), f" {plain(answer['suspect'])}"))
    return Group(*parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
