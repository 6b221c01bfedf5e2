"""`python -m extender`: starts the service, or prints its settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from pathlib import Path

import cyclopts

from extender.app import Parts, run
from extender.hints import hints
from extender.logs import LibrariesLog, make_logger
from extender.server.servers import allow_open_files, event_loop
from extender.settings import Settings
from extender.settings_file import load
from extender.settings_reference import reference
from kubesteer.clients.output import take_over
from kubesteer.clients.own_version import own_version
from kubesteer.model.errors import InvalidSettings, TaskEnded

_SWITCH_S = 0.001
"""A thread that decodes a large body gives way to the event loop so soon; by default it is 5 ms, twice a request."""

app = cyclopts.App(
    name="extender",
    version=own_version,
    help="""The kubesteer scheduler extender.

Examples:

    python -m extender --config kubesteer.yaml

    KUBESTEER_LISTEN__PORT=9000 python -m extender

    python -m extender settings > docs/settings.md
""",
    help_format="plaintext",
)


@app.default
def start(config: Path | None = None) -> None:
    """Start the extender, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    config:
        YAML file of settings. Without one, the defaults hold: loopback, and the example cluster.
    """
    settings = _settings(config)
    allow_open_files()
    sys.setswitchinterval(_SWITCH_S)
    lines_dropped = take_over()
    log = make_logger(as_json=settings.log.format == "json", level=settings.log.level)
    logging.getLogger().addHandler(LibrariesLog(log))
    addresses: list[str] = []

    def on_start(verbs_url: str, ops_url: str) -> None:
        log.info("listening", verbs=verbs_url, ops=ops_url)
        addresses.extend((verbs_url, ops_url))

    def on_synced(parts: Parts) -> None:
        # Over TLS, or where the ops port wants a token, the commands would need what is not known here.
        is_plain = settings.ops.auth == "none" and all(each.startswith("http:") for each in addresses)
        if settings.log.format == "console" and is_plain:
            sys.stdout.write(hints(parts, *addresses))

    try:
        with asyncio.Runner(loop_factory=partial(event_loop, settings.limits.header_timeout_s)) as runner:
            runner.run(run(settings, log, on_start, lines_dropped, on_synced))
    except TaskEnded as exc:
        sys.exit(f"kubesteer cannot go on: {exc}")
    except (InvalidSettings, OSError) as exc:
        sys.exit(f"kubesteer cannot start: {exc}")


@app.command
def settings() -> None:
    """Print every setting with meaning, unit, default and range, as Markdown."""
    sys.stdout.write(reference())


def _settings(config: Path | None) -> Settings:
    try:
        return load(config)
    except InvalidSettings as exc:
        sys.exit(f"kubesteer cannot start:\n{exc}")


if __name__ == "__main__":
    app()
