"""Observations: which nodes a decision that was only observed would have favoured, until the pod is seen on one.

The scheduler chose without kubesteer, so both choices can be compared. Bounded, the oldest are forgotten first. Decides
nothing, reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.table import NodeTable

Verb = Literal["filter", "prioritize"]
_MOST_PLACES = 1_000_000
"""Of all pods together: 8 MB."""
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class ObservedPlacement:
    """Where an observed pod was placed, beside one verb's decision.

    agrees: filter would have let the node pass, or prioritize would have given it the best score. favoured: some of the
    nodes of which that is true, where this one is none of them.
    """

    pod: PodSummary
    verb: Verb
    agrees: bool
    favoured: tuple[str, ...] = ()


class Observations:
    """Names of nodes by pod UID and verb: a row may get another name meanwhile."""

    def __init__(self, table: NodeTable, on_placed: Callable[[ObservedPlacement], object]) -> None:
        self._table = table
        self._on_placed = on_placed
        self._favoured: OrderedDict[str, dict[Verb, list[str]]] = OrderedDict()
        self._places = 0

    def keep(self, uid: str, verb: Verb, rows: NDArray[np.intp]) -> None:
        """The nodes that the verb's answer would have favoured; they take the place of those of an earlier attempt."""
        names = self._table.names
        favoured = self._favoured.setdefault(uid, {})
        self._places -= _places(favoured)
        favoured[verb] = [names[row] for row in rows.tolist() if row >= 0]
        self._places += _places(favoured)
        while self._places > _MOST_PLACES:
            self.forget(next(iter(self._favoured)))

    def told(self, pod: PodSummary) -> None:
        """The watch tells of a pod."""
        if pod.uid not in self._favoured or not (pod.node or pod.terminal):
            return
        if not pod.node:
            self.forget(pod.uid)
            return
        for verb, favoured in self.forget(pod.uid).items():
            agrees = pod.node in favoured
            self._on_placed(ObservedPlacement(pod, verb, agrees, () if agrees else tuple(favoured[:_MOST_NAMES])))

    def forget(self, uid: str) -> dict[Verb, list[str]]:
        """The pod is placed or gone; gives what was kept."""
        favoured = self._favoured.pop(uid, {})
        self._places -= _places(favoured)
        return favoured


def _places(favoured: dict[Verb, list[str]]) -> int:
    """No node takes a place too."""
    return sum(1 + len(names) for names in favoured.values())
