"""The table of values in chart/README.md, from values.yaml and its schema. Text in, text out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BEGIN, END = "<!-- values: written by make chart -->\n", "<!-- end -->\n"


def with_table(page: str, values: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The page with the table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"chart/README.md: no {BEGIN.strip()} with {END.strip()} after it")
    rows = (f"| `{name}` | `{default}` | {meaning} |\n" for name, default, meaning in _rows(values, schema, ""))
    return f"{before}{BEGIN}| value | default | meaning |\n|---|---|---|\n{''.join(rows)}{END}{after}"


def _rows(values: Mapping[str, Any], schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, value in values.items():
        described = schema["properties"][name]
        if "properties" in described:
            yield from _rows(value, described, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value), described["description"].replace("|", "\\|")
