"""How fast the demo goes. Everything is in the proportions of real life, minutes shrunk to seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. The defaults take about two and a half minutes.

    half_life_s: evidence counts half after this (the default of a real installation: 6 hours).
    success_after_s: a container that ran so long is a success (2 minutes). mttf_s: a run that failed later than this
        counts half (10 minutes).
    fails_after_s, restarts_after_s: how long containers run on the failing and on the restarting node.
    pod_every_s, pod_life_s: a new pod comes so often, and leaves after so long.
    learn_s, steer_s: how long the first two acts last. return_s: at most, until the repaired node is used again.
    """

    half_life_s: float = 20.0
    success_after_s: float = 6.0
    mttf_s: float = 8.0
    fails_after_s: float = 2.0
    restarts_after_s: float = 11.0
    pod_every_s: float = 0.7
    pod_life_s: float = 25.0
    learn_s: float = 25.0
    steer_s: float = 30.0
    return_s: float = 90.0


FAST = Pace(
    half_life_s=15.0,
    success_after_s=3.0,
    mttf_s=4.0,
    fails_after_s=1.0,
    restarts_after_s=6.0,
    pod_every_s=0.5,
    pod_life_s=12.0,
    learn_s=14.0,
    steer_s=14.0,
    return_s=60.0,
)
"""For a test: about a minute, start included."""
