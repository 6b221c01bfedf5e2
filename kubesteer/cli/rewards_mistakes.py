"""What a wrong `kubesteer rewards` command line is told. Words only: nothing is run, and rich comes with cyclopts."""

from __future__ import annotations

from cyclopts import CycloptsError, CycloptsPanel, MissingArgumentError, UnusedCliTokensError
from rich.panel import Panel

COMMANDS = ("show", "explain", "set", "reset", "export", "import")


def explained(mistake: CycloptsError) -> Panel:
    """The mistake with its remedy, where the parser's own words lack it."""
    return CycloptsPanel(_remedy(mistake) or str(mistake))


def _remedy(mistake: CycloptsError) -> str | None:
    match mistake:
        case MissingArgumentError(argument=argument) if argument and not argument.tokens:
            name = argument.name
            if not argument.field_info.is_positional:
                return f"{name} is missing."
            return f"{name.removeprefix('--').upper()} is missing: give it in its place, or with {name}."
        case UnusedCliTokensError(unused_tokens=[word, *_] as words, command_chain=chain) if chain and (
            chain[-1] == "rewards"
        ):
            if word in COMMANDS:
                return f"Options come after the command: kubesteer rewards {' '.join(words)} [OPTIONS]."
            return f"No such command: {word!r}. There are {', '.join(COMMANDS)}."
    return None
