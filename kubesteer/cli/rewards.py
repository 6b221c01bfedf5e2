"""`kubesteer rewards`: the learned rewards of an etcd or a file: shown, explained, set, reset, exported, imported.

Thin. rewards_view.py has the meaning of a record, rewards_tables.py its look; both, and every store, are imported
when a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import App, Parameter, validators

from kubesteer.cli.rewards_mistakes import explained
from kubesteer.cli.rewards_options import BeliefOptions, StoreOptions, completed
from kubesteer.cli.rewards_store import Store, open_store
from kubesteer.model.errors import KubesteerError
from kubesteer.model.reward import RewardRecord, format_time

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kubesteer.cli.rewards_view import Pair

Result = TypeVar("Result")
Type = Parameter(name="--type")
Json = Annotated[bool, Parameter(name="--json", negative="")]
_WIDTH_WITHOUT_TERMINAL = 120
_SHOWN_PAIRS = 10
_IMPORTED_AT_ONCE = 500
_MOST_EVIDENCE = 1e6
"""Of `set`: a belief that no runs would move for days is a slip of the keyboard."""

app = App(
    name="rewards",
    help="What is believed of pods of a type on a node, learned from how earlier ones fared there.",
    help_epilogue="""Examples:

  kubesteer rewards                          the table, from etcd on loopback
  kubesteer rewards --etcd etcd-0:2379,etcd-1:2379 --type web
  kubesteer rewards explain web node-3       which outcomes, when, why
  kubesteer rewards set web node-3 --mean 0.9 --evidence 20
  kubesteer rewards reset --node node-3      node-3 was repaired
  kubesteer rewards reset --node node-3 --context production     on a cluster with kubesteer on it
  kubesteer rewards export > rewards.yaml    a backup; for rewards.source=file too
  kubesteer rewards import rewards.yaml      what is newer in the store stays
  kubesteer rewards show --file rewards.yaml --json

Options come after the command. A new file starts as an empty list: echo '[]' > rewards.yaml

Exit code: 0 done; 1 not done, and the reason in a line; 2 a wrong command line.
""",
    help_format="plaintext",
    error_formatter=explained,
)


@app.default
def show(
    *,
    pod_type: Annotated[str | None, Type] = None,
    node: str | None = None,
    most: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 10,
    as_json: Json = False,
    store: StoreOptions | None = None,
    belief: BeliefOptions | None = None,
) -> None:
    """The table: pod types by nodes, with belief, evidence left and age.

    Pairs without any evidence, such as after a reset, are untried: not in the table, but in --json.

    Parameters
    ----------
    pod_type:
        Only this pod type.
    node:
        Only this node.
    most:
        Where the table is too wide, so many worst and best pairs.
    as_json:
        For scripts.
    """
    now_s = time.time()
    found = [each for each in _pairs(store, belief, now_s) if _matches(each.record, pod_type, node)]
    if as_json:
        from kubesteer.cli.rewards_view import as_json as row  # noqa: PLC0415

        _print_json({"time": format_time(now_s), "rewards": [row(each) for each in found]})
    elif not (tried := [each for each in found if each.record.evidence > 0]):
        _say(f"no rewards{_of(pod_type, node)} in the store")
    else:
        from kubesteer.cli.rewards_tables import overview  # noqa: PLC0415

        _print(lambda width: overview(tried, width=width, most=most))


app.command(show, name="show")


@app.command
def explain(
    pod_type: Annotated[str, Type],
    node: str,
    *,
    as_json: Json = False,
    store: StoreOptions | None = None,
    belief: BeliefOptions | None = None,
) -> None:
    """One pair: belief, prior, evidence, and the outcomes that its agent noted: which, when, why.

    Parameters
    ----------
    pod_type:
        Pod type.
    node:
        Node.
    as_json:
        For scripts.
    """
    everything = _pairs(store, belief, time.time())
    found = [each for each in everything if _matches(each.record, pod_type, node)]
    if not found:
        from kubesteer.cli.rewards_tables import plain  # noqa: PLC0415

        there = sorted({each.record.pod_type for each in everything if each.record.node == node})
        known = (
            f"known there: {', '.join(map(plain, there[:_SHOWN_PAIRS]))}"
            if there
            else f"nothing is known of node {node!r}"
        )
        sys.exit(f"no reward of type {pod_type!r} on node {node!r}; {known}")
    if as_json:
        from kubesteer.cli.rewards_view import explained_json  # noqa: PLC0415

        _print_json(explained_json(found[0]))
    else:
        from kubesteer.cli.rewards_tables import explanation  # noqa: PLC0415

        _print(lambda _: explanation(found[0], (belief or BeliefOptions()).policy))


@app.command(name="set")
def set_reward(
    pod_type: Annotated[str, Type], node: str, *, mean: float, evidence: float, store: StoreOptions | None = None
) -> None:
    """Say what to believe of a pair, as of now. A running agent learns on from there.

    Parameters
    ----------
    pod_type:
        Pod type.
    node:
        Node.
    mean:
        0 worst .. 1 best.
    evidence:
        How many runs' worth that is, 1000000 or less.
    """
    if _MOST_EVIDENCE < evidence < math.inf:
        sys.exit(f"evidence {evidence:g} is above {_MOST_EVIDENCE:.0f}; say how many runs' worth the mean is")
    file = _completed(store).file
    if file is not None and not file.exists():
        sys.exit(f"{file} is not there; start one with: echo '[]' > {shlex.quote(str(file))}")

    def changed(earlier: RewardRecord | None) -> RewardRecord:
        return RewardRecord(node, pod_type, mean, evidence, now_s, earlier.extra if earlier else {})

    now_s = time.time()
    changes = {(node, pod_type): changed}
    for_good = _in_store(store, lambda opened: opened.edit(changes, now_s=now_s), writes=True)
    _say(f"set: {pod_type} on {node}: mean {mean:g}, evidence {evidence:g}")
    if for_good:
        _say(f"note: no agent has claimed {node}; until one does, this reward stays, even when the node is gone")


@app.command
def reset(
    pod_type: Annotated[str | None, Type] = None,
    node: str | None = None,
    *,
    yes: Annotated[bool, Parameter(negative="")] = False,
    store: StoreOptions | None = None,
) -> None:
    """Forget what was learned: of a pair, a type, a node, or everything. Runs that were counted are not counted again.

    Parameters
    ----------
    pod_type:
        Pod type; without it, all.
    node:
        Node; without it, all.
    yes:
        Do not ask.
    """
    from kubesteer.cli.rewards_tables import counted  # noqa: PLC0415
    from kubesteer.cli.rewards_view import emptied  # noqa: PLC0415

    listed = _in_store(store, lambda opened: opened.list(node))
    found = [each for each in listed if _matches(each, pod_type, node) and each.evidence > 0]
    if not found:
        _say(f"nothing to reset: no rewards{_of(pod_type, node)} in the store")
        return
    print(_what(found))
    if not (yes or _agreed()):
        sys.exit("nothing was reset; say --yes")
    now_s = time.time()

    def changed(record: RewardRecord | None) -> RewardRecord | None:
        return record and emptied(record, now_s)

    changes = {(each.node, each.pod_type): changed for each in found}
    _in_store(store, lambda opened: opened.edit(changes, now_s=now_s), writes=True)
    _say(f"reset: {counted(len(found), 'pair')}")


@app.command
def export(
    *,
    output: Path | None = None,
    to: Annotated[Literal["yaml", "json"], Parameter(name="--format")] = "yaml",
    store: StoreOptions | None = None,
) -> None:
    """Every record as a rewards file: a backup for `import`. The extender's rewards.source=file reads it too.

    Parameters
    ----------
    output:
        File to write; without it, standard output.
    to:
        The file's format.
    """
    from kubesteer.clients.rewards.file_writer import as_item, render  # noqa: PLC0415

    async def items(opened: Store) -> str:
        return render([as_item(record) for record in await opened.list()], as_json=to == "json")

    text = _in_store(store, items)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        sys.exit(f"output: {exc}")


@app.command(name="import")
def import_rewards(
    source: Path, *, overwrite: Annotated[bool, Parameter(negative="")] = False, store: StoreOptions | None = None
) -> None:
    """Put the rewards of an exported file into the store; those that are newer there stay. Running agents take them up.

    Parameters
    ----------
    source:
        The file; YAML or JSON.
    overwrite:
        Newer ones go too.
    """
    from kubesteer.cli.rewards_tables import counted  # noqa: PLC0415
    from kubesteer.cli.rewards_view import restored  # noqa: PLC0415
    from kubesteer.clients.rewards.file import parse_rewards  # noqa: PLC0415

    now_s = time.time()
    try:
        records = parse_rewards(source.read_bytes(), loaded_at_s=now_s)
    except OSError as exc:
        sys.exit(f"{source} cannot be read: {exc.strerror}")
    except KubesteerError as exc:
        sys.exit(f"{source}: {exc}")

    async def put(opened: Store) -> int:
        held = {(each.node, each.pod_type): each for each in await opened.list()}
        wanted = {
            pair: each
            for each in records
            if (there := held.get(pair := (each.node, each.pod_type))) is None
            or overwrite
            or there.time_s < each.time_s
        }
        pairs = list(wanted)
        for start in range(0, len(pairs), _IMPORTED_AT_ONCE):
            _progress(start, len(pairs))
            some = pairs[start : start + _IMPORTED_AT_ONCE]
            changes = {pair: partial(restored, wanted[pair], overwrite=overwrite) for pair in some}
            await opened.edit(changes, now_s=now_s)
        return len(pairs)

    changed = _in_store(store, put, writes=True)
    _say(f"imported: {counted(changed, 'pair')}; newer in the store, and left: {len(records) - changed}")


def _pairs(store: StoreOptions | None, belief: BeliefOptions | None, now_s: float) -> list[Pair]:
    records = _in_store(store, lambda opened: opened.list())
    from kubesteer.cli.rewards_view import pairs  # noqa: PLC0415
    from kubesteer.rewards.table import Belief  # noqa: PLC0415

    said = belief or BeliefOptions()
    try:
        chosen = Belief(said.prior_mean, said.prior_evidence, said.half_life_s, said.policy)
    except KubesteerError as exc:
        sys.exit(str(exc))
    return pairs(records, chosen, now_s)


def _completed(options: StoreOptions | None) -> StoreOptions:
    try:
        return completed(options or StoreOptions(), os.environ)
    except KubesteerError as exc:
        sys.exit(str(exc))


def _in_store(
    given: StoreOptions | None, action: Callable[[Store], Awaitable[Result]], *, writes: bool = False
) -> Result:
    """Opens the store, acts, closes it. A fault ends the program with one line."""

    async def act(options: StoreOptions) -> Result:
        store = open_store(options)
        try:
            return await action(store)
        finally:
            await store.close()

    options = _completed(given)
    try:
        if not options.on_a_cluster:
            return asyncio.run(act(options))
        from kubesteer.cli.rewards_tunnel import tunnel  # noqa: PLC0415

        with tunnel(options, writes=writes) as reached:
            return asyncio.run(act(reached))
    except KubesteerError as exc:
        sys.exit(str(exc))


def _matches(record: RewardRecord, pod_type: str | None, node: str | None) -> bool:
    return pod_type in {None, record.pod_type} and node in {None, record.node}


def _of(pod_type: str | None, node: str | None) -> str:
    parts = [f" of type {pod_type!r}" if pod_type else "", f" on node {node!r}" if node else ""]
    return "".join(parts)


def _what(found: list[RewardRecord]) -> str:
    """What a reset would remove."""
    from kubesteer.cli.rewards_tables import amount, counted, plain  # noqa: PLC0415

    lines = [
        f"  {plain(r.pod_type)} on {plain(r.node)}: mean {r.mean:.2f}, evidence {amount(r.evidence)}"
        for r in found[:_SHOWN_PAIRS]
    ]
    if len(found) > _SHOWN_PAIRS:
        lines.append(f"  and {len(found) - _SHOWN_PAIRS} more")
    types, nodes = len({r.pod_type for r in found}), len({r.node for r in found})
    heading = f"{counted(len(found), 'pair')} ({counted(types, 'type')}, {counted(nodes, 'node')}) to reset:"
    return "\n".join([heading, *lines])


def _progress(done: int, of: int) -> None:
    if done and sys.stderr.isatty():
        print(f"{done} of {of}", file=sys.stderr)


def _agreed() -> bool:
    return sys.stdin.isatty() and input("reset them? [y/N] ").strip().lower() in {"y", "yes"}


def _say(text: str) -> None:
    from kubesteer.cli.rewards_tables import plain  # noqa: PLC0415

    print(plain(text))


def _print(make: Callable[[int], RenderableType]) -> None:
    from rich.console import Console  # noqa: PLC0415

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or _WIDTH_WITHOUT_TERMINAL)
    console = Console(width=width)
    console.print(make(console.width))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
