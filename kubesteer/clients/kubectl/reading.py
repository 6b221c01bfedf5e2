"""What kubectl prints, read: JSON documents, the table of kinds, errors. No I/O."""

from __future__ import annotations

import json

from kubesteer.model.api_objects import ApiKind, Thing
from kubesteer.model.errors import KubectlFailed

_MOST_LINES = 20


def documents(text: str) -> list[Thing]:
    """Objects one after the other, or in Lists. Raises KubectlFailed for what is no JSON."""
    decoder = json.JSONDecoder()
    found: list[Thing] = []
    rest = text.strip()
    while rest:
        try:
            thing, end = decoder.raw_decode(rest)
        except ValueError as exc:
            raise KubectlFailed(f"kubectl: its answer is no JSON: {exc}") from exc
        found += thing["items"] if thing.get("kind", "").endswith("List") and "items" in thing else [thing]
        rest = rest[end:].lstrip()
    return found


def kinds_of(table: str) -> list[ApiKind]:
    """`api-resources --output=wide` without its head: NAME [SHORTNAMES] APIVERSION NAMESPACED KIND VERBS [...]."""
    found = []
    for line in table.splitlines():
        cells = line.split()
        at = next((n for n, cell in enumerate(cells) if cell in {"true", "false"}), 0)
        if at < 2 or len(cells) < at + 3:
            continue
        group, _, version = cells[at - 1].rpartition("/")
        verbs = frozenset(cells[at + 2].strip("[]").split(","))
        found.append(ApiKind(cells[at + 1], group, version, cells[0], cells[at] == "true", verbs))
    return found


def said(command: str, error: str) -> str:
    """Kubectl's own words, without those about groups of the API that are away."""
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith("Warning:")]
    # One fault is often told once for each group of the API.
    lines = list(dict.fromkeys(line for line in lines if "memcache.go" not in line)) or lines[-1:]
    more = [f"... and {len(lines) - _MOST_LINES} lines more"] if len(lines) > _MOST_LINES else []
    return f"kubectl {command}: " + "\n".join(lines[:_MOST_LINES] + more)
