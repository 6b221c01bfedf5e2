"""What one part of a round did, and what kept it from doing more. Only values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubesteer.model.errors import KubesteerError


@dataclass(frozen=True, slots=True)
class StepResult:
    """told: what was done, in words; it is done, whatever came after. fault: why that is not all."""

    told: Sequence[str] = ()
    fault: KubesteerError | None = None
