"""The blocks of docs/recipes.md, and how their commands are run: as they stand there, but for the ports."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_RECIPE = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.yaml)\n")
_ON_A_CLUSTER = re.compile(r"^On a cluster\b[^\n]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recipe:
    """files: texts by name. here: scripts against `make run`. on_a_cluster: scripts that need one."""

    title: str
    files: dict[str, str]
    here: list[str]
    on_a_cluster: list[str]

    def settings(self) -> list[dict[str, Any]]:
        return [yaml.safe_load(text) for name, text in self.files.items() if name.startswith("kubesteer")]


def recipes() -> dict[int, Recipe]:
    text = (ROOT / "docs/recipes.md").read_text()
    parts = _RECIPE.split(text)[1:]
    return {
        int(number): _recipe(title, body)
        for number, title, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def _recipe(title: str, body: str) -> Recipe:
    """The paragraph before a block tells whether it needs a cluster."""
    found = Recipe(title, {}, [], [])
    before = 0
    for block in _BLOCK.finditer(body):
        kind, text = block.groups()
        said = body[before : block.start()]
        before = block.end()
        if name := _FILE.match(text):
            found.files[name[1]] = text
        elif _ON_A_CLUSTER.search(said) or text.startswith("aws "):
            found.on_a_cluster.append(text)
        else:
            assert kind == "sh", text
            found.here.append(text)
    return found


def run(script: str, folder: Path, *, ports: dict[str, int] | None = None) -> str:
    """Runs it in the folder, which has the examples and a command `kubesteer`; gives what it printed."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    command = commands / "kubesteer"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m kubesteer.cli.main "$@"\n')
    command.chmod(0o755)
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    for port, real in (ports or {}).items():
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{real}")
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", f'PATH="{commands}:$PATH"\n{script}'],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(recipe: Recipe, folder: Path) -> None:
    for name, text in recipe.files.items():
        (folder / name).write_text(text)
