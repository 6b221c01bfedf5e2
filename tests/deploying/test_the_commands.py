"""The command lines of deploy, undeploy and status, and what a terminal shows while one waits."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from kubesteer.cli.cluster import waiting
from kubesteer.cli.cluster.reporter import Reporter
from kubesteer.deploying.progress import Part, settled
from kubesteer.model.errors import KubectlFailed
from tests.cli.command import run

from .objects import Working, cluster_of, pod, small_kubesteer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubesteer.model.api_objects import Thing

    from .memory import MemoryCluster

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


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("{}", "there is no kubeconfig: name one with --kubeconfig or $KUBECONFIG"),
        ('{"contexts": [{"name": "a"}]}', "no current-context: name a context with --context; there are a"),
    ],
)
def test_without_a_cluster_each_command_says_what_to_name(
    command: str, view: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\necho '{view}'\n")
    kubectl.chmod(0o755)
    found = run(command, "--kubectl", str(kubectl))
    assert (found.code, words in found.out) == (1 if command == "status" else 2, True), found.out


def test_an_overlay_that_is_not_there_is_told_before_any_cluster_is_looked_for() -> None:
    found = run("deploy", "--overlay", "nowhere", "--kubectl", "/nowhere/kubectl")
    assert (found.code, "overlay 'nowhere'" in found.out, "install" in found.out) == (2, True, False), found.out


def waited(cluster: MemoryCluster, **options: float) -> tuple[list[Part], list[str]]:
    stream = io.StringIO()
    reporter = Reporter(Console(file=stream, width=100))
    cluster.apply(small_kubesteer())
    options = {"timeout_s": 5, "look_every_s": 0, **options}
    found = waiting.wait(cluster, small_kubesteer(), [], reporter, **options)
    return found, stream.getvalue().splitlines()


def test_each_step_is_a_line_and_what_stays_as_it_is_is_told_once() -> None:
    """Three looks: no agent is ready, none, three."""
    working = Working(ready=False)
    cluster = cluster_of(working, small_kubesteer())
    looks = iter(range(3))
    cluster.reactions.insert(0, lambda _: setattr(working, "ready", next(looks, 3) >= 2))
    found, lines = waited(cluster)
    assert settled(found)
    assert [line.split()[:2] for line in lines] == [
        *([name, "0/" + count] for name, count in (("extender", "2"), ("agent", "3"), ("scheduler", "1"))),
        *([name, f"{count}/{count}"] for name, count in (("extender", "2"), ("agent", "3"), ("scheduler", "1"))),
    ]


def test_an_image_that_cannot_be_pulled_ends_the_wait_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has been so for a while; time would not be up for ever."""
    monkeypatch.setattr(waiting, "_REASONS_EVERY_S", 0.0)
    monkeypatch.setattr(waiting, "_NO_IMAGE_FOR_S", 0.01)
    cluster = cluster_of(Working(ready=False), small_kubesteer())
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    status = {"containerStatuses": [{"name": "main", "image": "r/k:9", "state": state}]}
    cluster.put(pod("kubesteer-agent-x", "kubesteer-agent", ready=False, **status))
    found, lines = waited(cluster, timeout_s=1e9)
    assert [each.name for each in found if each.no_image] == ["agent"]
    assert sum("image r/k:9 cannot be pulled: ImagePullBackOff: not found" in line for line in lines) == 1


def test_while_all_goes_well_no_pod_and_no_secret_is_read_again() -> None:
    """At 5,000 nodes there are 5,000 agents: the first look alone reads why something hangs."""
    working = Working(ready=False)
    cluster = cluster_of(working, small_kubesteer())
    looks: list[frozenset[str]] = []
    items = cluster.items

    def counted(kinds: Sequence[str], **which: str) -> tuple[list[Thing], list[str]]:
        looks.append(frozenset(kinds))
        working.ready = len(looks) > 5
        return items(kinds, **which)

    cluster.items = counted  # type: ignore[method-assign]
    waited(cluster)
    assert "pods" in looks[0]
    assert set(looks[1:]) == {frozenset({"deployments", "statefulsets", "daemonsets"})}
    assert not any("secrets" in each or "nodes" in each for each in looks)


def test_an_api_server_that_comes_back_is_waited_for() -> None:
    """It is away for the first two looks, and that is told once."""
    cluster = cluster_of(Working(), small_kubesteer())
    looks = iter([True, True, False])

    def goes_away(_: object) -> None:
        if next(looks, False):
            raise KubectlFailed("the connection was refused")

    cluster.reactions.append(goes_away)
    found, lines = waited(cluster)
    assert settled(found)
    assert lines[0] == "  the connection was refused; trying again"
    assert "refused" not in "".join(lines[1:])
