"""Tells in the log, once, that a source is not well, and once that it is again. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kubesteer.clients.faults import LastingFaults

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_EVERY_S = 1.0


class Faults:
    """Looks at what each source says is wrong with it now; None where nothing is."""

    def __init__(self, of: Mapping[str, Callable[[], str | None]], log: FilteringBoundLogger) -> None:
        self._faults = LastingFaults(of)
        self._log = log

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Tells what has changed and stayed so."""
        for source, fault in self._faults.look():
            if fault is not None:
                self._log.warning("source has a fault", source=source, why=fault)
            else:
                self._log.info("source is well again", source=source)
