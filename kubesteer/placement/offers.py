"""Remembers which pods were offered a short list, so that a pod that comes back is offered every node that fits.

Whatever kept the pod off its short list (another extender, a volume, a permit) must not keep it off the cluster.
"""

from __future__ import annotations

from collections import OrderedDict

_MOST_PODS = 65_536


class Offers:
    """Pod UIDs; bounded, the oldest are forgotten first.

    kube-scheduler asks filter once an attempt, and takes a pod out of back-off at once when it has nothing else to do
    (1.33), so whoever asks again is another attempt, however soon.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[str, None] = OrderedDict()

    def make(self, uid: str) -> None:
        """This pod was offered a short list."""
        self._made.setdefault(uid)
        if len(self._made) > _MOST_PODS:
            self._made.popitem(last=False)

    def was_made(self, uid: str) -> bool:
        """The pod was offered a short list in an earlier attempt."""
        return uid in self._made

    def forget(self, uid: str) -> None:
        """The pod was placed, or is gone."""
        self._made.pop(uid, None)
