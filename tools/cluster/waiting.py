"""Wait for what becomes true in its own time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(check: Callable[[], T], *, within_s: float, what: str, every_s: float = 0.1) -> T:
    """Return the first truthy `check()`; raise TimeoutError that names `what` and the last value."""
    deadline_s = time.monotonic() + within_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {within_s:g} s; last seen: {value!r}")
        time.sleep(every_s)
