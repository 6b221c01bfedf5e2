"""Draws docs/rewards.svg: the course of the simulations, mean over the seeds with its 95 % confidence interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tests.bench.rewards.scene import HALF_LIFE_S, HOUR_S, REPAIRED_S, ROUGH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from tests.bench.rewards.measures import Course
    from tests.bench.rewards.runs import Run

    Floats = NDArray[np.float64]

_SMOOTHED_H = 3


def draw(runs: Sequence[Run], path: Path) -> None:
    """One column of panels a load. The same runs give the same bytes."""
    loads = list(dict.fromkeys(run.load for run in runs))
    with mpl.rc_context({"svg.hashsalt": "kubesteer", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(4 * len(loads), 6), layout="constrained")
        panels = figure.subplots(2, len(loads), sharex=True, squeeze=False)
        for column, load in enumerate(loads):
            ours = [run for run in runs if run.load == load]
            panels[0][column].set_title("rough weather" if load == ROUGH else f"{load} load")
            _panel(panels[0][column], ours, "failed runs so far", _failed)
            _panel(panels[1][column], ours, "% of its pods on bad nodes", _on_bad)
            panels[1][column].set_xlabel("half-lives")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
        figure.savefig(path, metadata={"Date": None})


def _failed(course: Course) -> Floats:
    return np.cumsum(course.failed).astype(float)


def _on_bad(course: Course) -> Floats:
    return 100 * _part(course.on_bad, course.placed)


def _part(some: NDArray[np.int64], of_all: NDArray[np.int64]) -> Floats:
    """A moving part: of some hours' pods, since single hours have few."""
    window = np.ones(_SMOOTHED_H)
    part: Floats = np.convolve(some, window, "same") / np.maximum(np.convolve(of_all, window, "same"), 1)
    return part


def _panel(axes: Axes, runs: Sequence[Run], title: str, of: Callable[[Course], Floats]) -> None:
    axes.set_ylabel(title)
    for when_s in REPAIRED_S:
        axes.axvline(when_s / HALF_LIFE_S, color="grey", linestyle=":", linewidth=1)
    for contender in dict.fromkeys(run.contender for run in runs):
        lines = np.array([of(run.course) for run in runs if run.contender == contender])
        hours = (np.arange(lines.shape[1]) + 1) * HOUR_S / HALF_LIFE_S
        mean = lines.mean(axis=0)
        margin = 1.96 * lines.std(axis=0, ddof=min(1, len(lines) - 1)) / np.sqrt(len(lines))
        (line,) = axes.plot(hours, mean, label=contender, linewidth=1.2)
        axes.fill_between(hours, mean - margin, mean + margin, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_ylim(bottom=0)
