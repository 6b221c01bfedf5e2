"""Structured logs on standard output: one line an event, JSON for machines or a console form for people."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog

from kubesteer.model.quantity import shown

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LONGEST = 500
"""Characters of one value in a line."""


def make_logger(*, as_json: bool, level: str) -> structlog.typing.FilteringBoundLogger:
    """The one logger of a process, on the present standard output; handed to each part that logs."""
    render = (
        structlog.processors.JSONRenderer(serializer=_dump)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    # Bound at once: an unbound one is bound anew by each call, also by one below its level.
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _one_line,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    ).bind()
    return logger


def _one_line(_logger: object, _method: str, event: Any) -> Any:
    """Text from outside cannot start a line of its own, or fill the disk. A traceback's lines are set in."""
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(f"  {_plain(line)}" for line in value.splitlines())
        elif isinstance(value, str):
            event[key] = _plain(value)
    return event


def _plain(text: str) -> str:
    return text if len(text) <= _LONGEST and text.isprintable() else shown(text, limit=_LONGEST)


class LibrariesLog(logging.Handler):
    """Log lines of the HTTP server and of other libraries go into the same log, in the same form."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One message; with its traceback where it has one. One that cannot be put together raises nothing either."""
        event = "http server" if record.name.startswith("uvicorn") else "library"
        try:
            self._log.log(record.levelno, event, logger=record.name, said=record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)


def _dump(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except orjson.JSONEncodeError:  # half a character, or a number of more than 64 bits
        return orjson.dumps({key: ascii(value) for key, value in event.items()}).decode()
