"""Remembers which pods were offered a short list, so that a pod that comes back is offered every node that fits.

Whatever kept the pod off its short list (another extender, a volume, a permit) must not keep it off the cluster.
"""

from __future__ import annotations

from collections import OrderedDict

COMES_BACK_AFTER_S = 0.5
"""kube-scheduler's shortest back-off is 1 s: within this time, the same question is the same attempt."""
_MOST_PODS = 65_536


class Offers:
    """First offer by pod UID; bounded, the oldest are forgotten first."""

    def __init__(self) -> None:
        self._first_s: OrderedDict[str, float] = OrderedDict()

    def make(self, uid: str, now_s: float) -> None:
        """This pod was offered a short list."""
        self._first_s.setdefault(uid, now_s)
        if len(self._first_s) > _MOST_PODS:
            self._first_s.popitem(last=False)

    def came_back(self, uid: str, now_s: float) -> bool:
        """The pod was offered a short list in an earlier attempt and is here again."""
        first_s = self._first_s.get(uid)
        return first_s is not None and now_s - first_s > COMES_BACK_AFTER_S

    def forget(self, uid: str) -> None:
        """The pod was placed, or is gone."""
        self._first_s.pop(uid, None)
