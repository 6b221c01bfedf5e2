"""Findings as a person reads them in a terminal, and as a script does. Prints nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from kubesteer.cli.rewards_tables import plain
from kubesteer.schedulerconfig.findings import Finding, Severity

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_LONGEST_VALUE = 60


def exit_code(findings: Sequence[Finding]) -> int:
    """0 all is well, 1 warnings, 2 the scheduler refuses it."""
    severities = {each.severity for each in findings}
    return 2 if Severity.ERROR in severities else int(Severity.WARNING in severities)


def as_document(file: str, minor: int, findings: Sequence[Finding]) -> dict[str, Any]:
    """For scripts."""
    counts = {f"{severity}s": _count(findings, severity) for severity in Severity}
    return {"file": file, "minor": f"1.{minor}", **counts, "findings": [asdict(each) for each in findings]}


def report(file: str, minor: int, findings: Sequence[Finding]) -> RenderableType:
    """For people."""
    title = Text(f"{plain(file)} for kube-scheduler 1.{minor}: {_summary(findings)}", style="bold")
    return Group(title, *(part for each in findings for part in _shown(each)))


def _shown(finding: Finding) -> list[RenderableType]:
    value = "" if finding.value is None else f" = {_value(finding.value)}"
    where = Text.assemble(
        (f" {finding.severity:<8}", _STYLES[finding.severity]), (plain(finding.path) or "the file", "bold"), value
    )
    parts = [Text(plain(finding.reason)), Text(f"fix: {plain(finding.fix)}", style="green") if finding.fix else None]
    return [where, *(Padding(part, (0, 0, 0, 9), expand=False) for part in parts if part)]


def _value(value: object) -> str:
    text = plain(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 2]}.."


def _summary(findings: Sequence[Finding]) -> str:
    counts = [(_count(findings, severity), str(severity)) for severity in Severity]
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts if n) or "nothing to say"


def _count(findings: Sequence[Finding], severity: Severity) -> int:
    return sum(each.severity is severity for each in findings)
