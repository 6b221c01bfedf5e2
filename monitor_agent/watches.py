"""Whether the API server is heard of: told once when it goes away, once when it is back. No I/O.

The watches themselves try again for ever and keep only what is wrong now; what is told of that follows from looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesteer.clients.kubernetes.backoff import Sleep
from kubesteer.clients.kubernetes.reflector import Reflector
from monitor_agent.logs import Log
from monitor_agent.node import NodeBook

_LOOKS = 2
"""Looks that must agree. A list that begins anew, or a watch between two attempts, is no change."""


class Watches:
    """Looks at what is followed, by name; one of them is "node", which fills the book."""

    def __init__(self, followed: Mapping[str, Reflector[Any]], book: NodeBook, log: Log) -> None:
        self._followed = followed
        self._book = book
        self._log = log
        self._away: set[str] = set()
        self._others = dict.fromkeys(followed, 0)

    async def run(self, *, every_s: float, sleep: Sleep) -> None:
        """Looks until it is cancelled."""
        while True:
            self.look()
            await sleep(every_s)

    def look(self) -> None:
        """Tells what has changed and stayed so."""
        for what, reflector in self._followed.items():
            is_new = (reflector.fault is not None) != (what in self._away)
            self._others[what] = self._others[what] + 1 if is_new else 0
            if self._others[what] == _LOOKS:
                self._others[what] = 0
                self._turn(what, reflector.fault)
        if self._followed["node"].synced:
            self._book.listed()

    def failing(self) -> int:
        """How many of them have a fault now."""
        return sum(reflector.fault is not None for reflector in self._followed.values())

    def _turn(self, what: str, fault: str | None) -> None:
        if fault is not None:
            self._away.add(what)
            self._log.warning("the API server cannot be followed; tried again", what=what, why=fault)
        else:
            self._away.discard(what)
            self._log.info("the API server is followed again", what=what)
