"""Rewards as a person reads them in a terminal. Takes values and makes rich's tables; prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_view import NotedOutcome, Pair, noted, typical_s
from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.table import ReadPolicy

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
    widest = [*(len(plain(node)) + 2 for node in nodes), *(len(_cell(pair)) + 2 for pair in pairs)]
    node_column = max([_CELL_WIDTH, *widest])
    if len(types) <= MOST_TYPES and first_column + node_column * len(nodes) <= width:
        return Group(_grid(pairs, types, nodes), Text(LEGEND, style="dim"))
    return _extremes(pairs, len(types), len(nodes), most)


def explanation(pair: Pair, policy: ReadPolicy) -> RenderableType:
    """Everything that is known of one pair, whose belief is read by that policy."""
    record, extra = pair.record, pair.record.extra
    facts = Table.grid(padding=(0, 2))
    rows: list[tuple[str, str | Text]] = [
        ("belief now", Text.assemble(_mean(pair), f"  ({_basis(record, policy)})")),
        ("prior", f"{pair.prior:.2f}"),
        ("evidence left", f"{amount(pair.evidence)} runs  (recorded {amount(record.evidence)})"),
        ("last update", f"{_when(record.time_s)}, {age(pair.age_s)} ago"),
    ]
    if "count" in extra:
        rows.append(("count", f"{plain(str(extra['count']))} outcomes counted{_not_listed(extra)}"))
    for name, text in (
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


def counted(number: int, noun: str) -> str:
    """Such as 1 pair, 2 pairs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def amount(evidence: float) -> str:
    """At most six characters, whatever somebody wrote into a record."""
    if evidence < 10:
        return f"{evidence:.1f}"
    if evidence < 10_000:
        return f"{evidence:.0f}"
    return f"{evidence / 1000:.0f}k" if evidence < 1_000_000 else f"{evidence:.0e}"


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
    note = (
        f"{counted(types, 'type')} x {counted(nodes, 'node')}, {counted(len(pairs), 'pair')}: too wide for a grid,"
        f" {counted(left_out, 'pair')} left out"
    )
    return Group(
        _list("worst", worst),
        _list("best", best),
        Text(f"{note}; choose with --type or --node", style="dim"),
    )


def _list(title: str, pairs: Sequence[Pair]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("type", "node", "belief", "evidence", "age", "last reason"):
        is_number = heading in {"belief", "evidence", "age"}
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    for pair in pairs:
        last = noted(pair.record, "recent")
        table.add_row(
            Text(plain(pair.record.pod_type)),
            Text(plain(pair.record.node)),
            _mean(pair),
            amount(pair.evidence),
            age(pair.age_s),
            Text(plain(last[-1].reason) if last else ""),
        )
    return table


def _outcomes(title: str, found: Sequence[NotedOutcome]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 1))
    for heading in ("when", "pod", "container", "stage", "run", "value", "why"):
        is_number = heading in {"run", "value"}
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number or heading == "when")
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
    return Text.assemble(_mean(pair), (f" {amount(pair.evidence):>4} {age(pair.age_s):>4}", "dim"))


def _basis(record: RewardRecord, policy: ReadPolicy) -> str:
    """What the belief follows from."""
    match policy:
        case "beta":
            if record.evidence > 0:
                return f"recorded {record.mean:.2f}, drawn towards the prior"
            return "no evidence is recorded: the prior"
        case "ewma":
            return "as recorded" if record.evidence > 0 else "no evidence is recorded: the value of an untried pair"
    return f"policy none: the same for every pair; recorded {record.mean:.2f}"


def _not_listed(extra: Mapping[str, Any]) -> str:
    """Why there are more outcomes than the tables below have. The ewma learner leaves missed runs out."""
    if extra.get("learner") == "ewma":
        return "; the newest are listed"
    return "; the newest are listed, and runs that were missed are counted as the last one ended"


def _mean(pair: Pair) -> Text:
    style = _style(pair.mean)
    return Text(f"{pair.mean:.2f}", style=f"dim {style}" if pair.evidence < _SPARSE else style)


def _style(mean: float) -> str:
    if mean >= _GOOD:
        return "green"
    return "red" if mean < _BAD else "yellow"


def _when(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
