"""What is usual of a pod type on other nodes, from a sample of their records that moves on with every round.

A list of the whole table on every node would be nodes x nodes x types: a sample is enough for medians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.errors import StoreUnavailable
from kubesteer.rewards.usual import Baseline, usual_elsewhere
from monitor_agent.logs import Log

_MOST_TYPES = 2000
_UNKNOWN = Baseline()


class OtherNodes:
    """The newest round's word on each type; where it has too little for a median, the last one that had enough."""

    def __init__(
        self, node: str, store: ColumnStore, *, records: int, unix_clock: Callable[[], float], log: Log
    ) -> None:
        """records: of one round. The first round begins at this node's own name, so that agents differ."""
        self._node = node
        self._store = store
        self._records = records
        self._unix_clock = unix_clock
        self._log = log
        self._after = node
        self._usual: dict[str, Baseline] = {}

    def of(self, pod_type: str) -> Baseline:
        """The baseline of a type; an empty one where no node told of it."""
        return self._usual.get(pod_type, _UNKNOWN)

    async def step(self) -> None:
        """One round; it begins where the last one ended."""
        try:
            records = await self._store.sample(self._records, self._after)
        except StoreUnavailable as exc:
            self._log.debug("no sample of other nodes", why=str(exc))
            return
        self._after = records[-1].node if records else self._node
        news = usual_elsewhere(records, self._node, self._unix_clock())
        kept = {name: replace(usual, pull_fails=False) for name, usual in self._usual.items() if name not in news}
        told = {name: _with_medians_of(self.of(name), usual) for name, usual in news.items()}
        self._usual = dict(list({**kept, **told}.items())[-_MOST_TYPES:])


def _with_medians_of(before: Baseline, now: Baseline) -> Baseline:
    return replace(
        now,
        startup_s=before.startup_s if now.startup_s is None else now.startup_s,
        duration_s=before.duration_s if now.duration_s is None else now.duration_s,
    )
