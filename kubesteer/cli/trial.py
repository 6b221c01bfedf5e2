"""`kubesteer try`: asks a running extender where a few pods would go, and prints why."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_tables import plain
from kubesteer.clients.file_reading import read_whole
from kubesteer.clients.kubernetes.manifest import read_manifest
from kubesteer.clients.plain_yaml import documents
from kubesteer.model.errors import InvalidInput
from kubesteer.model.network import DEFAULT_NETWORK

_PODS = Path("examples/pods.yaml")
_CLUSTER = Path("examples/cluster.yaml")
_NAME_NODES = "name the candidates with --nodes NODE NODE.., or a cluster file with --cluster"


def try_pods(
    pods: Path | None = None,
    *,
    ops: str = "http://127.0.0.1:8889",
    nodes: Annotated[Sequence[str], Parameter(consume_multiple=True)] = (),
    cluster: Path | None = None,
    as_json: bool = False,
) -> None:
    """Ask where pods would go, and why. Nothing is scheduled, and no charge is taken.

    Parameters
    ----------
    pods:
        YAML list of pods, as the API has them; without it, examples/pods.yaml.
    ops:
        Ops address of a running extender (`make run` starts one).
    nodes:
        Candidate nodes, one or more; without them, all nodes of --cluster.
    cluster:
        Cluster file that names the candidates; without it, examples/cluster.yaml where the extender reads a file too.
    as_json:
        Print the extender's answers instead of tables.
    """
    asked = _read(_or_example(pods, _PODS, "name a YAML list of pods: kubesteer try PODS"))[0]
    if not (nodes or cluster) and (kind := _cluster_kind(ops)) != "file":
        sys.exit(f"the extender's nodes come from {kind}, and its ops port does not list them; {_NAME_NODES}")
    names = list(nodes) or _node_names(_or_example(cluster, _CLUSTER, _NAME_NODES))
    answers = [_ask(ops, "/explain", {"Pod": pod, "Nodes": None, "NodeNames": names}) for pod in asked]
    if as_json:
        sys.stdout.write(json.dumps(answers, indent=2) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 130)
    for answer in answers:
        console.print(_table(answer))
        if answer["suspect"]:
            console.print(Text.assemble(("  warning:", "yellow"), f" {plain(answer['suspect'])}"))


def _or_example(given: Path | None, example: Path, remedy: str) -> Path:
    """The file that was named, else the repository's, which is there only for who stands in the repository."""
    if given is None and not example.is_file():
        sys.exit(f"{example} is not in this folder; {remedy}")
    return given or example


def _cluster_kind(ops: str) -> str:
    """Where the extender has its nodes from."""
    match _ask(ops, "/readyz"):
        case {"cluster": {"kind": str(kind)}}:
            return kind
    sys.exit(f"--ops {ops} is no extender's ops port")


def _read(path: Path) -> list[Any]:
    """The documents of the file."""
    try:
        return documents(read_whole(path)) or sys.exit(f"{path}: there is nothing in it")
    except (OSError, InvalidInput) as exc:
        sys.exit(f"{path}: {exc}")


def _node_names(cluster: Path) -> list[str]:
    try:
        return list(read_manifest(read_whole(cluster), DEFAULT_NETWORK).nodes)
    except (OSError, InvalidInput) as exc:
        sys.exit(f"{cluster}: {exc}")


def _ask(ops: str, path: str, arguments: dict[str, Any] | None = None) -> Any:
    """What the ops port answers; arguments are posted."""
    if not ops.startswith(("http://", "https://")):
        sys.exit(f"--ops {ops}: give http://HOST:PORT")
    url, body = f"{ops.rstrip('/')}{path}", None if arguments is None else json.dumps(arguments).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - the user's own
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as exc:
        sys.exit(f"{url}: {exc.code} {exc.read().decode(errors='replace')}")
    except ValueError as exc:
        sys.exit(f"{url}: no answer of an extender ({exc})")
    except OSError as exc:
        sys.exit(f"{ops} does not answer ({exc}); start the extender with `make run`, or name it with --ops")


def _table(answer: dict[str, Any]) -> Table:
    """One row a node, the best first."""
    table = Table(
        title=Text(plain(f"{answer['pod']} (type {answer['podType']})")), title_justify="left", title_style="bold"
    )
    for heading in ("node", "score", "balance", "reward", "why"):
        table.add_column(heading, justify="left" if heading in {"node", "why"} else "right")
    fitting = [row for row in answer["nodes"] if row["fits"]]
    best = max((row["total"] for row in fitting), default=None)
    for row in sorted(answer["nodes"], key=lambda row: (not row["fits"], -row["total"])):
        goes = row["fits"] and row["total"] == best
        table.add_row(
            Text(plain(row["node"])),
            str(row["score"]) if row["fits"] else "-",
            *(_number(row[term]) for term in ("balance", "reward")),
            Text(plain(row["reason"] or ("goes here" if goes else "fits"))),
            style="green" if goes else ("" if row["fits"] else "dim"),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
