"""Each command tells the version of its own code: of a checkout, installed or not, and of an installed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from kubesteer.clients.own_version import own_version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "pyproject.toml"
VERSION = tomllib.loads(PROJECT.read_text())["project"]["version"]


def told(module: str, folder: Path) -> str:
    command = [sys.executable, "-m", module, "--version"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("module", ["extender", "monitor_agent", "kubesteer"])
def test_each_command_tells_the_version_of_the_project(module: str) -> None:
    assert told(module, ROOT) == VERSION


@pytest.mark.parametrize("module", ["extender", "monitor_agent", "kubesteer"])
def test_a_checkout_that_is_newer_than_what_was_installed_tells_its_own_version(tmp_path: Path, module: str) -> None:
    for package in ("extender", "monitor_agent", "kubesteer"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").write_text(PROJECT.read_text().replace(f'"{VERSION}"', '"9.8.7"', 1))
    assert told(module, tmp_path) == "9.8.7"


def test_folders_without_a_project_file_have_the_version_of_the_package(tmp_path: Path) -> None:
    """As in the image. Another project's file beside the package is not kubesteer's."""
    assert own_version(tmp_path) == version("kubesteer")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\nversion = "5"\n')
    assert own_version(tmp_path) == version("kubesteer")
