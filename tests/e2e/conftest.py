"""Fixtures of the test bed, and the tiers that its tests are chosen by."""

from __future__ import annotations

import pytest

from tests.e2e import tiers
from tests.e2e.fixtures import binaries, control_plane, older_binaries

__all__ = ["binaries", "control_plane", "older_binaries"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        for marker in tiers.follows(getattr(item, "fixturenames", ()), callspec.params if callspec else {}):
            item.add_marker(marker)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tiers.summary(terminalreporter)
