"""README read as a new user reads it: what it shows is printed, what it writes is taken, what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from extender.settings_file import load as load_extender
from monitor_agent.settings_file import load as load_agent

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def block(containing: str, kind: str = "") -> str:
    """The one code block with that text, without the indent of a list."""
    found = re.findall(rf"^( *)```{kind}\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    [(indent, text)] = [each for each in found if containing in each[1]]
    return re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def test_what_make_try_prints_is_what_readme_shows() -> None:
    command = [sys.executable, "-m", "tools.try_example"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    printed = "\n".join(line.rstrip() for line in ended.stdout.splitlines())
    assert block("default/web-new (type web)").strip() in printed


def test_the_extenders_settings_are_taken(tmp_path: Path) -> None:
    (file := tmp_path / "kubesteer.yaml").write_text(block("# kubesteer.yaml", "yaml"))
    settings = load_extender(file)
    assert (settings.cluster.source, settings.rewards.source) == ("kubernetes", "etcd")


def test_the_agents_settings_are_taken(tmp_path: Path) -> None:
    (file := tmp_path / "agent.yaml").write_text(block("# agent.yaml", "yaml"))
    assert load_agent(file, {}).node.name == "node-1"


def test_the_settings_that_agents_and_extender_must_share_exist_under_these_names() -> None:
    [sentence] = re.findall(r"The agents' (.*?) must be the extender's (.*?)\.(?= |$)", README)
    for names, document in zip(sentence, ("agent-settings", "settings"), strict=True):
        text = (ROOT / f"docs/{document}.md").read_text()
        for group, name in re.findall(r"`(\w+)\.(\w+)`", names):
            [section] = re.findall(rf"^## {group}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
            assert f"| `{name}` |" in section


COMMANDS = sorted(set(re.findall(r"(?:\.venv/bin/|`)kubesteer ((?:[a-z]+ ?)+)((?: ?--?[^`#\n]*)?)", README)))


@pytest.mark.parametrize(("command", "options"), COMMANDS, ids=lambda each: each.strip() or "-")
def test_each_kubesteer_command_and_each_of_its_flags_exists(command: str, options: str) -> None:
    words = command.split()
    helped = subprocess.run(
        [sys.executable, "-m", "kubesteer", *words, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert helped.returncode == 0, helped.stderr
    for flag in re.findall(r"--[a-z-]+", options):
        assert flag in helped.stdout, f"{command}{flag}"


def test_the_versions_that_readme_names_are_those_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert set(re.findall(r"kubesteer:(\d[\w.]*)", README)) == {version[1]}
    python = re.search(r'^requires-python = ">=(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert python
    assert f"Python {python[1]} or newer" in README


def test_the_example_workload_asks_for_what_readme_says() -> None:
    template = yaml.safe_load((ROOT / "examples/deployment.yaml").read_text())["spec"]["template"]
    [container] = template["spec"]["containers"]
    assert template["spec"]["schedulerName"] == "kubesteer"
    assert container["resources"]["limits"] == yaml.safe_load(block("limits:", "yaml"))["resources"]["limits"]
