"""A Secret as it is stored, and a change to one. Only values: what is in them, others read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One Secret at one version. is_ours: it says that kubesteer's keeper made it. notes: its annotations."""

    name: str
    version: str
    is_ours: bool
    data: Mapping[str, bytes] = field(repr=False)
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SecretWrite:
    """What is to be in a Secret. Entries and notes that are None go; those that are not named stay as they are.

    over: what is there now, and must be still when this is written; None where nothing is. why: for the log.
    """

    name: str
    over: StoredSecret | None
    data: Mapping[str, bytes | None] = field(repr=False)
    notes: Mapping[str, str | None]
    why: str
