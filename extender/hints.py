"""Commands to paste, for somebody who started the extender at a terminal: they name the nodes that it knows.

Takes the built parts, gives text. Nothing is decided here, and no promise is made.
"""

from __future__ import annotations

import json
import shlex
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from extender.routes.schemas import EXAMPLE
from kubesteer.clients.kubernetes.objects import Pod
from kubesteer.placement.candidates import NamedNodes
from kubesteer.placement.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extender.app import Parts

_MOST_NAMED = 6
"""A line with more is not read."""


def hints(parts: Parts, verbs_url: str, ops_url: str) -> str:
    """The second command asks about the nodes that the first lets pass, as kube-scheduler does."""
    known = NamedNodes(list(islice(parts.decisions.every_node(len(parts.state.table.names)).names, _MOST_NAMED)))
    passing = _passing(parts, known)
    post = "curl -s -X POST -H 'Content-Type: application/json' -d"
    steps = [
        f"""\
1. Which nodes can carry the network SLO of a web pod, and why not the others:
   {post} {_body(known.names)} {verbs_url}/filter
"""
    ]
    if passing:
        steps.append(f"""\
2. A score from 0 to 10 for each that can:
   {post} {_body(passing)} {verbs_url}/prioritize
""")
    steps.append(f"""\
{len(steps) + 1}. Each term of each score (balance, learned reward):
   {post} {_body(known.names)} {ops_url}/explain
""")
    pages = f"Documentation: {ops_url}/docs   Metrics: {ops_url}/metrics   Ready: {ops_url}/readyz   Stop: Ctrl-C"
    return "\n".join(["\nTry it from another terminal:\n", *steps, pages, "\n"])


def _passing(parts: Parts, known: NamedNodes) -> Sequence[str]:
    policy = parts.settings.policy()
    asked = parts.decisions.question(msgspec.convert(EXAMPLE["Pod"], Pod), known)
    told = Engine(policy).explain(asked.pod, asked.candidates, asked.circumstances, shortlist=asked.shortlist)
    return [known.names[position] for position in told.filtered.passed.tolist()]


def _body(names: Sequence[str]) -> str:
    return shlex.quote(json.dumps({**EXAMPLE, "NodeNames": names}))
