"""Files that somebody made, or half made: no text ends, stops or fills the process that reads them."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.clients import file_reading
from kubesteer.clients.file_reading import read_whole
from kubesteer.clients.kubernetes.cluster_file import ClusterFileSource
from kubesteer.clients.kubernetes.manifest import read_manifest
from kubesteer.clients.plain_yaml import documents
from kubesteer.clients.rewards.file import RewardFileSource
from kubesteer.model.errors import InvalidInput
from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.rewards.table import RewardTable
from tests.cluster_state.builders import node, pod
from tests.cluster_state.sink import RecordingSink
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

KUBECTL = b"""\
apiVersion: v1
items:
- apiVersion: v1
  kind: Node
  metadata:
    annotations:
      a: =
      b: <<
      c: "2001-01-01"
    name: n0
  status:
    allocatable:
      cpu: "8"
      memory: 32Gi
- apiVersion: v1
  kind: Node
  metadata:
    name: n1
  status:
    allocatable:
      cpu: "8"
      memory: 32Gi
kind: List
metadata:
  resourceVersion: ""
"""
"""As `kubectl get nodes -o yaml` of 1.37 prints it, `=` and `<<` as well."""


def a_source(kind: str, path: Path) -> tuple[Any, Any]:
    """A source of the kind over the file, and its run."""
    if kind == "cluster":
        cluster = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.01)
        return cluster, cluster.run(RecordingSink())
    rewards = RewardFileSource(path, RewardTable(), clock=time.monotonic, unix_clock=time.time, poll_interval_s=0.01)
    return rewards, rewards.run()


async def said_of(kind: str, path: Path) -> str:
    """The first fault that the source tells of this file."""
    source, run = a_source(kind, path)
    task = asyncio.create_task(run)
    try:
        await until(lambda: source.status().last_error or task.done())
        assert not task.done()
        return source.status().last_error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 8)
)
"""10 ** 8 values in some 400 bytes."""


@pytest.mark.parametrize("kind", ["cluster", "rewards"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("[" * 100_000, "line 1, column 101: it is nested too deeply", id="brackets"),
        pytest.param("{a: " * 100_000, "nested too deeply", id="braces"),
        pytest.param("- " * 100_000, "nested too deeply", id="dashes"),
        pytest.param(BOMB, "aliases unfold to more than 1000000 values", id="aliases"),
        pytest.param("a: &a [*a]\n", "alias 'a' names nothing that is whole before it", id="a loop"),
    ],
)
async def test_no_text_ends_the_process(kind: str, text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    assert told in await said_of(kind, path)


@pytest.mark.parametrize("kind", ["cluster", "rewards"])
async def test_only_a_regular_file_is_read(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "zero", "folder"):
        assert "it is no regular file" in await said_of(kind, tmp_path / name)
        with pytest.raises(InvalidInput, match="no regular file"):
            read_whole(tmp_path / name)


@pytest.mark.parametrize("kind", ["cluster", "rewards"])
async def test_a_file_that_is_too_large_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)  # one byte more than 64 MiB, none of them on the disk
    assert "it is larger than 64 MiB" in await said_of(kind, path)


def large_yaml(nodes: int = 3000) -> str:
    return "".join(f"---\n{json.dumps(node(f'n{i}'))}\n" for i in range(nodes))


async def test_a_large_file_is_parsed_by_another_process(tmp_path: Path) -> None:
    path, sink = tmp_path / "cluster.yaml", RecordingSink()
    path.write_text(large_yaml())
    source = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.01)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, resource.getrusage(resource.RUSAGE_SELF).ru_utime
    task = asyncio.create_task(source.run(sink))
    await until(lambda: source.status().nodes_synced, every_s=0.1)
    theirs_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before[0]
    ours_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before[1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(sink.nodes) == 3000
    assert sink.nodes["n7"] == read_manifest(json.dumps(node("n7")).encode(), DEFAULT_NETWORK).nodes["n7"]
    assert theirs_s > ours_s, "CPU time of the reading"


@pytest.mark.parametrize("kind", ["cluster", "rewards"])
async def test_a_reading_that_is_cancelled_leaves_no_process(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(large_yaml(20_000))
    begun: list[asyncio.subprocess.Process] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        begun.append(await begin(*arguments, **options))
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    _, run = a_source(kind, path)
    task = asyncio.create_task(run)
    await until(lambda: begun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert begun[0].returncode == -9


async def test_a_reading_that_takes_too_long_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reading, "_LONGEST_S", 0.01)
    path = tmp_path / "large.yaml"
    path.write_text(large_yaml())
    assert "it is not read within 0.01 s" in await said_of("cluster", path)


def test_every_cut_of_what_kubectl_prints_is_refused() -> None:
    whole = read_manifest(KUBECTL, DEFAULT_NETWORK)
    assert (list(whole.nodes), whole.faults) == (["n0", "n1"], [])
    lost = KUBECTL.index(b"kind: List") + len(b"kind: List\n")  # from here on nothing is lost
    for end in range(1, lost):
        with pytest.raises(InvalidInput):
            read_manifest(KUBECTL[:end], DEFAULT_NETWORK)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param("kind: Node\nmetadata: {name: a}\n", id="no status"),
        pytest.param("kind: Node\nmetadata:\n  name: a\nstatus:\n  allocatable:\n", id="a key without a value"),
        pytest.param("kind: Node\nmetadata: {uid: a}\nstatus: {capacity: {cpu: 1}}\n", id="no name"),
        pytest.param("kind: Pod\nmetadata: {name: a}\nspec: {nodeName: b}\n", id="no containers"),
        pytest.param("kind: Node\nmetadata: {name: a}\nstatus:\n  capacity:\n    cpu: 1", id="no end of the line"),
        pytest.param("kind: Node\nmetadata: {name: a}\nstatus: {capacity: {cpu: 1}}\n---\n", id="nothing after ---"),
        pytest.param("kind: Node\nmetadata: {name: a}\nstatus:\n  capacity:\n    cpu: 1\n   ", id="in an indent"),
    ],
)
def test_a_text_that_was_cut_is_noticed_by_its_last_object(cut: str) -> None:
    whole = "kind: Node\nmetadata: {name: first}\nstatus: {capacity: {cpu: 1}}\n"
    with pytest.raises(InvalidInput, match=r"was (it|the file) written whole"):
        read_manifest(f"{whole}---\n{cut}".encode(), DEFAULT_NETWORK)


def test_yaml_is_read_as_json_has_it() -> None:
    text = b"""
words: [=, <<, yes, 2001-01-01, 2026-11-22T10:00:00Z, 1:30, 0x1f, 1_000, .nan]
others: [null, ~, true, False, 1, -2, 1.5, 1e3, "1"]
base: &base {a: 1, b: 2}
merged: {<<: *base, b: 3}
<<: text
1: a key is text
"""
    assert documents(text) == [
        {
            "words": ["=", "<<", "yes", "2001-01-01", "2026-11-22T10:00:00Z", "1:30", "0x1f", "1_000", ".nan"],
            "others": [None, None, True, False, 1, -2, 1.5, 1000.0, "1"],
            "base": {"a": 1, "b": 2},
            "merged": {"a": 1, "b": 3},
            "<<": "text",
            "1": "a key is text",
        }
    ]


def test_json_documents_may_follow_each_other() -> None:
    text = f"{json.dumps(node('a'), indent=1)}\n{json.dumps(node('b'))}{json.dumps(pod('p'))}\n"
    manifest = read_manifest(text.encode(), DEFAULT_NETWORK)
    assert (list(manifest.nodes), list(manifest.pods), manifest.faults) == (["a", "b"], ["default/p"], [])


def test_two_files_in_one_are_refused_instead_of_half_read() -> None:
    """As `kubectl get nodes -o yaml > f; kubectl get pods -A -o yaml >> f` makes it."""
    with pytest.raises(InvalidInput, match="key 'apiVersion' is there twice"):
        read_manifest(KUBECTL + KUBECTL, DEFAULT_NETWORK)
