"""The column in the store: claimed, loaded, kept, written in batches. While the store is away the column waits.

The column itself is the buffer, so nothing is queued here, and nothing is lost by waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kubesteer.clients.kubernetes.backoff import Backoff, Sleep
from kubesteer.clients.rewards.port import ColumnStore
from kubesteer.model.errors import ColumnClaimed, ColumnEdited, StoreUnavailable
from kubesteer.model.node_state import NodeState
from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.column import Column
from kubesteer.rewards.learners import BetaLearner
from monitor_agent.logs import Log
from monitor_agent.metrics import Metrics

_BATCH = 50
"""Records in one transaction: what is folded together must be written together, and etcd takes 128 changes."""
_LOOK_AGAIN_S = 1.0
"""Between two looks at another agent's claim."""
_CLAIM, _WRITE, _KEEP = "claim", "write", "keep"
"""Parts that may fail by themselves."""
_LAST_WORD_S = 2.0
"""Time limit of the last write and the release of the claim."""


@dataclass(frozen=True, slots=True)
class WriterPace:
    """How often, and for how long.

    flush_s: changes are gathered so long. keep_s: between two signs of life. claim_wait_s: for how long another agent's
    claim is waited for.
    """

    flush_s: float
    keep_s: float
    claim_wait_s: float


class ColumnWriter:
    """The one way from this agent to its column. waits_for: whose claim it waits for, and what to do, while it does."""

    def __init__(
        self,
        store: ColumnStore,
        column: Column,
        *,
        pace: WriterPace,
        backoff: Backoff,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        log: Log,
        metrics: Metrics,
        learner: str = BetaLearner().name,
    ) -> None:
        self._store = store
        self._column = column
        self._pace = pace
        self._learner = learner
        self._backoff = backoff
        self._sleep: Sleep = backoff.sleep
        self._clock = clock
        self._unix_clock = unix_clock
        self._log = log
        self._metrics = metrics
        self.is_claimed = False
        self.waits_for: str | None = None
        self.heard_at_s: float | None = None
        self._faults: dict[str, str] = {}

    @property
    def fault(self) -> str | None:
        """What is wrong with the store now. One that is full is there, and takes nothing."""
        return next(iter(self._faults.values()), None)

    async def try_claim(self) -> bool:
        """Makes this agent the only writer; False while the store is away.

        Raises ColumnClaimed when another agent still holds it after `claim_wait_s`.
        """
        until_s = self._clock() + self._pace.claim_wait_s
        told = False
        while True:
            try:
                await self._store.claim()
            except ColumnClaimed as exc:
                if self._clock() >= until_s:
                    raise
                if not told:
                    self._log.warning("waiting for another agent's claim", why=str(exc), wait_s=self._pace.claim_wait_s)
                told = True
                self.waits_for = str(exc)
                await self._sleep(_LOOK_AGAIN_S)
            except StoreUnavailable as exc:
                self.waits_for = None
                self._failed(_CLAIM, exc)
                return False
            else:
                self.waits_for = None
                self.is_claimed = True
                self._worked(_CLAIM)
                return True

    async def run(self) -> None:
        """Claims, loads, then writes what changed, until cancelled. Raises ColumnClaimed when another takes over."""
        while not (self.is_claimed or await self.try_claim()) or not await self._load():
            await self._backoff.pause()
        while True:
            await self._sleep(self._pace.flush_s)
            try:
                await self.flush()
            except StoreUnavailable as exc:
                self._failed(_WRITE, exc)
                await self._backoff.pause()
            else:
                self._backoff.reset()

    async def run_keeping(self) -> None:
        """Keeps claim and lease alive, until cancelled. Raises as `run`."""
        while True:
            if self.is_claimed:
                await self.keep()
            await self._sleep(self._pace.keep_s)

    async def keep(self) -> None:
        """One sign of life. A store that has lost the column gets all of it again."""
        try:
            whole = await self._store.keep()
        except StoreUnavailable as exc:
            self._failed(_KEEP, exc)
            return
        self._worked(_KEEP)
        if not whole and self._column.is_loaded:
            self._log.warning("the store has lost the column; it is written again", records=len(self._column))
            self._column.rewrite()

    async def flush(self) -> None:
        """Writes all that changed. Raises StoreUnavailable; what was not confirmed stays to be written."""
        while batch := self._column.take_batch(_BATCH):
            try:
                await self._store.write(batch.puts, batch.deletes)
            except ColumnEdited:
                types = self._column.adopt(await self._store.load(), self._unix_clock())
                self._log.info("edits by hand taken over", types=types)
                continue
            self._column.written(batch)
            self._metrics.writes.inc()
            self._worked(_WRITE)

    async def put_state(self, state: NodeState) -> None:
        """Stores the node's state. Raises StoreUnavailable, also while the column is not claimed yet."""
        if not self.is_claimed:
            raise StoreUnavailable("the column is not claimed yet")
        await self._store.put_state(state)
        self.heard_at_s = self._clock()

    async def close(self) -> None:
        """Writes what is left and gives the claim back, where the store is quick to do so.

        What is not written is found again in the API by the next agent.
        """
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                if self.is_claimed and self._column.is_loaded:
                    await self.flush()
        except (StoreUnavailable, ColumnClaimed, TimeoutError) as exc:
            self._log.warning("not all was written at the end", why=str(exc) or "the store did not answer")
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._store.close()
        except TimeoutError:
            self._log.warning("the claim is left to lapse")

    async def _load(self) -> bool:
        try:
            records = await self._store.load()
        except StoreUnavailable as exc:
            self._failed(_CLAIM, exc)
            return False
        self._column.load(records, self._unix_clock())
        self._worked(_CLAIM)
        self._backoff.reset()
        self._log.info("column loaded", records=len(records))
        theirs = [name for one in records if one.evidence > 0 and (name := self._other_learner(one))]
        if theirs:
            self._log.warning(
                "what another learner believed is dropped", records=len(theirs), learner=self._learner, theirs=theirs[0]
            )
        return True

    def _other_learner(self, record: RewardRecord) -> str:
        name = record.extra.get("learner", self._learner)
        return "" if name == self._learner else str(name)

    def _worked(self, what: str) -> None:
        """A store that takes a write is well; one that does something else may still take none."""
        self.heard_at_s = self._clock()
        left = {} if what == _WRITE else {name: why for name, why in self._faults.items() if name != what}
        if self._faults and not left:
            self._log.info("the store is back", waiting=self._column.dirty())
        self._faults = left

    def _failed(self, what: str, exc: StoreUnavailable) -> None:
        self._metrics.failed_writes.inc()
        if not self._faults:
            self._log.warning("the store is away; nothing is lost meanwhile", why=str(exc))
        self._faults[what] = str(exc)
