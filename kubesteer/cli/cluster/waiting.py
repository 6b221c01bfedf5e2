"""Waits until all parts are done, and tells how far they are: drawn anew on a terminal, a line a change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from kubesteer.cli.cluster import show
from kubesteer.cli.cluster.port import Cluster
from kubesteer.cli.cluster.reading import listed, look
from kubesteer.deploying.progress import Part, parts, settled
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable

_LOOK_EVERY_S = 1.0
_NODES_EVERY_S = 15.0
_HANGS_AFTER_S = 20.0


def wait(
    cluster: Cluster,
    things: Sequence[Thing],
    console: Console,
    *,
    timeout_s: float,
    look_every_s: float = _LOOK_EVERY_S,
) -> list[Part]:
    """The parts when all are done, or when time is up. An API server that is away for a while is waited for too."""
    began_s = nodes_due_s = time.monotonic()
    nodes: list[Thing] = []
    found: list[Part] = []
    fault = ""
    told: dict[str, tuple[tuple[int, int, bool], float]] = {}
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            now_s = time.monotonic()
            is_late = now_s - began_s >= timeout_s
            try:
                if now_s >= nodes_due_s:
                    nodes, nodes_due_s = listed(cluster, ["nodes"]), now_s + _NODES_EVERY_S
                found = parts(things, look(cluster, nodes))
            except ClusterUnavailable as exc:
                if is_late:
                    raise
                if str(exc) != fault:
                    fault = str(exc)
                    console.print(f"  {fault}; trying again", markup=False, highlight=False)
            if console.is_terminal:
                live.update(show.parts(found), refresh=True)
            else:
                _tell_changes(console, found, told, now_s)
            if is_late or (found and settled(found)):
                return found
            time.sleep(look_every_s)


def _tell_changes(
    console: Console, found: Sequence[Part], told: dict[str, tuple[tuple[int, int, bool], float]], now_s: float
) -> None:
    """A line when a part has come further, and one with what it hangs on when it has not for a while."""
    for part in found:
        count, at_s = told.get(part.name, (None, now_s))
        now = (part.ready, part.wanted, part.is_done)
        hangs = not part.is_done and now_s - at_s >= _HANGS_AFTER_S
        if count != now or hangs:
            told[part.name] = (now, now_s)
            console.print(show.part_line(part, why=hangs), soft_wrap=True, markup=False, highlight=False)
