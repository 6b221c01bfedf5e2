"""Which of several sources have a fault that lasts, for those who tell of it once when it comes and once when it goes.

The sources themselves try again for ever and keep only what is wrong now; what is told of that follows from looks.
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

_LOOKS = 2
"""Looks that must agree: a list that begins anew, or a watch between two attempts, is no change."""


class LastingFaults:
    """Looks at what each source says is wrong with it now; None where nothing is."""

    def __init__(self, of: Mapping[str, Callable[[], str | None]]) -> None:
        self._of = of
        self._away: set[str] = set()
        self._others = dict.fromkeys(of, 0)

    def look(self) -> Iterator[tuple[str, str | None]]:
        """One look: each source whose fault has come and stayed, with the fault, or has gone and stayed away, None."""
        for source, fault_of in self._of.items():
            fault = fault_of()
            is_new = (fault is not None) != (source in self._away)
            self._others[source] = self._others[source] + 1 if is_new else 0
            if self._others[source] == _LOOKS:
                self._others[source] = 0
                (self._away.discard if fault is None else self._away.add)(source)
                yield source, fault
