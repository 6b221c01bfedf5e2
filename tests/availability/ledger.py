"""What the API server's own watch says of pods and nodes: who is bound, when, and how much each node has promised.

No I/O. It is told each change in the API server's order, so that a promise above a node's capacity is seen even if it
lasted for one change.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Promise:
    """A bound pod: what its node owes it, as kube-scheduler counts it and as an annotation asks for it."""

    pod: str
    node: str
    resource_bps: int
    annotated_bps: int


@dataclass(slots=True)
class Peaks:
    """The most by which a binding put its node above the capacity, since the last reset.

    resource_bps: by extended resources alone. all_bps: with annotations; nodes: those that it happened to, so counted.
    """

    resource_bps: int = 0
    all_bps: int = 0
    nodes: set[str] = field(default_factory=set)


class Ledger:
    """Pods by name; a name is used once."""

    def __init__(self, allocatable_bps: Mapping[str, int]) -> None:
        self._allocatable_bps = dict(allocatable_bps)
        self._promises: dict[str, Promise] = {}
        self._resource_bps: dict[str, int] = defaultdict(int)
        self._all_bps: dict[str, int] = defaultdict(int)
        self.bound_at_s: dict[str, float] = {}
        """Every pod that was ever bound, in order."""
        self.peaks = Peaks()

    @property
    def promised_bps(self) -> int:
        """On all nodes, with annotations."""
        return sum(self._all_bps.values())

    @property
    def capacity_bps(self) -> int:
        return sum(self._allocatable_bps.values())

    @property
    def promises(self) -> list[Promise]:
        """Of the pods that are bound now, oldest first."""
        return list(self._promises.values())

    def left_bps(self) -> dict[str, int]:
        """By node, with annotations counted; below 0 where more was promised than there is."""
        return {node: bps - self._all_bps[node] for node, bps in self._allocatable_bps.items()}

    def bound(self, promise: Promise, at_s: float) -> None:
        """A pod has a node; told again, nothing changes."""
        if promise.pod in self._promises:
            return
        self._promises[promise.pod] = promise
        self.bound_at_s.setdefault(promise.pod, at_s)
        self._add(promise.node, promise.resource_bps, promise.annotated_bps)
        self._look_at(promise.node)

    def gone(self, pod: str) -> None:
        """A pod was deleted, bound or not."""
        promise = self._promises.pop(pod, None)
        if promise is not None:
            self._add(promise.node, -promise.resource_bps, -promise.annotated_bps)

    def replace(self, promises: Iterable[Promise], at_s: float) -> None:
        """A list: these are all that are bound."""
        found = {promise.pod: promise for promise in promises}
        for pod in self._promises.keys() - found.keys():
            self.gone(pod)
        for promise in found.values():
            self.bound(promise, at_s)

    def reset_peaks(self) -> None:
        """Begin anew: what was above capacity before counts again only when a node is given more."""
        self.peaks = Peaks()

    def bindings(self, from_s: float, to_s: float) -> list[float]:
        """When pods were bound in that time."""
        return [at_s for at_s in list(self.bound_at_s.values()) if from_s <= at_s < to_s]

    def _add(self, node: str, resource_bps: int, annotated_bps: int) -> None:
        self._resource_bps[node] += resource_bps
        self._all_bps[node] += resource_bps + annotated_bps

    def _look_at(self, node: str) -> None:
        allocatable_bps, peaks = self._allocatable_bps[node], self.peaks
        peaks.resource_bps = max(peaks.resource_bps, self._resource_bps[node] - allocatable_bps)
        above_bps = self._all_bps[node] - allocatable_bps
        peaks.all_bps = max(peaks.all_bps, above_bps)
        if above_bps > 0:
            peaks.nodes.add(node)


def longest_gap_s(times_s: list[float], from_s: float, to_s: float) -> float:
    """The longest time in which nothing was bound."""
    marks = [from_s, *times_s, to_s]
    return max(later - earlier for earlier, later in itertools.pairwise(marks))
