"""What the commands tell: lines to a person, and one document for a script at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from kubesteer.cli.rewards_tables import plain
from kubesteer.model.errors import KubesteerError

OK, FAILED, REFUSED = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to go about it. ask: the user's yes or no; None where there is nobody to ask."""

    yes: bool = False
    dry_run: bool = False
    timeout_s: float = 300.0
    ask: Callable[[str], bool] | None = None


@dataclass(slots=True)
class Reporter:
    """Lines on the console; with as_json a document on standard output when it ends."""

    console: Console
    as_json: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str, style: str | None = None) -> None:
        """Lines, without what a terminal would obey."""
        shown = "\n".join(map(plain, text.split("\n")))
        self.console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)

    def agreed(self, options: RunOptions, question: str) -> bool:
        """Whether to go on; where nobody can be asked, --yes must say so."""
        if options.yes or (options.ask is not None and options.ask(question)):
            return True
        nobody = "nobody to ask here (no terminal): say --yes to go ahead. Nothing was changed"
        self.say("nothing was changed" if options.ask else nobody, "bold red")
        return False

    def end(self, code: int) -> int:
        """Writes the document where one is wanted."""
        if self.as_json:
            sys.stdout.write(json.dumps({**self.document, "exitCode": code}, indent=2, default=str) + "\n")
        return code

    def fail(self, fault: KubesteerError, code: int) -> int:
        """Says what went wrong, and ends."""
        self.say(str(fault), "bold red")
        self.document["error"] = str(fault)
        return self.end(code)


def reporter(*, as_json: bool) -> Reporter:
    """With --json, people are told on standard error."""
    return Reporter(Console(file=sys.stderr if as_json else sys.stdout), as_json)
