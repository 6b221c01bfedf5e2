"""What was probably meant by a name that is none."""

from __future__ import annotations

from collections.abc import Collection


def hint(name: str, names: Collection[str]) -> str:
    """A near match, else all that there are."""
    match = near(name, names)
    return f"one of {', '.join(names)}" if match is None else f"did you mean {match}?"


def near(name: str, names: Collection[str], *, alike: float = 0.6) -> str | None:
    """The nearest of the names that is so much alike, from 0 to 1."""
    from difflib import get_close_matches  # noqa: PLC0415 - agents with good settings do not pay for it

    return next(iter(get_close_matches(name, names, 1, alike)), None)
