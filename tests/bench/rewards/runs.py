"""Runs simulations, several at a time, and keeps of each its figures and its course."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from kubesteer.placement.engine import Engine
from tests.bench.rewards import scene as scenes
from tests.bench.rewards.contenders import Contender, contenders
from tests.bench.rewards.measures import Course, Figures, course, figures
from tests.bench.rewards.world import World

if TYPE_CHECKING:
    from tests.bench.rewards.scene import Scene
    from tests.bench.rewards.world import Trace


FIRST_SEED = 2000
"""Defaults were chosen by what came of the seeds from 0 on; what is reported comes of others."""


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation and what came of it."""

    load: str
    contender: str
    seed: int
    figures: Figures
    course: Course


def simulate(contender: Contender, scene: Scene, seed: int) -> Trace:
    """One simulation from beginning to end."""
    nodes = scenes.node_table()
    return World(scene, Engine(contender.policy()), nodes, contender.mind(nodes, scene, seed)).run()


def measure(loads: Sequence[str], seeds: int, progress: Callable[[str], None]) -> list[Run]:
    """All of them; every contender meets the same scenes."""
    tasks = list(product(loads, contenders(), range(FIRST_SEED, FIRST_SEED + seeds)))
    runs = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, run in enumerate(pool.map(_run, *zip(*tasks, strict=True)), 1):
            runs.append(run)
            if done % seeds == 0:
                progress(f"{run.load} load, {run.contender}: {seeds} simulations ({done} of {len(tasks)})")
    return runs


def _run(load: str, contender: str, seed: int) -> Run:
    scene = scenes.draw(load, seed)
    trace = simulate(contenders()[contender], scene, seed)
    return Run(load, contender, seed, figures(scene, trace), course(scene, trace))
