"""Holds the reader's short way, the cut at the scheduler's own keys, to the long one. Sends nothing."""

from __future__ import annotations

from extender.wire.arguments import Arguments, ArgumentsReader, NamesArguments
from kubesteer.model.errors import InvalidInput
from tests.fuzz.judge import Broken


def _reading(reader: ArgumentsReader, body: bytes) -> Arguments | tuple[type[InvalidInput], str]:
    """What the body means, or why it means nothing."""
    try:
        return reader.read(body)
    except InvalidInput as exc:
        return type(exc), str(exc)


class _WholeReader(ArgumentsReader):
    """Never cuts."""

    def _cut(self, body: bytes) -> NamesArguments | None:
        return None


class Readings:
    """One reader that goes on, with what it keeps, against a fresh one that reads through every body."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._reader = ArgumentsReader(names_body_bytes=limit_bytes)

    def compare(self, body: bytes) -> None:
        """Raises Broken."""
        short = _reading(self._reader, body)
        whole = _reading(_WholeReader(names_body_bytes=self._limit_bytes), body)
        if short != whole:
            raise Broken(f"the reader understands the body in two ways: {short!r:.300} and {whole!r:.300}")
