"""Texts of a scheduler configuration, and what the scheduler reads in them: held against kubesteer's reader here, and
against the real kube-scheduler in tests/e2e.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.scheduler_config.documents import KUBECONFIG

HEAD = f"""\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {{kubeconfig: {KUBECONFIG}}}
"""
ENTRY = """\
extenders:
- urlPrefix: http://127.0.0.1:8888
  prioritizeVerb: prioritize
  weight: 15
"""
WHOLE = HEAD + ENTRY
JSON = json.dumps(
    {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": KUBECONFIG},
        "extenders": [{"urlPrefix": "http://127.0.0.1:8888", "prioritizeVerb": "prioritize", "weight": 15}],
    },
    indent="\t",
)
FIRST = "- &a\n  urlPrefix: http://127.0.0.1:8888\n  prioritizeVerb: prioritize\n  weight: 15\n"


@dataclass(frozen=True, slots=True)
class Text:
    """weights: those of the extenders, as the scheduler reads them; None where it refuses the text."""

    text: str
    weights: tuple[int, ...] | None = (15,)


def weighing(word: str, weight: int | None) -> Text:
    return Text(WHOLE.replace("weight: 15", f"weight: {word}"), None if weight is None else (weight,))


WEIGHTS: dict[str, int | None] = {
    "15.0": 15,
    "15.": 15,
    "1e1": 10,
    "1E1": 10,
    "1.5e1": 15,
    ".15e2": 15,
    "1e+1": 10,
    "1e18": 10**18,
    "0x0f": 15,
    "0X1": 1,
    "017": 15,
    "0o17": 15,
    "08": 8,
    "0b11": 3,
    "1_5": 15,
    "+15": 15,
    "!!int '15'": 15,
    "15.5": None,
    "1e-1": None,
    "1:30": None,
    "'15'": None,
    "!!str 15": None,
    "yes": None,
    "1e400": None,
    ".inf": None,
    ".nan": None,
    "~": None,
    "-1": None,
    "9223372036854775808": None,
    "1e21": None,
}
NAMES: dict[str, str | None] = {
    "2026-01-01": "2026-01-01",
    "12:30:45": "12:30:45",
    "1.2.3": "1.2.3",
    "0x": "0x",
    "tRUE": "tRUE",
    "_1": "_1",
    "=": "=",
    "1e400": "1e400",
    "!!str y": "y",
    "!!binary eA==": "x",
    "!mine x": "x",
    "nULL": "nULL",
    "0b2": "0b2",
    **dict.fromkeys(("5", "1e1", "1_", "y", "N", "on", "Off", "TRUE", "0o17", "!!int x", "!!null x", "''")),
}
"""What stands as schedulerName, and what the scheduler takes it for; None where it refuses it."""

TEXTS = {
    "YAML": Text(WHOLE),
    "a field twice": Text(WHOLE + "  weight: 15\n", None),
    "a field twice, once in quotes": Text(WHOLE + "  'weight': 15\n", None),
    "a field twice, once null": Text(WHOLE + "  weight: null\n", None),
    "a byte order mark": Text("\ufeff" + WHOLE),
    "lines of another system": Text(WHOLE.replace("\n", "\r\n")),
    "--- at the end": Text(WHOLE + "---\n"),
    "--- at the head": Text("---\n" + WHOLE),
    "an empty first document": Text("---\n---\n" + WHOLE, None),
    "... at the end": Text(WHOLE + "...\n"),
    "a second document": Text(WHOLE + "---\na: b\n"),
    "a second document that is no YAML": Text(WHOLE + "---\na: [\n"),
    "a directive": Text("%YAML 1.1\n---\n" + WHOLE),
    "nothing": Text("", None),
    "comments only": Text("# nothing\n", None),
    "a list": Text("- a\n", None),
    "a merge": Text(f"{HEAD}extenders:\n{FIRST}- <<: *a\n", (15, 15)),
    "a merge and another field": Text(f"{HEAD}extenders:\n{FIRST}- <<: *a\n  ignorable: true\n", (15, 15)),
    "a merge that a field overrides": Text(f"{HEAD}extenders:\n{FIRST}- <<: *a\n  weight: 3\n", None),
    "a merge behind the field": Text(f"{HEAD}extenders:\n{FIRST}- weight: 3\n  <<: *a\n", None),
    "a merge of two": Text(f"{HEAD}extenders:\n{FIRST}- <<: [*a, {{ignorable: true}}]\n", (15, 15)),
    "a merge of two with a field in common": Text(f"{HEAD}extenders:\n{FIRST}- <<: [*a, {{weight: 3}}]\n", None),
    "two merges": Text(f"{HEAD}extenders:\n{FIRST}- <<: *a\n  <<: {{ignorable: true}}\n", (15, 15)),
    "a merge of no object": Text(f"{HEAD}extenders:\n{FIRST}- <<: a\n", None),
    "a merge key in quotes": Text(f"{HEAD}extenders:\n{FIRST}- '<<': *a\n", None),
    "an alias": Text(f"{HEAD}extenders:\n{FIRST}- *a\n", (15, 15)),
    "an alias of itself": Text(f"{HEAD}extenders: &a [*a]\n", None),
    "an alias of nothing": Text(f"{HEAD}extenders: *a\n", None),
    "a key that is a number": Text(WHOLE + "1: 2\n", None),
    "a key that is null": Text(WHOLE + "~: 2\n", None),
    "a key that is a list": Text(WHOLE + "? [a]\n: 2\n", None),
    "a tab as indentation": Text(WHOLE.replace("  weight", "\tweight"), None),
    "a tab behind a colon": Text(WHOLE.replace("weight: ", "weight:\t")),
    "a tab at a line's end": Text(WHOLE.replace("15\n", "15\t\n")),
    "tabs in a flow": Text(HEAD + "extenders: [\n\t{prioritizeVerb: prioritize,\tweight: 15}]\n"),
    "JSON with tabs": Text(JSON),
    "JSON behind blanks": Text("\t\r\n " + JSON),
    "JSON behind a comment": Text("# YAML then\n" + JSON),
    "JSON behind a byte order mark": Text("\ufeff" + JSON),
    "JSON and ---": Text(JSON + "\n---\n", None),
    "JSON and something": Text(JSON + "\na: b\n", None),
    "JSON with a comma too many": Text(JSON.removesuffix("}") + ",}", None),
    "JSON in single quotes": Text(JSON.replace('"', "'"), None),
    "JSON, a field twice": Text(JSON.replace('"weight": 15', '"weight": 15, "weight": 15'), None),
    "JSON, 15.0": Text(JSON.replace("15", "15.0"), None),
    "JSON, 1e1": Text(JSON.replace("15", "1e1"), None),
    "JSON, a merge key": Text(JSON.replace('"weight": 15', '"weight": 15, "<<": {"ignorable": true}'), None),
    "JSON, not a number": Text(JSON.replace("15", "NaN"), None),
    **{f"weight {word}": weighing(word, weight) for word, weight in WEIGHTS.items()},
}
