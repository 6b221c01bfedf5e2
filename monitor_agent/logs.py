"""Logs on standard output: one line of JSON an event, the library's own among them.

Not structlog, which the extender has: with the rich that it loads it costs 6.5 MB, a tenth of what the agent may take.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from kubesteer.model.quantity import shown

_LONGEST = 500
"""Characters of one value in a line."""


class Log:
    """Events with fields. Each part that logs is given one."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: object) -> None:
        """For whoever looks for a fault."""
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        """An ordinary event."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """An event that an operator should know of."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, *, fault: BaseException | None = None, **fields: object) -> None:
        """A fault that an operator should mend; `fault` adds its traceback."""
        self._logger.error(event, exc_info=fault, extra={"fields": fields})


def make_log(level: str, stream: TextIO | None = None) -> Log:
    """The log of a process, on standard output unless told. Lines of the libraries go there too."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    return Log(logging.getLogger("agent"))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": _one_line(record.getMessage()),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            **{name: _one_line(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def _one_line(value: object) -> object:
    """Text from outside cannot fill the disk, or hide what it does to a terminal."""
    if isinstance(value, str) and not (len(value) <= _LONGEST and value.isprintable()):
        return shown(value, limit=_LONGEST)
    return value
