"""`make image` on a machine that lacks what it takes: a sentence that says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "image: neither buildah nor podman is on PATH; install one of them: `apt-get install buildah`"),
        (
            ["--base", "local"],
            "image: debootstrap, which makes the base, is not on PATH; `apt-get install debootstrap`",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "KUBESTEER_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "tools.image", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(said)
    assert "Traceback" not in ended.stderr
