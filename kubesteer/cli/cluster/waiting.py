"""Waits until all parts are done, and tells each step that one makes: a line where something has changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from kubesteer.cli.cluster.reading import listed
from kubesteer.cli.cluster.reporter import Reporter
from kubesteer.clients.kubectl.command import Kubectl
from kubesteer.deploying.progress import REASON_KINDS, WORKLOAD_KINDS, Part, parts, settled
from kubesteer.deploying.rendering import NAMESPACE
from kubesteer.model.api_objects import Thing
from kubesteer.model.errors import ClusterUnavailable

_LOOK_EVERY_S = 1.0
_REASONS_EVERY_S, _NODES_EVERY_S = 10.0, 60.0
"""There are as many pods, and nodes, as the cluster has nodes."""
_NO_IMAGE_FOR_S = 15.0
"""A registry that is away for a moment is waited for."""


def wait(
    cluster: Kubectl,
    things: Sequence[Thing],
    nodes: Sequence[Thing],
    reporter: Reporter,
    *,
    timeout_s: float,
    look_every_s: float = _LOOK_EVERY_S,
) -> list[Part]:
    """The parts when all are done, when time is up, or when an image cannot be pulled and has not been for a while.

    nodes: as they were read last. An API server that is away for a while is waited for too.
    """
    began_s = reasons_due_s = time.monotonic()
    nodes_due_s, no_image_since_s = began_s + _NODES_EVERY_S, None
    found: list[Part] = []
    told: dict[str, object] = {}
    while True:
        now_s = time.monotonic()
        is_late = now_s - began_s >= timeout_s
        with_reasons = is_late or now_s >= reasons_due_s
        try:
            if now_s >= nodes_due_s:
                nodes, nodes_due_s = listed(cluster, ["nodes"]), now_s + _NODES_EVERY_S
            kinds = (*WORKLOAD_KINDS, *REASON_KINDS) if with_reasons else WORKLOAD_KINDS
            found = parts(things, listed(cluster, kinds, namespace=NAMESPACE), nodes)
        except ClusterUnavailable as exc:
            if is_late:
                raise
            _tell(reporter, told, "fault", str(exc), f"  {exc}; trying again")
        else:
            for part in found:
                counts = (part.ready, part.wanted, part.is_done)
                _tell(reporter, told, part.name, counts, part_line(replace(part, whys=())))
                if with_reasons and part.whys:
                    _tell(reporter, told, f"{part.name} whys", part.whys, part_line(part))
            if with_reasons:
                reasons_due_s = now_s + _REASONS_EVERY_S
                no_image_since_s = (no_image_since_s or now_s) if any(each.no_image for each in found) else None
        lacks_image = no_image_since_s is not None and with_reasons and now_s - no_image_since_s >= _NO_IMAGE_FOR_S
        if is_late or lacks_image or (found and settled(found)):
            return found
        time.sleep(look_every_s)


def part_line(part: Part) -> str:
    """How far a part is, and what it hangs on."""
    whys = f"  {'; '.join(part.whys)}" if part.whys else ""
    return f"  {part.name:<14} {part.ready}/{part.wanted} {'done' if part.is_done else 'waiting'}{whys}"


def _tell(reporter: Reporter, told: dict[str, object], about: str, state: object, line: str) -> None:
    """A line, where the state is another than the one that was told last."""
    if told.get(about) != state:
        told[about] = state
        reporter.say(line)
