"""Whether the API server is heard of: told once when it goes away, once when it is back. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from kubesteer.clients.faults import LastingFaults
from kubesteer.clients.kubernetes.reflector import Reflector
from monitor_agent.logs import Log
from monitor_agent.node import NodeBook


class Watches:
    """Looks at what is followed, by name; one of them is "node", which fills the book."""

    def __init__(self, followed: Mapping[str, Reflector[Any]], book: NodeBook, log: Log) -> None:
        self._followed = followed
        self._book = book
        self._log = log
        self._faults = LastingFaults({what: partial(_fault_of, one) for what, one in followed.items()})

    def look(self) -> None:
        """Tells what has changed and stayed so."""
        for what, fault in self._faults.look():
            if fault is not None:
                self._log.warning("the API server cannot be followed; tried again", what=what, why=fault)
            else:
                self._log.info("the API server is followed again", what=what)
        if self._followed["node"].synced:
            self._book.listed()

    def failing(self) -> int:
        """How many of them have a fault now."""
        return sum(reflector.fault is not None for reflector in self._followed.values())


def _fault_of(reflector: Reflector[Any]) -> str | None:
    return reflector.fault
