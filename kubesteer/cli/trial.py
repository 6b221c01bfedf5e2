"""`kubesteer try`: asks a running extender where a few pods would go, and prints why."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table


def try_pods(
    pods: Path = Path("examples/pods.yaml"),
    *,
    ops: str = "http://127.0.0.1:8889",
    nodes: Sequence[str] = (),
    cluster: Path = Path("examples/cluster.yaml"),
    as_json: bool = False,
) -> None:
    """Ask where pods would go, and why. Nothing is scheduled, and no charge is taken.

    Parameters
    ----------
    pods:
        YAML list of pods, as the API has them.
    ops:
        Ops address of a running extender (`make run` starts one).
    nodes:
        Candidate nodes; without them, all nodes of --cluster.
    cluster:
        Cluster file that names the candidates.
    as_json:
        Print the extender's answers instead of tables.
    """
    names = list(nodes) or _node_names(cluster)
    answers = [_ask(ops, {"Pod": pod, "Nodes": None, "NodeNames": names}) for pod in _read(pods)]
    if as_json:
        sys.stdout.write(json.dumps(answers, indent=2) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 130)
    for answer in answers:
        console.print(_table(answer))
        if answer["suspect"]:
            console.print(f"  [yellow]warning:[/] {answer['suspect']}")


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as exc:
        sys.exit(f"{path}: {exc}")


def _node_names(cluster: Path) -> list[str]:
    return [item["metadata"]["name"] for item in _read(cluster)["items"] if item["kind"] == "Node"]


def _ask(ops: str, arguments: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the address is the user's own
        f"{ops}/explain", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as exc:
        sys.exit(f"{ops}/explain: {exc.code} {exc.read().decode(errors='replace')}")
    except OSError as exc:
        sys.exit(f"{ops} does not answer ({exc}); start the extender with `make run`, or name it with --ops")


def _table(answer: dict[str, Any]) -> Table:
    """One row a node, the best first."""
    table = Table(title=f"{answer['pod']} (type {answer['podType']})", title_justify="left", title_style="bold")
    for heading in ("node", "score", "balance", "reward", "why"):
        table.add_column(heading, justify="left" if heading in {"node", "why"} else "right")
    fitting = [row for row in answer["nodes"] if row["fits"]]
    best = max((row["total"] for row in fitting), default=None)
    for row in sorted(answer["nodes"], key=lambda row: (not row["fits"], -row["total"])):
        goes = row["fits"] and row["total"] == best
        table.add_row(
            row["node"],
            str(row["score"]) if row["fits"] else "-",
            *(_number(row[term]) for term in ("balance", "reward")),
            row["reason"] or ("goes here" if goes else "fits"),
            style="green" if goes else ("" if row["fits"] else "dim"),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
