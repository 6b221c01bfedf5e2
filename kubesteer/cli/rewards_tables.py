"""Rewards as a person reads them in a terminal. Takes values and makes rich's tables; prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_view import Noted, Pair, noted, typical_s

LEGEND = "each: belief (0 worst .. 1 best), evidence left in runs, age"
MOST_TYPES = 40
_CELL_WIDTH = 17
"""Of a node's column with the space beside it."""
_SPARSE = 1.0
"""Evidence below this is shown faint: the prior speaks."""
_GOOD, _BAD = 0.7, 0.4
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def overview(pairs: Sequence[Pair], *, width: int, most: int) -> RenderableType:
    """Types by nodes where that fits into the width, else the worst and the best pairs."""
    types = list(dict.fromkeys(pair.record.pod_type for pair in pairs))
    nodes = sorted({pair.record.node for pair in pairs})
    first_column = max((len(plain(each)) for each in types), default=0) + 3
    node_column = max(_CELL_WIDTH, *(len(plain(node)) + 2 for node in nodes)) if nodes else _CELL_WIDTH
    if len(types) <= MOST_TYPES and first_column + node_column * len(nodes) <= width:
        return Group(_grid(pairs, types, nodes), Text(LEGEND, style="dim"))
    return _extremes(pairs, len(types), len(nodes), most)


def explanation(pair: Pair) -> RenderableType:
    """Everything that is known of one pair."""
    record, extra = pair.record, pair.record.extra
    facts = Table.grid(padding=(0, 2))
    rows: list[tuple[str, str | Text]] = [
        ("belief now", Text.assemble(_mean(pair), f"  (recorded {record.mean:.2f}, drawn towards the prior)")),
        ("prior", f"{pair.prior:.2f}"),
        ("evidence left", f"{_amount(pair.evidence)} runs  (recorded {_amount(record.evidence)})"),
        ("last update", f"{_when(record.time_s)}, {age(pair.age_s)} ago"),
    ]
    for name, text in (
        ("count", "{} outcomes counted"),
        ("learner", "{}"),
        ("edited", "{}, by hand"),
        ("folded", "{} rare types in this row"),
    ):
        if name in extra:
            rows.append((name, text.format(plain(str(extra[name])))))
    for name, heading in (("startup_s", "start-up"), ("duration_s", "duration")):
        if (typical := typical_s(record, name)) is not None:
            rows.append((heading, f"median {typical:.1f} s"))
    for heading, value in rows:
        facts.add_row(Text(f" {heading}", style="dim"), value)
    title = Text(f"{plain(record.pod_type)} on {plain(record.node)}", style="bold")
    recent = noted(record, "recent")
    older = [each for each in noted(record, "bad") if each not in recent]
    outcomes: list[RenderableType] = [
        _outcomes(heading, found)
        for heading, found in (("last outcomes", recent), ("older bad outcomes", older))
        if found
    ]
    return Group(title, facts, *(outcomes or [Text(" no outcomes are noted in this record", style="dim")]))


def age(seconds: float) -> str:
    """A short age, such as 3m."""
    for unit, length_s in _UNITS:
        if seconds >= length_s:
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds:.0f}s"


def plain(text: str) -> str:
    """A name without what a terminal would obey."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _grid(pairs: Sequence[Pair], types: Sequence[str], nodes: Sequence[str]) -> Table:
    cells = {(pair.record.pod_type, pair.record.node): pair for pair in pairs}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("type", style="bold", no_wrap=True)
    for node in nodes:
        table.add_column(Text(plain(node)), no_wrap=True)
    for pod_type in types:
        row = (cells.get((pod_type, node)) for node in nodes)
        table.add_row(Text(plain(pod_type)), *(Text("-", style="dim") if each is None else _cell(each) for each in row))
    return table


def _extremes(pairs: Sequence[Pair], types: int, nodes: int, most: int) -> RenderableType:
    """The worst pairs, then the best of the rest."""
    ordered = sorted(pairs, key=lambda pair: pair.mean)
    worst = ordered[:most]
    best = ordered[max(most, len(ordered) - most) :][::-1]
    left_out = len(ordered) - len(worst) - len(best)
    note = f"{types} types x {nodes} nodes, {len(pairs)} pairs: too wide for a grid, {left_out} pairs left out"
    return Group(
        _list("worst", worst),
        _list("best", best),
        Text(f"{note}; choose with --type or --node", style="dim"),
    )


def _list(title: str, pairs: Sequence[Pair]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("type", "node", "belief", "evidence", "age", "last reason"):
        table.add_column(heading, justify="right" if heading in {"belief", "evidence", "age"} else "left")
    for pair in pairs:
        last = noted(pair.record, "recent")
        table.add_row(
            Text(plain(pair.record.pod_type)),
            Text(plain(pair.record.node)),
            _mean(pair),
            _amount(pair.evidence),
            age(pair.age_s),
            Text(plain(last[-1].reason) if last else ""),
        )
    return table


def _outcomes(title: str, found: Sequence[Noted]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 1))
    for heading in ("when", "pod", "container", "stage", "run", "value", "why"):
        table.add_column(heading, justify="right" if heading in {"run", "value"} else "left")
    for each in reversed(found):
        table.add_row(
            _when(each.time_s),
            *(Text(plain(text)) for text in (each.pod, each.container, each.stage)),
            str(each.run),
            Text(f"{each.value:.2f}", style=_style(each.value)),
            Text(plain(each.reason)),
        )
    return table


def _cell(pair: Pair) -> Text:
    return Text.assemble(_mean(pair), (f" {_amount(pair.evidence):>4} {age(pair.age_s):>4}", "dim"))


def _mean(pair: Pair) -> Text:
    style = _style(pair.mean)
    return Text(f"{pair.mean:.2f}", style=f"dim {style}" if pair.evidence < _SPARSE else style)


def _style(mean: float) -> str:
    if mean >= _GOOD:
        return "green"
    return "red" if mean < _BAD else "yellow"


def _amount(evidence: float) -> str:
    return f"{evidence:.1f}" if evidence < 10 else f"{evidence:.0f}"


def _when(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
