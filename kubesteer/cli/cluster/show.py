"""Checks, plans, parts, proofs and removals as a person reads them, and as a script does. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_tables import plain
from kubesteer.deploying.changes import Plan
from kubesteer.deploying.checks import Judgement, Level
from kubesteer.deploying.leftovers import Removal
from kubesteer.deploying.progress import Part
from kubesteer.deploying.proof import Opinion, Proof
from kubesteer.deploying.standing import Standing
from kubesteer.model.api_objects import Ref, ref

_STYLES = {Level.PASS: "green", Level.WARN: "yellow", Level.REFUSE: "bold red"}
_MOST_FIELDS = 3
_MOST_NAMES = 12


def checks(found: Sequence[Judgement]) -> RenderableType:
    """A line each; what to do stands below."""
    table = Table.grid(padding=(0, 2))
    for each in found:
        told = Text(plain(each.said))
        if each.fix:
            told.append(f"\n{plain(each.fix)}", style="cyan")
        table.add_row(Text(each.level, style=_STYLES[each.level]), Text(each.name, style="bold"), told)
    return table


def plan(found: Plan) -> RenderableType:
    """What is going to be done."""
    if found.is_empty:
        return Text(f"nothing to change: {len(found.leave)} objects are as they should be", style="green")
    lines = [Text(f"create {len(found.create)}, change {len(found.change)}, leave {len(found.leave)}, "
                  f"delete {len(found.prune)} objects", style="bold")]  # fmt: skip
    lines += _names("create", found.create)
    relabelled = sum(each.is_label_only for each in found.change)
    lines += [Text(f"  change labels of {relabelled} objects")] * bool(relabelled)
    for change in found.change:
        if change.is_label_only:
            continue
        more = len(change.fields) - _MOST_FIELDS
        fields = [*change.fields[:_MOST_FIELDS], *([f"and {more} fields more"] if more > 0 else [])]
        lines.append(Text(f"  change {change.ref}"))
        lines += [Text(f"    {plain(each)}", style="dim") for each in fields]
    lines += _names("delete", found.prune)
    lines += [Text(f"  keep   {each}: no longer wanted, but there is data in it", style="dim") for each in found.kept]
    lines += [Text(f"  its pods are replaced, a few at a time: {each}", style="cyan") for each in found.rolls]
    return Group(*lines)


def parts(found: Sequence[Part]) -> RenderableType:
    """How far each part is."""
    table = Table.grid(padding=(0, 2))
    for each in found:
        style = "green" if each.is_done else "yellow"
        table.add_row(Text(each.name, style=style), f"{each.ready}/{each.wanted}", Text(plain("; ".join(each.whys))))
    return table


def part_line(part: Part, *, why: bool) -> str:
    """The same for one, on a line."""
    whys = f"  {'; '.join(part.whys)}" if why and part.whys else ""
    return f"  {part.name:<14} {part.ready}/{part.wanted} {'done' if part.is_done else 'waiting'}{plain(whys)}"


def proof(found: Proof) -> RenderableType:
    """What was seen, with each extender's reasons."""
    if found.node is None:
        return Text(f"no proof: the pod got no node within {found.took_s:.0f} s: {plain(found.why)}", style="bold red")
    what = f"1M of {found.slo}" if found.slo else "no SLO"
    lines = [Text(f"placed on {plain(found.node)} after {found.took_s:.1f} s (asks for {what}); "
                  f"kubesteer was asked {found.asked} times meanwhile, for all pods")]  # fmt: skip
    if found.opinions:
        lines += [Text(f"  {plain(_opinion(each))}") for each in found.opinions]
    if not found.slo:
        warning = (
            "NO NODE PUBLISHES A NETWORK CAPACITY, so no pod with an SLO can be placed yet. Agents do so where they "
            "know the link's speed: give network.speed_bps in their settings, see docs/network-capacity.md"
        )
        lines.append(Text(warning, style="bold yellow"))
    if not found.asked:
        lines.append(Text("kubesteer was not asked: the pod was placed without it", style="bold red"))
    return Group(*lines)


def _opinion(each: Opinion) -> str:
    if not each.fits:
        return f"{each.replica}: does not fit: {each.reason}"
    terms = [
        f"{name} {value:.2f}"
        for name, value in (("balance", each.balance), ("reward", each.reward))
        if value is not None
    ]
    return f"{each.replica}: score {each.score}, {', '.join(terms)}; rank {each.rank} of {each.candidates} that fit"


def removal(found: Removal) -> RenderableType:
    """What is going to go."""
    lines = [
        Text(f"delete {len(found.workloads) + len(found.things)} objects and what is in their namespaces", style="bold")
    ]
    lines += _names("delete", [ref(each) for each in (*found.workloads, *found.things)], most=200)
    lines += [Text(f"  strike {ref(each)}: its node is silent", style="yellow") for each in found.stuck]
    lines += [Text(f"  clean  {each}") for each in found.marks]
    lines += [Text(f"  keep   {each}", style="green") for each in found.kept]
    lines += [
        Text(f"  goes with the namespace, and is not kubesteer's: {each}", style="yellow") for each in found.others
    ]
    lines += [
        Text(f"  will stay without a node: {each} asks for kubesteer's scheduler", style="yellow")
        for each in found.waiting
    ]
    return Group(*lines)


def standing(found: Standing) -> RenderableType:
    """A row a part, then what is wrong."""
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "ready", "version", "notes"):
        table.add_column(heading, header_style="bold")
    for row in found.rows:
        count = "" if row.wanted is None else f"{row.ready}/{row.wanted}"
        table.add_row(
            row.part, Text(count, style="green" if row.is_well else "red"), row.version, plain("; ".join(row.notes))
        )
    wrong = [Text(f"! {plain(each)}", style="bold red") for each in found.findings]
    return Group(*([table] if found.rows else []), *(wrong or [Text("all is well", style="green")]))


def plan_document(found: Plan) -> dict[str, Any]:
    """For scripts."""
    return {
        "create": [str(each) for each in found.create],
        "change": [{"object": str(each.ref), "fields": list(each.fields)} for each in found.change],
        "leave": [str(each) for each in found.leave],
        "delete": [str(each) for each in found.prune],
        "keep": [str(each) for each in found.kept],
        "rolls": [str(each) for each in found.rolls],
    }


def removal_document(found: Removal) -> dict[str, Any]:
    """For scripts."""
    return {
        "delete": [str(ref(each)) for each in (*found.workloads, *found.things)],
        "strike": [str(ref(each)) for each in found.stuck],
        "clean": [str(each) for each in found.marks],
        "keep": [str(each) for each in found.kept],
        "others": [str(each) for each in found.others],
        "waiting": [str(each) for each in found.waiting],
    }


def documents(found: Iterable[Any]) -> list[dict[str, Any]]:
    """Dataclasses, for scripts."""
    return [asdict(each) for each in found]


def _names(verb: str, refs: Sequence[Ref], most: int = _MOST_NAMES) -> list[Text]:
    lines = [Text(f"  {verb} {each}") for each in refs[:most]]
    more = [Text(f"  {verb} {len(refs) - most} more", style="dim")] if len(refs) > most else []
    return lines + more
