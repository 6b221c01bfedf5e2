"""Which tier a test of the real programs belongs to, and the table at the end of a run that says how each tier went.

The markers are declared in pyproject.toml. Two of them follow from what a test asks for; the others are written on it.
`make e2e` runs what has none of SLOW, and the story; `make e2e-all` runs everything.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

from tools.cluster.bundles import CONTROL_PLANE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

REAL_NODES, OLDER = "real_nodes", "older"
SLOW = ("availability", "overlays", OLDER, REAL_NODES)
"""A test with several of them is counted with the first."""
TITLES = {
    "": f"KWOK, {CONTROL_PLANE.kubernetes_version}",
    REAL_NODES: "real nodes",
    "overlays": "other overlays",
    OLDER: "older minors",
    "availability": "availability, short",
}
OUTCOMES = ("passed", "failed", "error", "skipped")
_NEWEST = int(CONTROL_PLANE.kubernetes_version.split(".")[1])


def follows(fixtures: Iterable[str], parameters: Mapping[str, Any]) -> set[str]:
    """The markers of a test that asks for these fixtures, with these parameters."""
    needs = set(fixtures)
    found = {REAL_NODES} if "node_binaries" in needs else set()
    if "older_binaries" in needs or any(_is_older(name, value) for name, value in parameters.items()):
        found.add(OLDER)
    return found


def _is_older(name: str, value: object) -> bool:
    """A minor, or a file of one."""
    if name == "minor" and isinstance(value, int):
        return value < _NEWEST
    named = re.match(r"1\.(\d+)(?:/|$)", value) if isinstance(value, str) else None
    return named is not None and int(named[1]) < _NEWEST


def tier(keywords: Iterable[str]) -> str:
    """What a test is counted with; empty for KWOK and the newest minor."""
    marked = set(keywords)
    return next((each for each in SLOW if each in marked), "")


def table(stats: Mapping[str, list[Any]]) -> list[str]:
    """A row a tier: how many came out how, and the time it took."""
    counts: dict[str, Counter[str]] = {each: Counter() for each in TITLES}
    times_s: Counter[str] = Counter()
    for category, reports in stats.items():
        for report in (each for each in reports if hasattr(each, "keywords")):
            which = tier(report.keywords)
            times_s[which] += getattr(report, "duration", 0.0)
            if category in OUTCOMES:
                counts[which][category] += 1
    return [
        f"{TITLES[each]:20}{_in_words(counts[each]):50}{times_s[each] / 60:6.1f} min" for each in TITLES if counts[each]
    ]


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])


def commit() -> str:
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "no commit"


def summary(reporter: pytest.TerminalReporter) -> None:
    """The last lines of a run, as a closing note takes them."""
    reporter.section(f"kubesteer {commit()}")
    for line in table(reporter.stats):
        reporter.write_line(line)
