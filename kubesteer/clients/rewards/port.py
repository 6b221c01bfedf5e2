"""The ports of the reward store: what a source fills, a source, and what an agent writes through. Protocols only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from kubesteer.model.reward import RewardRecord


class RewardSink(Protocol):
    """What a source keeps equal to its store. Calls come from the event loop's thread and must not block."""

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
    """Entries in the store, now, that cannot be read; their pairs count as never tried."""
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
