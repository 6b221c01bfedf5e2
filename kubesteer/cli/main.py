"""The `kubesteer` command. Thin: every command calls one capability."""

from __future__ import annotations

import cyclopts

from kubesteer.cli.trial import try_pods

app = cyclopts.App(
    name="kubesteer",
    help="""Steer pods to the nodes where they will do well.

Examples:

    kubesteer try

    kubesteer try --ops http://127.0.0.1:8889 --json
""",
    help_format="plaintext",
)
app.command(try_pods, name="try")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
