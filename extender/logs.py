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
    """The one logger of a process; whoever logs is given it."""
    render = (
        structlog.processors.JSONRenderer(serializer=_dump)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _one_line,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return logger


def _one_line(_logger: object, _method: str, event: Any) -> Any:
    """Text from outside cannot start a line of its own, or fill the disk."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not (len(value) <= _LONGEST and value.isprintable()):
            event[key] = shown(value, limit=_LONGEST)
    return event


def _dump(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
