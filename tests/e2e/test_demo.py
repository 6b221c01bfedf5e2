"""The demo that the README names comes to its end, and what it claims holds."""

from __future__ import annotations

import subprocess
import sys

from .cluster.build import Binaries
from .service import ROOT


def test_the_demo_in_a_minute_shows_what_it_claims(binaries: Binaries) -> None:
    assert binaries.path("kwok", bundle="kwok").exists()
    demo = subprocess.run(
        [sys.executable, "-m", "tests.demo.rewards", "--fast"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.count("held") == 3
    assert "NOT HELD" not in demo.stdout
