"""The demo that the README names comes to its end, and what it claims holds."""

from __future__ import annotations

import subprocess
import sys

from tools.cluster.build import Binaries
from tools.cluster.extender import ROOT


def run_demo() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.demo.rewards", "--fast"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def test_the_demo_in_a_minute_shows_what_it_claims(binaries: Binaries) -> None:
    """Where pods go is drawn by Thompson sampling: a claim that fails once must hold the next time."""
    assert binaries.path("kwok", bundle="kwok").exists()
    demo = run_demo()
    if "NOT HELD" in demo.stdout:
        demo = run_demo()
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.count("held") == 3
    assert "NOT HELD" not in demo.stdout
