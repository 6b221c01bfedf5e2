"""`python -m monitor_agent`: starts the agent, or prints its settings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kubesteer.clients.output import take_over
from kubesteer.clients.own_version import own_version
from kubesteer.model.errors import KubesteerError
from monitor_agent.app import run
from monitor_agent.logs import make_log
from monitor_agent.settings_file import load, reference

_HELP = """usage: python -m monitor_agent [--config FILE]
       python -m monitor_agent settings | --version

The kubesteer monitor agent of one node: learns how pods fare there, and publishes its network.

  --config FILE  YAML file of settings; environment variables come over it
  settings       print every setting with meaning, default and range, as Markdown

examples:

  NODE_NAME=node-1 python -m monitor_agent --config agent.yaml

  KUBESTEER_AGENT_NODE__NAME=node-1 KUBESTEER_AGENT_CLUSTER__KUBECONFIG=$HOME/.kube/config \\
  KUBESTEER_AGENT_STORE__ENDPOINTS='["127.0.0.1:2379"]' python -m monitor_agent

  python -m monitor_agent settings > docs/agent-settings.md

  curl -s http://127.0.0.1:8890/readyz

It ends by itself, with a status other than 0, when another agent holds the node.
"""


def main(arguments: Sequence[str]) -> None:
    """The command. Read by hand: argparse, with what it imports, would be 1.3 MB on every node."""
    match [part for argument in arguments for part in argument.split("=", 1)]:
        case []:
            _start(None)
        case ["--config", file]:
            _start(Path(file))
        case ["settings"]:
            sys.stdout.write(reference())
        case ["--version"]:
            sys.stdout.write(f"{own_version()}\n")
        case ["--help" | "-h" | "help"]:
            sys.stdout.write(_HELP)
        case _:
            sys.exit(f"{' '.join(arguments)}: cannot be read\n\n{_HELP}")


def _start(config: Path | None) -> None:
    try:
        settings = load(config, os.environ)
        lines_dropped = take_over()
        asyncio.run(run(settings, os.environ, make_log(settings.log.level), lines_dropped))
    except (KubesteerError, OSError) as exc:
        sys.exit(f"kubesteer agent cannot go on: {exc}")


if __name__ == "__main__":
    main(sys.argv[1:])
