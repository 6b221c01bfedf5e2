"""The command lines of deploy, undeploy and status, and what a terminal shows while one waits."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from kubesteer.cli.cluster.waiting import wait
from kubesteer.deploying.progress import settled
from kubesteer.model.errors import KubectlFailed
from tests.cli.command import run

from .objects import Working, cluster_of, small_kubesteer

COMMANDS = ("deploy", "undeploy", "status")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_kubectl_the_command_says_what_to_install(command: str) -> None:
    found = run(command, "--kubectl", "/nowhere/kubectl")
    assert (found.code, "install kubectl" in found.out) == (1, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_for_scripts_there_is_one_document_with_the_fault_and_the_exit_code(command: str) -> None:
    found = run(command, "--kubectl", "/nowhere/kubectl", "--json")
    told = json.loads(found.out)
    assert (told["exitCode"], "install kubectl" in told["error"]) == (1, True)
    assert "install kubectl" in found.err


def test_a_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    found = run("deploy", "--manifests", str(tmp_path))
    assert (found.code, str(tmp_path) in found.err) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_how_it_is_used_and_what_the_exit_code_means(command: str) -> None:
    found = run(command, "--help")
    assert f"kubesteer {command} " in found.out
    assert "Exit code: 0" in found.out


def waited(*, terminal: bool, ready: bool) -> str:
    stream = io.StringIO()
    cluster = cluster_of(Working(ready=ready), small_kubesteer())
    cluster.apply(small_kubesteer())
    wait(
        cluster,
        small_kubesteer(),
        Console(file=stream, force_terminal=terminal, width=100),
        timeout_s=0,
        look_every_s=0,
    )
    return stream.getvalue()


def test_without_a_terminal_each_step_is_a_line() -> None:
    assert waited(terminal=False, ready=True).splitlines() == [
        "  extender       2/2 done",
        "  agent          3/3 done",
        "  scheduler      1/1 done",
    ]


def test_a_terminal_shows_the_parts_and_takes_them_away_again() -> None:
    text = waited(terminal=True, ready=False)
    assert "extender" in text
    assert "0/2" in text
    assert text.rstrip().endswith("\x1b[2K")


def test_an_api_server_that_comes_back_is_waited_for() -> None:
    """It is away for the first two looks, and that is told once."""
    stream = io.StringIO()
    cluster = cluster_of(Working(), small_kubesteer())
    cluster.apply(small_kubesteer())
    looks = iter([True, True, False])

    def goes_away(_: object) -> None:
        if next(looks, False):
            raise KubectlFailed("the connection was refused")

    cluster.reactions.append(goes_away)
    console = Console(file=stream, width=100)
    found = wait(cluster, small_kubesteer(), console, timeout_s=5, look_every_s=0)
    assert settled(found)
    assert stream.getvalue().count("the connection was refused; trying again") == 1
