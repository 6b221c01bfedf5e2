"""One door to all checks: a parsed KubeSchedulerConfiguration in, findings out, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubesteer.schedulerconfig.connection import Entry, connection
from kubesteer.schedulerconfig.consequences import of_entry, of_scheduler
from kubesteer.schedulerconfig.findings import Finding, Severity, error
from kubesteer.schedulerconfig.refusals import KIND, head, refusals
from kubesteer.schedulerconfig.schema import conform, schema
from kubesteer.schedulerconfig.service import Service

_ORDER = list(Severity)


def check(document: Any, minor: int, service: Service | None = None) -> list[Finding]:
    """What this minor's scheduler and kubesteer would make of it.

    service: kubesteer's settings; without them its defaults.
    """
    if not isinstance(document, Mapping):
        fix = f"write a {KIND}; see `kubesteer config make`"
        return [error("type", "", document, "the file is no object", fix)]
    findings = list(head(document))
    if any(each.rule == "kind" for each in findings):
        return findings
    config, found = conform(document, schema(minor))
    findings += [*found, *refusals(config), *_advice(config, minor, service or Service())]
    return sorted(findings, key=lambda each: _ORDER.index(each.severity))


def _advice(config: Mapping[str, Any], minor: int, service: Service) -> Iterator[Finding]:
    for path, entry in _ours(config.get("extenders", []), service):
        yield from connection(path, entry, service)
        yield from of_entry(path, entry, config, minor, service)
    yield from of_scheduler(config, minor)


def _ours(entries: list[Entry], service: Service) -> list[tuple[str, Entry]]:
    """Which extenders are kubesteer's, by address or by what they manage; where none can be told, all of them."""
    everyone = [(f"extenders[{number}]", entry) for number, entry in enumerate(entries)]
    return [(path, entry) for path, entry in everyone if _is_kubesteer(entry, service)] or everyone


def _is_kubesteer(entry: Entry, service: Service) -> bool:
    managed = {each.get("name") for each in entry.get("managedResources", [])}
    return "kubesteer" in str(entry.get("urlPrefix", "")) or not managed.isdisjoint(service.resource_names)
