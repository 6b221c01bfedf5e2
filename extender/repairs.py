"""When a node was last seen to change in a way that may mend it: booted anew, another kubelet, or uncordoned.

Noted as the watch shows it: the API has no time for it. A replica that starts later does not know of it, and lets the
node wait as if nothing had been. Decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kubesteer.model.cluster import NodeSummary

_MOST_NODES = 50_000
"""Of nodes that are gone too: one that comes again under its name is another machine, or was set up anew."""


class Repairs:
    """By node name what it was like, and when it was last made anew."""

    def __init__(self, unix_s: Callable[[], float]) -> None:
        self._unix_s = unix_s
        self._makes: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._seen_s: dict[str, float] = {}

    def told(self, node: NodeSummary) -> None:
        """The watch tells of a node. To be cordoned mends nothing, and what was not told cannot have changed."""
        before = self._makes.pop(node.name, None)
        self._makes[node.name] = node.made, node.cordoned
        if before is not None:
            made, cordoned = before
            if (made and node.made and node.made != made) or (cordoned and not node.cordoned):
                self._seen_s[node.name] = self._unix_s()
        elif len(self._makes) > _MOST_NODES:
            gone, _ = self._makes.popitem(last=False)
            self._seen_s.pop(gone, None)

    def seen_s(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Unix time at which each of these nodes was seen to be made anew, -inf for one that was not."""
        if not self._seen_s:
            return np.full(len(names), -np.inf)
        return np.array([self._seen_s.get(name, -np.inf) for name in names])
