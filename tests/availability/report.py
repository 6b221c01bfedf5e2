"""Writes the measured part of docs/operations.md. Pure but for the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.report import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.availability.running import Outcome

BEGIN, END = "<!-- written by make availability -->", "<!-- end -->"
HEAD = (
    "fault",
    "lasted, s",
    "pods/s",
    "quiet",
    "ratio",
    "longest pause, s",
    "caught up after, s",
    "calls lost: filter, prioritize (timed out)",
    "above capacity: resource, with annotations",
    "what tells of it",
)
M = 10**6


def section(outcomes: Sequence[Outcome], machine: str, when: str) -> str:
    """The text between the two marks."""
    bound = sum(outcome.pods for outcome in outcomes)
    return "\n".join(
        (
            f"Measured on {when}: {machine}, with everything on it; ratios count more than figures,"
            f" and one above 1 is noise. {bound:,} pods were"
            " bound during the faults, none was lost.",
            "",
            table(HEAD, [_row(outcome) for outcome in outcomes]),
        )
    )


def put_in(document: str, text: str) -> str:
    """The document with this between the marks. Raises ValueError where they are not."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no {BEGIN} with {END} after it")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _row(outcome: Outcome) -> tuple[str, ...]:
    annotated = f"{outcome.annotated_excess_bps / M:.0f}M on {outcome.nodes_above} nodes"
    return (
        outcome.title,
        f"{outcome.lasted_s:.0f}",
        _rate(outcome.per_s),
        _rate(outcome.quiet_per_s),
        f"{outcome.ratio:.2f}",
        f"{outcome.longest_gap_s:.1f}",
        f"{outcome.caught_up_s:.1f}",
        f"{outcome.unfiltered}, {outcome.unscored} ({outcome.timed_out})",
        f"{outcome.resource_excess_bps / M:.0f}, {annotated if outcome.nodes_above else '0'}",
        outcome.told,
    )


def _rate(per_s: float) -> str:
    return f"{per_s:.0f}" if per_s >= 10 else f"{per_s:.1f}"
