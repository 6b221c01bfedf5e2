"""`python -m extender`: starts the service, or prints its settings."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from functools import partial
from pathlib import Path

import cyclopts

from extender.app import run
from extender.logs import LibrariesLog, make_logger
from extender.routes.schemas import EXAMPLE
from extender.server.servers import allow_open_files, event_loop
from extender.settings import Settings
from extender.settings_file import load
from extender.settings_reference import reference
from kubesteer.clients.output import take_over
from kubesteer.model.errors import InvalidSettings, TaskEnded

_SWITCH_S = 0.001
"""A thread that decodes a large body gives way to the event loop so soon; by default it is 5 ms, twice a request."""

app = cyclopts.App(
    name="extender",
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

    def on_start(verbs_url: str, ops_url: str) -> None:
        log.info("listening", verbs=verbs_url, ops=ops_url)
        if settings.log.format == "console":
            sys.stdout.write(_hints(verbs_url, ops_url))

    try:
        with asyncio.Runner(loop_factory=partial(event_loop, settings.limits.header_timeout_s)) as runner:
            runner.run(run(settings, log, on_start, lines_dropped))
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


def _hints(verbs_url: str, ops_url: str) -> str:
    """Commands that work when pasted, against the example cluster."""
    body = json.dumps({**EXAMPLE, "NodeNames": [f"node-{i}" for i in range(1, 7)]})
    post = "curl -s -X POST -H 'Content-Type: application/json' -d"
    return f"""
Try it from another terminal:

1. Which nodes can carry the network SLO of a web pod, and why not the others:
   {post} '{body}' {verbs_url}/filter

2. A score from 0 to 10 for each:
   {post} '{body}' {verbs_url}/prioritize

3. Each term of each score (balance, learned reward):
   {post} '{body}' {ops_url}/explain

Documentation: {ops_url}/docs   Metrics: {ops_url}/metrics   Ready: {ops_url}/readyz   Stop: Ctrl-C

"""


if __name__ == "__main__":
    app()
