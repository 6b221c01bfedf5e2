"""One door to all checks: a parsed KubeSchedulerConfiguration or a file's text in, findings out, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kubesteer.schedulerconfig.connection import connection
from kubesteer.schedulerconfig.consequences import of_entry, of_scheduler
from kubesteer.schedulerconfig.findings import Finding, error, note, worst_first
from kubesteer.schedulerconfig.ours import tell
from kubesteer.schedulerconfig.reading import read
from kubesteer.schedulerconfig.refusals import KIND, POLICY, head, refusals
from kubesteer.schedulerconfig.schema import conform, schema
from kubesteer.schedulerconfig.service import Service
from kubesteer.schedulerconfig.surroundings import surroundings
from kubesteer.schedulerconfig.wrapping import wrapped


def check(
    document: Any, minor: int, service: Service | None = None, *, in_pod: bool | None = None, url: str | None = None
) -> list[Finding]:
    """What this minor's scheduler and kubesteer would make of it.

    service: kubesteer's settings; without them its defaults.
    in_pod: whether the scheduler runs in a pod with the cluster's DNS; None where only the file can tell.
    url: the urlPrefix that is kubesteer's; None where only the file can tell.
    """
    if not isinstance(document, Mapping):
        fix = f"write a {KIND}; see `kubesteer config make`"
        return [error("type", "", document, "the file is no object", fix)]
    findings = list(head(document))
    if document.get("kind") not in (KIND, POLICY, None):
        return findings
    config, mistyped = conform(document, schema(minor))
    ours = tell(config.get("extenders", []), service or Service(), url)
    advice = [
        *refusals(config),
        *ours.findings,
        *_advice(config, ours.ours, minor, service or Service()),
        *surroundings(config, in_pod),
    ]
    return worst_first([*findings, *mistyped, *_apart_from(mistyped, advice)])


def check_text(
    text: str, minor: int, service: Service | None = None, *, in_pod: bool | None = None, url: str | None = None
) -> list[Finding]:
    """The same for a file's text, which may have it in a ConfigMap. Raises InvalidInput for what is no YAML or JSON."""
    reading = read(text)
    inner = wrapped([reading.document, *reading.others])
    if not inner:
        return worst_first([*reading.findings, *check(reading.document, minor, service, in_pod=in_pod, url=url)])
    findings = []
    for path, part in inner:
        reason = "this ConfigMap is not what the scheduler reads: mount it, and name the file by --config"
        connection = part.document.get("clientConnection")
        named = isinstance(connection, Mapping) and connection.get("kubeconfig")
        # A ConfigMap is for a pod; one that has a kubeconfig may be on its node's network.
        inside = True if in_pod is None and not named else in_pod
        found = [*part.findings, *check(part.document, minor, service, in_pod=inside, url=url)]
        findings += [replace(each, path=f"{path}.{each.path}".removesuffix(".")) for each in found]
        findings.append(note("wrapped", path, None, reason))
    return worst_first(findings)


def _advice(
    config: Mapping[str, Any], ours: list[tuple[str, Mapping[str, Any]]], minor: int, service: Service
) -> Iterator[Finding]:
    for path, entry in ours:
        yield from connection(path, entry, service)
        yield from of_entry(path, entry, config, minor, service)
    yield from of_scheduler(config, ours, minor)


def _apart_from(mistyped: Iterable[Finding], advice: Iterable[Finding]) -> list[Finding]:
    """Without what only follows from a field that could not be read, or that stands at the wrong place."""
    unread = [each.path for each in mistyped]
    misplaced = any(path.endswith(".extenders") for path in unread)
    return [
        each
        for each in advice
        if not any(each.path == path or each.path.startswith((f"{path}.", f"{path}[")) for path in unread)
        and not (misplaced and each.rule == "no-extender")
    ]
