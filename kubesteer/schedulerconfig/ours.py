"""Which entries of `extenders` are kubesteer's. What is advised for kubesteer would harm any other extender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kubesteer.schedulerconfig.findings import Finding, warning
from kubesteer.schedulerconfig.service import Service

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """ours: kubesteer's entries by their paths; findings: what stands in the way of telling them."""

    ours: list[tuple[str, Entry]]
    findings: list[Finding] = field(default_factory=list)


def tell(entries: Sequence[Entry], service: Service, url: str | None = None) -> Told:
    """Kubesteer's entries: at `url`; else by name or resources; else by its port; else the only one there is."""
    named = [(f"extenders[{number}]", entry) for number, entry in enumerate(entries)]
    if url is not None:
        at = [each for each in named if _address(each[1]) == url.rstrip("/")]
        reason = f"no entry has the urlPrefix {url}"
        fix = "write it as the file does, or leave --url out"
        return Told(at, [] if at else [warning("no-extender", "extenders", None, reason, fix)])
    sure = [each for each in named if "kubesteer" in _address(each[1]) or _managed(each[1]) & {*service.resource_names}]
    by_port = [each for each in named if (parts := split(_address(each[1]))) and parts.port == service.port]
    if found := sure or by_port:
        return Told(found)
    if len(named) == 1 and not _managed(named[0][1]):
        return Told(named)
    if not named:
        reason = "without an extender kubesteer is never asked"
        return Told([], [warning("no-extender", "extenders", None, reason, "see `kubesteer config make`")])
    addresses = ", ".join(_address(entry) or path for path, entry in named)
    reason = f"none of these is kubesteer's by its name, its port {service.port} or its resources: {addresses}"
    fix = "add kubesteer's (see `kubesteer config make`), or tell which it is by --url"
    return Told([], [warning("no-extender", "extenders", None, reason, fix)])


def split(url: str) -> SplitResult | None:
    """The parts of an address that the scheduler can call; None for any other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        return None
    return parts if usable else None


def _address(entry: Entry) -> str:
    """Without the slashes that the scheduler cuts off, and without a password."""
    url = str(entry.get("urlPrefix", "")).rstrip("/")
    parts = split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts else url


def _managed(entry: Entry) -> set[str]:
    return {each.get("name", "") for each in entry.get("managedResources", [])}
