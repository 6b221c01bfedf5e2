"""One extender process for the attacks that one process must withstand, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.target import Target


@pytest.fixture(scope="package")
def target() -> Iterator[Target]:
    """Whatever was done to it before, it runs and decides."""
    with Target({"limits": {"header_timeout_s": 1, "body_timeout_s": 2, "candidates": 100_000}}) as running:
        yield running
        assert running.process.running, running.process.log_tail()


@pytest.fixture(autouse=True)
def still_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack on the shared process it still decides, and none of its faults was told."""
    yield
    if "target" in request.fixturenames:
        shared = request.getfixturevalue("target")
        assert shared.answers(), shared.process.log_tail()
        assert 'kubesteer_errors_total{kind="fault"} 0.0' in shared.metrics_page()
