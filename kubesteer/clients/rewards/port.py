"""The ports of the reward store: what a source fills, a source, and what an agent writes through. Protocols only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubesteer.model.node_state import NodeState
from kubesteer.model.reward import RewardRecord


class RewardSink(Protocol):
    """What a source keeps equal to its store, but for `extra`, which it leaves out.

    Calls come from the event loop's thread and must not block.
    """

    def put(self, record: RewardRecord, /) -> None:
        """Takes the record in place of any earlier one of its pair."""

    def delete(self, node: str, pod_type: str, /) -> None:
        """Forgets a pair; a pair that is not there is no fault."""

    def replace(self, records: Iterable[RewardRecord], /) -> None:
        """Makes these records all that is known, at once."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source is doing, for readiness details and metrics."""

    kind: str
    synced: bool
    """The sink has held the whole store at least once; it stays so while the store is away."""
    last_contact_age_s: float | None
    """Since the store last answered; None before it ever did."""
    revision: int
    """The newest change in the sink, by the store's own count."""
    records: int
    skipped: int
    """Entries in the store that cannot be read, or that a node has too many of; their pairs count as never tried."""
    last_error: str | None
    """What is wrong now; None when nothing is."""
    resyncs: int
    """Full lists after the first."""


class RewardSource(Protocol):
    """Keeps a sink equal to a store."""

    async def run(self) -> None:
        """Works until it is cancelled; a store that is away is waited for, never raised."""

    def status(self) -> SourceStatus:
        """How it is doing now."""

    def last_contact_age_s(self) -> float | None:
        """The same as its status tells, alone: each decision asks."""


class RewardWriter(Protocol):
    """Changes a store. Every call raises StoreUnavailable when the store did not confirm; repeating it is harmless."""

    async def put(self, record: RewardRecord, /) -> None:
        """Stores the record in place of any earlier one of its pair. Raises InvalidRecord when it cannot be written."""

    async def delete(self, node: str, pod_type: str, /) -> None:
        """Removes a pair; a pair that is not there is no fault."""

    async def list(self, node: str | None = None, /) -> list[RewardRecord]:
        """The readable records of one node, or of all; the rest is left out and logged."""

    async def close(self) -> None:
        """Lets go of the store. A later call opens it again."""


class NodeStateSink(Protocol):
    """What a source of node states keeps equal to its store; as RewardSink."""

    def put(self, state: NodeState, /) -> None:
        """Takes the state in place of the node's earlier one."""

    def delete(self, node: str, /) -> None:
        """Forgets a node's state; one that is not there is no fault."""

    def replace(self, states: Iterable[NodeState], /) -> None:
        """Makes these states all that is known, at once."""


class ColumnStore(Protocol):
    """One node's column of the store, and the node's state, for the one agent that writes them.

    What is written belongs to the column's lease: when the agent is gone for good, the store drops the column by
    itself after `column_ttl_s`. The node's state belongs to the claim, and goes with it. First comes `claim`, then
    `load`. Every call raises StoreUnavailable when the store did not confirm; repeating it is harmless, and what was
    left unsure never comes to lie over what was written later. Once the claim is another agent's, `write`,
    `put_state` and `keep` raise ColumnClaimed until the next `claim`, and nothing is written.
    """

    async def claim(self) -> None:
        """Makes this agent the only writer, until `close`; a claim whose holder went silent for `claim_ttl_s` is free.

        Raises ColumnClaimed at once when another holder has it. A claim of the same holder's name is taken over: the
        agent was restarted, and whatever is left of it before can write no more.
        """

    async def load(self) -> list[RewardRecord]:
        """The readable records of this node; the rest is left out and logged. All of them now hang on the lease."""

    async def write(self, puts: Sequence[RewardRecord], deletes: Sequence[str] = ()) -> None:
        """Stores these records of this node, and removes these pod types; a type named in both is removed.

        In batches, each of them whole or not at all; when one fails, those before it are stored. The deletes come last,
        up to 99 of them in one batch with the record of OTHER_TYPES, which they may have been folded into.
        Raises InvalidRecord when a record cannot be written, before anything is. Takes up a claim that lapsed.
        Raises ColumnEdited, and writes nothing, when records may have been changed by hand since the last `load`:
        such a change comes with a touch of the claim, and none is told while the claim has lapsed.
        """

    async def put_state(self, state: NodeState) -> None:
        """Stores the node's state; it vanishes with the claim. Raises InvalidRecord for another node's."""

    async def keep(self) -> bool:
        """Keeps claim and lease alive; to be called every third of `claim_ttl_s`. Takes up a claim that lapsed.

        False, once, when the store has lost the column since (wiped, restored, away for longer than `column_ttl_s`):
        write everything again.
        """

    async def sample(self, limit: int, after: str) -> list[RewardRecord]:
        """Those that are readable of `limit` entries, of the nodes named above `after`, then of those from the start.

        `after` need not be a node; empty is the start.
        """

    async def close(self) -> None:
        """Gives the claim back, and the state with it; the column stays until its lease ends.

        A store that is away is not waited for: the claim then lapses by itself. A later `claim` begins anew.
        """
