"""Writes docs/benchmarks.md from what was measured: ratios first, then the figures behind them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import calls
from tests.bench.calls import NOOP, Measured
from tests.bench.notes import METHOD, MISSED
from tests.bench.pods_per_second import NONE, VARIANTS, Run, summary
from tests.bench.syncing import EVENTS_PER_S, Synced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.aims import Aim


def document(machine: str, versions: str, when: str, aims: Sequence[Aim], parts: Sequence[str]) -> str:
    """The whole file."""
    missed = [aim for aim in aims if not aim.met]
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {when}: {machine}. {versions}.",
        "All on one machine that scheduler, API server, etcd and extender share, so ratios within one run count more than figures.",
        "",
        f"## Aims: {len(aims) - len(missed)} of {len(aims)} met",
        "",
        table(("", "measured", "aim", ""), [_row(aim) for aim in aims]),
        "",
        *(["## Missed aims, and why", "", *_notes(missed), ""] if missed else []),
        *parts,
        "## How it is measured",
        "",
        METHOD,
    ]
    return "\n".join(lines) + "\n"


def of_calls(results: Sequence[Measured]) -> str:
    """Milliseconds, CPU and memory of single calls."""
    by = {(one.shape, one.server): one for one in results}
    rows = []
    for one in results:
        noop = by.get((one.shape, NOOP))
        row = [one.shape, one.server]
        for verb in calls.VERBS:
            if verb == "prioritize" and not one.prioritize_us:
                row += ["", ""]
                continue
            p50 = one.p50_us(verb)
            row += [f"{p50 / 1e3:.2f} / {one.p99_us(verb) / 1e3:.2f}", f"{p50 / noop.p50_us(verb):.2f}" if noop else ""]
        rows.append((*row, f"{one.cpu_us / 1e3:.2f}", f"{one.rss_mb:.0f}"))
    head = (
        "",
        "server",
        "filter p50 / p99, ms",
        "x Go",
        "prioritize p50 / p99, ms",
        "x Go",
        "CPU a call, ms",
        "RSS, MB",
    )
    return "\n".join(("## Single calls", "", table(head, rows), ""))


def of_scheduler(runs: Sequence[Run], pods: int) -> str:
    """Medians of pods/s."""
    rows = []
    for nodes, cores in dict.fromkeys((run.nodes, run.cores) for run in runs):
        medians = {variant: summary(list(runs), nodes, variant, cores) for variant in VARIANTS}
        for variant, run in medians.items():
            same = (nodes, variant, cores)
            turns = sorted(one.pods_per_s for one in runs if (one.nodes, one.variant, one.cores) == same)
            rows.append(
                (
                    f"{nodes:,}",
                    cores,
                    variant,
                    f"{run.pods_per_s:.0f}",
                    f"{turns[0]:.0f} to {turns[-1]:.0f}",
                    f"{run.pods_per_s / medians[NONE].pods_per_s:.2f}",
                    f"{run.pods_per_s / medians[NOOP].pods_per_s:.2f}",
                    f"{run.scheduler_ms:.1f}",
                    f"{run.extender_ms:.1f}" if variant != NONE else "",
                    f"{run.api_server_ms:.1f} + {run.etcd_ms:.1f}",
                )
            )
    head = (
        "nodes",
        "cores",
        "",
        "pods/s, median",
        "range",
        "x none",
        "x Go",
        "scheduler CPU a pod, ms",
        "extender CPU a pod, ms",
        "API server + etcd CPU a pod, ms",
    )
    title = f"## The real scheduler, {pods:,} pods"
    return "\n".join((title, "", table(head, rows), ""))


def of_sync(one: Synced) -> str:
    """Time, memory, pauses."""
    rows = [
        (f"reading {one.megabytes:.0f} MB, nothing decoded", f"{one.read_s:.2f} s, CPU {one.read_cpu_s:.2f} s"),
        ("sync", f"{one.sync_s:.2f} s, CPU {one.sync_cpu_s:.2f} s"),
        ("memory of the service: once in sync, at most", f"{one.service_rss_mb:.0f} MB, {one.service_peak_mb:.0f} MB"),
        ("longest pause of the event loop during the sync", f"{one.sync_stall_ms:.1f} ms"),
        (f"the same at {EVENTS_PER_S} pod events/s ({one.events_per_s:.0f} arrived)", f"{one.stall_ms:.1f} ms"),
        ("of which kubesteer's own work", f"{one.own_stall_ms:.1f} ms"),
    ]
    title = f"## Sync: {one.nodes:,} nodes, {one.pods:,} pods"
    return "\n".join((title, "", table(("", ""), rows), ""))


def _notes(missed: Sequence[Aim]) -> list[str]:
    return [MISSED[group].rstrip() for group in dict.fromkeys(aim.group for aim in missed) if group in MISSED]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(aim: Aim) -> tuple[str, str, str, str]:
    digits = 2 if aim.unit == "x" or aim.bound < 10 else 0
    sign = "≤" if aim.at_most else "≥"
    verdict = "met" if aim.met else f"missed by {aim.missed_by:.0%}"
    return aim.what, f"{aim.figure:.{digits}f} {aim.unit}", f"{sign} {aim.bound:g} {aim.unit}", verdict
