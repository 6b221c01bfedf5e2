"""Whether the sources are well: told in the log once when one is not, once when it is again. No I/O.

The sources themselves try again for ever and keep only what is wrong now; what is told of that follows from looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_LOOKS = 2
"""Looks that must agree: a watch between two attempts is no change."""
_EVERY_S = 1.0


class Faults:
    """Looks at what each source says is wrong with it now; None where nothing is."""

    def __init__(self, of: Mapping[str, Callable[[], str | None]], log: FilteringBoundLogger) -> None:
        self._of = of
        self._log = log
        self._told: set[str] = set()
        self._others = dict.fromkeys(of, 0)

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Tells what has changed and stayed so."""
        for source, fault_of in self._of.items():
            fault = fault_of()
            is_new = (fault is not None) != (source in self._told)
            self._others[source] = self._others[source] + 1 if is_new else 0
            if self._others[source] < _LOOKS:
                continue
            self._others[source] = 0
            if fault is not None:
                self._told.add(source)
                self._log.warning("source has a fault; what it last told is in use", source=source, why=fault)
            else:
                self._told.discard(source)
                self._log.info("source is well again", source=source)
