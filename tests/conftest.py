"""What holds for every test: Hypothesis judges no speed, and two workers share a core, for tests often wait."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.examples import examples

settings.register_profile(
    "any machine", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`."""
    return 2 * len(os.sched_getaffinity(0))
