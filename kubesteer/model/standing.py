"""Where a (pod type, node) pair stands under the choice rule probation. Only values."""

from __future__ import annotations

from enum import IntEnum


class Standing(IntEnum):
    """What a pair may get now. Members are small numbers, so that an array holds one a node."""

    OPEN = 0
    """Nothing is held against it."""
    SHUT = 1
    """Believed bad, and not long enough ago."""
    TRIED = 2
    """Believed bad; a pod is there whose outcome is not known yet, so no other goes."""
    ON_PROBATION = 3
    """Believed bad for long enough: one pod may try it."""
