"""What a check has to say: one value a finding. Nothing is decided or printed here."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """kube-scheduler refuses the file at its start."""
    WARNING = "warning"
    """kube-scheduler takes it, and then something goes wrong, or is worse than it need be."""
    NOTE = "note"
    """What the file means or costs; nothing has to be done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    rule: a name that stays the same between versions, for scripts.
    path: the field, such as `extenders[0].weight`; empty for the whole file.
    value: what stands there; None where nothing does.
    fix: what to write instead; empty for a note.
    """

    severity: Severity
    rule: str
    path: str
    value: object
    reason: str
    fix: str = ""


def error(rule: str, path: str, value: object, reason: str, fix: str) -> Finding:
    """kube-scheduler would not start."""
    return Finding(Severity.ERROR, rule, path, value, reason, fix)


def warning(rule: str, path: str, value: object, reason: str, fix: str) -> Finding:
    """It would start, and then not do what is wanted."""
    return Finding(Severity.WARNING, rule, path, value, reason, fix)


def note(rule: str, path: str, value: object, reason: str) -> Finding:
    """Good to know."""
    return Finding(Severity.NOTE, rule, path, value, reason)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, warnings, notes; the warnings by what goes wrong."""
    order = list(Severity)

    def rank(finding: Finding) -> tuple[int, int]:
        grave = next((place for place, rules in enumerate(_GRAVEST) if finding.rule in rules), len(_GRAVEST))
        return order.index(finding.severity), grave

    return sorted(findings, key=rank)


_GRAVEST = (
    frozenset({"unknown-plugin", "negative-weight", "no-kubeconfig", "lease"}),
    frozenset({"when-away", "cluster-dns", "no-extender", "no-verb", "url", "url-path", "url-port", "verb"}),
    frozenset({"https-scheme", "no-certificate", "half-certificate", "tls-no-ca"}),
    frozenset({"tls-insecure", "clear-text", "url-password", "uncounted"}),
)
"""Warnings: no scheduler runs; pods wait, or kubesteer is not reached; TLS fails; nothing is safe. The rest behind."""
