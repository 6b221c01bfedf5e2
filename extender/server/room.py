"""Memory and places that the connections of one server share; which of them makes room for another. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Connection(Protocol):
    """A connection, as far as its place is concerned."""

    answers: int
    """It was given."""
    used_at_s: float
    """Its last request or answer, on the loop's clock."""

    def is_idle(self) -> bool:
        """Nothing is asked of it or by it."""

    def is_sending(self) -> bool:
        """Its request has not come whole."""

    def cut(self) -> None:
        """Closed now, whatever is under way."""


@dataclass
class Room:
    """Connections and bytes of one server. Silent and unread are in the order in which they became so.

    silent: no whole head came yet. unread: bytes of answers that wait to be read. ahead: bytes of requests that came
    before the answer to the one in front of them was ready.
    """

    most_connections: int
    most_unread_bytes: int
    most_ahead_bytes: int
    connections: set[Connection] = field(default_factory=set)
    silent: dict[Connection, None] = field(default_factory=dict)
    unread: dict[Connection, int] = field(default_factory=dict)
    unread_bytes: int = 0
    ahead_bytes: int = 0

    def enter(self, one: Connection) -> bool:
        """A new connection; the one that can be missed most is cut where there are too many. False: there is none."""
        if len(self.connections) >= self.most_connections:
            spare = self._spare()
            if spare is None:
                return False
            self.leave(spare)
            spare.cut()
        self.connections.add(one)
        self.silent[one] = None
        return True

    def leave(self, one: Connection) -> None:
        """It is closed."""
        self.connections.discard(one)
        self.silent.pop(one, None)
        self.read(one)

    def speaks(self, one: Connection) -> None:
        """A whole head came."""
        self.silent.pop(one, None)

    def wait(self, one: Connection, unread_bytes: int) -> None:
        """So much of its answers waits to be read. Past the most, those that wait longest are cut."""
        self.unread_bytes += unread_bytes - self.unread.get(one, 0)
        self.unread[one] = unread_bytes
        while self.unread_bytes > self.most_unread_bytes:
            longest = next(iter(self.unread))
            self.leave(longest)
            longest.cut()

    def read(self, one: Connection) -> None:
        """It has taken all of its answers."""
        self.unread_bytes -= self.unread.pop(one, 0)

    def _spare(self) -> Connection | None:
        """The silent first, then of those with nothing under way the one that asked least, then slow senders.

        So a flood of connections that say nothing, or ask once, does not take the one that a scheduler keeps.
        """
        if self.silent:
            return next(iter(self.silent))
        spare = [(not one.is_idle(), one.answers, one.used_at_s, id(one), one) for one in self.connections
                 if one.is_idle() or one.is_sending()]  # fmt: skip
        return min(spare)[-1] if spare else None
