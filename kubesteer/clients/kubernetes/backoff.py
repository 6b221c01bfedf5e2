"""How long to wait before the next attempt. Chance and sleep come in as arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

Sleep = Callable[[float], Awaitable[None]]
_MOST_DOUBLINGS = 32
"""Past any limit, and small enough for a float after years of attempts."""


@dataclass(slots=True)
class Backoff:
    """Waits that double from first_s to longest_s, each shortened by up to a half so that replicas spread out."""

    random: Random
    sleep: Sleep
    first_s: float = 0.2
    longest_s: float = 10.0
    attempts: int = 0

    async def pause(self, *, at_least_s: float = 0.0) -> None:
        """Wait; the next wait is longer."""
        delay_s = min(self.first_s * 2 ** min(self.attempts, _MOST_DOUBLINGS), self.longest_s)
        self.attempts += 1
        await self.sleep(max(delay_s * self.random.uniform(0.5, 1.0), at_least_s))

    def reset(self) -> None:
        """It worked: the next wait is the first again."""
        self.attempts = 0
