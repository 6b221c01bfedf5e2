"""`kubesteer keep`: the keeper of kubesteer's certificates and etcd's users. Thin: keeping/parts.py joins the parts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from kubesteer.model.errors import KubesteerError

if TYPE_CHECKING:
    from kubesteer.cli.keeping.loop import Log, Round

Json = Annotated[bool, Parameter(name="--json", negative="")]
Once = Annotated[bool, Parameter(negative="")]

app = App(
    name="keep",
    help="Keep kubesteer's certificates fresh, and etcd's users and roles as they must be.",
    help_epilogue="""Examples:

  kubesteer keep --config keeper.yaml           goes on until told to stop
  kubesteer keep --config keeper.yaml --once    one round, and what it did
  kubesteer keep --once --json | jq .ends       when each certificate ends

A new certificate at the next round:

  kubectl -n kubesteer annotate secret kubesteer-extender-server \
    kubesteer.io/rotate=now

A new authority: docs/certificates.md has the steps.

Settings: docs/certificates.md. Exit code: 0 all is well; 1 a part of the
round had a fault, or the settings cannot be used; 2 a wrong command line.
""",
    help_format="plaintext",
)


@app.default
def keep(*, config: Path | None = None, once: Once = False, as_json: Json = False) -> None:
    """Keep certificates and etcd's users.

    Parameters
    ----------
    config:
        YAML file of settings; without it, the defaults.
    once:
        One round, then end.
    as_json:
        With --once: what the round did, for scripts.
    """
    import asyncio  # noqa: PLC0415

    from kubesteer.cli.keeping import parts  # noqa: PLC0415
    from kubesteer.cli.keeping.settings import load  # noqa: PLC0415
    from kubesteer.clients.output import take_over  # noqa: PLC0415

    try:
        settings = load(config)
        if not once:
            lines_dropped = take_over()
            asyncio.run(parts.keep(settings, os.environ, _log(settings.log.level, quiet=False), lines_dropped))
            return
        log = _log(settings.log.level, quiet=True)
        told = asyncio.run(parts.keep_once(settings, os.environ, log))
    except KubesteerError as exc:
        sys.exit(f"kubesteer keep cannot go on: {exc}")
    if as_json:
        sys.stdout.write(json.dumps(told.as_document(), indent=2) + "\n")
    else:
        _print(told)
    sys.exit(1 if told.faults else 0)


def _print(told: Round) -> None:
    lines = [what for each in told.done.values() for what in each] or ["nothing was to be done"]
    lines += [f"left alone, somebody else made it: Secret {name}" for name in told.foreign]
    lines += [f"Secret {name} lasts until {time:%Y-%m-%d %H:%M} UTC" for name, time in told.ends.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    for part, fault in told.faults.items():
        print(f"{part}: {fault}", file=sys.stderr)


def _log(level: str, *, quiet: bool) -> Log:
    """Lines of JSON on standard output; with --once only warnings, on standard error."""
    import logging  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    least = max(logging.getLevelNamesMapping()[level.upper()], logging.WARNING if quiet else 0)
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr if quiet else sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
    )
    return log
