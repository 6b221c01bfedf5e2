"""What the audience sees: one live table in a terminal, a line every few seconds elsewhere. Draws; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_LINE_EVERY_S = 5.0
_WIDTH = 110


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as it is now. mean is None while nothing is believed of it."""

    condition: str
    ready: int
    not_ready: int
    went_here: int
    mean: float | None
    evidence: float
    reasons: str


class Screen:
    """Use it in a `with`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._last_line_s = float("-inf")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self.console.print(Text(text, style="bold"))

    def show(self, at_s: float, act: str, nodes: Mapping[str, NodeView], of_last: int, trail: str) -> None:
        if self._live:
            self._live.update(_picture(at_s, act, nodes, of_last, trail))
        elif at_s - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = at_s
            parts = [f"{name} {_mean(view)} ({view.evidence:4.1f})" for name, view in nodes.items()]
            self.console.print(Text(f"{at_s:4.0f} s  {'  '.join(parts)}  last pods: {trail}"), soft_wrap=True)


def console(*, is_terminal: bool) -> Console:
    return Console() if is_terminal else Console(width=_WIDTH, force_terminal=False)


def _picture(at_s: float, act: str, nodes: Mapping[str, NodeView], of_last: int, trail: str) -> Group:
    table = Table(title=f"{at_s:.0f} s  {act}", title_justify="left", title_style="bold", width=_WIDTH)
    for heading in ("node", "what pods meet there"):
        table.add_column(heading, no_wrap=True)
    for heading, width in (("ready", 5), ("not", 3), (f"of last {of_last}", 13), ("belief", 6), ("evidence", 8)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("newest outcomes", no_wrap=True, ratio=1)
    for name, view in nodes.items():
        table.add_row(
            name,
            view.condition,
            str(view.ready),
            Text(str(view.not_ready), style="red" if view.not_ready else ""),
            Text(f"{'█' * round(10 * view.went_here / max(of_last, 1))} {view.went_here}", style="cyan"),
            Text(_mean(view), style=_style(view.mean)),
            f"{view.evidence:.1f}",
            view.reasons,
        )
    return Group(table, Text(f" the last pods went to nodes  {trail}", style="dim"))


def _mean(view: NodeView) -> str:
    return " -  " if view.mean is None else f"{view.mean:.2f}"


def _style(mean: float | None) -> str:
    if mean is None:
        return "dim"
    return "green" if mean >= 0.7 else "red" if mean < 0.4 else "yellow"
