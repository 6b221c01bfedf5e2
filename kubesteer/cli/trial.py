"""`kubesteer try`: asks a running extender where pods would go. How the answer looks is in trial_table.py."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import Parameter
from rich.console import Console

from kubesteer.cli.trial_table import shown_answer
from kubesteer.clients.file_reading import read_stream, read_whole
from kubesteer.clients.kubernetes.manifest import read_manifest
from kubesteer.clients.kubernetes.planned_pods import PlannedPods, planned_pods
from kubesteer.model.errors import InvalidInput
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.quantity import shown

_PODS = Path("examples/pods.yaml")
_STDIN = Path("-")
_FITS_NOWHERE, _NOT_ASKED = 1, 2


def try_pods(
    pods: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    ops: str = "http://127.0.0.1:8889",
    nodes: Annotated[Sequence[str], Parameter(consume_multiple=True, negative="")] = (),
    cluster: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Ask where pods would go, and why. Nothing is scheduled, and no charge is taken.

    Exit code 0: each pod fits on a node; 1: one fits on none; 2: the question could not be asked.

    Parameters
    ----------
    pods:
        YAML or JSON with pods, lists, or workloads (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob), of
        which one pod is tried; - for standard input; without it, examples/pods.yaml.
    ops:
        Ops address of a running extender (`make run` starts one).
    nodes:
        Candidate nodes, one or more; without them, all that the extender knows.
    cluster:
        Cluster file whose nodes are the candidates.
    as_json:
        For scripts: the extender's answers.
    """
    planned = _planned(pods)
    for other in planned.others:
        print(f"{other}: no pods come of it; passed over", file=sys.stderr)
    names = list(nodes) or (_node_names(cluster) if cluster else None)
    answers = [_ask(ops, {"Pod": each.pod, "Nodes": None, "NodeNames": names}) for each in planned.pods]
    if as_json:
        sys.stdout.write(json.dumps(answers, indent=2) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 130)
        for number, (each, answer) in enumerate(zip(planned.pods, answers, strict=True)):
            console.print(*[""] * (number > 0), shown_answer(answer, each.made_by), sep="\n")
    if not all(any(row["fits"] for row in answer["nodes"]) for answer in answers):
        sys.exit(_FITS_NOWHERE)


def _planned(pods: Path | None) -> PlannedPods:
    if pods is None and not _PODS.is_file():
        _fail(f"{_PODS} is not in this folder; name a file with pods: kubesteer try FILE, or - for standard input")
    file = pods or _PODS
    if file != _STDIN and str(file).startswith("-"):  # allowed for -, which is why such a file comes to here
        _fail(f"{file} is no option; see kubesteer try --help")
    try:
        return planned_pods(read_stream(sys.stdin.buffer) if file == _STDIN else read_whole(file))
    except (OSError, InvalidInput) as exc:
        _fail(f"{'standard input' if file == _STDIN else file}: {exc}")


def _node_names(cluster: Path) -> list[str]:
    try:
        manifest = read_manifest(read_whole(cluster), DEFAULT_NETWORK)
    except (OSError, InvalidInput) as exc:
        _fail(f"{cluster}: {exc}")
    for fault in manifest.faults:
        print(f"{cluster}: {fault}", file=sys.stderr)
    return list(manifest.nodes) or _fail(f"{cluster}: there is no Node in it")


def _ask(ops: str, arguments: dict[str, Any]) -> Any:
    """What the ops port answers."""
    if not ops.startswith(("http://", "https://")):
        _fail(f"--ops {ops}: give http://HOST:PORT")
    url = f"{ops.rstrip('/')}/explain"
    try:
        request = urllib.request.Request(url, json.dumps(arguments).encode(), {"Content-Type": "application/json"})  # noqa: S310 - the user's own
        with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310
            answer = json.load(response)
    except urllib.error.HTTPError as exc:
        _fail(f"{url}: {exc.code} {_refusal(exc.read())}")
    except ValueError as exc:
        _fail(f"{url}: no answer of an extender ({exc})")
    except OSError as exc:
        _fail(f"{ops} does not answer ({exc}); start the extender with `make run`, or name it with --ops")
    if not isinstance(answer, dict) or not isinstance(answer.get("nodes"), list):
        _fail(f"--ops {ops} is no extender's ops port")
    if not answer["nodes"]:
        _fail(f"--ops {ops}: the extender knows no node; look at {ops.rstrip('/')}/readyz")
    return answer


def _refusal(body: bytes) -> str:
    """The extender's own sentence, or the start of another server's page."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return shown(body.decode(errors="replace"), limit=200)


def _fail(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(_NOT_ASKED)
