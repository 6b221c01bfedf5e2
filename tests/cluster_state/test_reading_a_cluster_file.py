"""The cluster file: what it may hold, how a change is noticed, and what a broken one does."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kubesteer.clients.kubernetes.cluster_file import ClusterFileSource
from kubesteer.clients.kubernetes.manifest import read_manifest
from kubesteer.model.errors import InvalidInput
from kubesteer.model.network import DEFAULT_NETWORK
from tests.cluster_state.builders import node, pod
from tests.cluster_state.sink import RecordingSink
from tests.waiting import pass_time, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def reading(path: Path, sink: RecordingSink) -> AsyncIterator[ClusterFileSource]:
    source = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.02)
    task = asyncio.create_task(source.run(sink))
    try:
        yield source
        assert not task.done(), "the source ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def a_list(*items: dict[str, Any], kind: str = "List") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "items": list(items)}


def without_kind(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key != "kind"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(yaml.safe_dump(a_list(node("a"), pod("p"))), id="a List in YAML"),
        pytest.param(json.dumps(a_list(node("a"), pod("p")), indent="\t"), id="a List in JSON, with tabs"),
        pytest.param(yaml.safe_dump_all([node("a"), None, pod("p")]), id="documents, one of them empty"),
        pytest.param(
            yaml.safe_dump_all(
                [a_list(without_kind(node("a")), kind="NodeList"), a_list(without_kind(pod("p")), kind="PodList")]
            ),
            id="NodeList and PodList whose items name no kind",
        ),
        pytest.param(yaml.safe_dump(a_list(a_list(node("a")), pod("p"))), id="a List in a List"),
        pytest.param(
            yaml.safe_dump(a_list(node("a"), {"kind": "Service", "spec": 1}, pod("p"))), id="another kind between"
        ),
        pytest.param(
            "{{kind: List, items: [{}, {}]}}".format(json.dumps(node("a")), json.dumps(pod("p"))), id="flow YAML"
        ),
    ],
)
def test_every_way_to_write_nodes_and_pods_is_read(text: str) -> None:
    manifest = read_manifest(text.encode(), DEFAULT_NETWORK)
    assert (list(manifest.nodes), list(manifest.pods), manifest.faults) == (["a"], ["default/p"], [])
    assert manifest.nodes["a"].network_bps[0] == 10_000_000_000


def test_bare_numbers_are_quantities_too() -> None:
    text = """
kind: List
items:
- {kind: Node, metadata: {name: a}, status: {allocatable: {cpu: 1.5, memory: 1024}}}
- kind: Pod
  metadata: {name: p, creationTimestamp: 2026-11-22T10:00:00Z}
  spec: {containers: [{name: c, resources: {requests: {cpu: 2, memory: 1e3}}}]}
"""
    manifest = read_manifest(text.encode(), DEFAULT_NETWORK)
    assert manifest.faults == []
    assert (manifest.nodes["a"].cpu_m, manifest.nodes["a"].memory_b) == (1500, 1024)
    assert (manifest.pods["default/p"].requests.cpu_m, manifest.pods["default/p"].requests.memory_b) == (2000, 1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("kind: List\nitems:\n- a: 1\n  b: [\n", "line 5, column 1: ", id="broken YAML names the line"),
        pytest.param('{"kind": "List",\n "items": [}', r"line 2, column 12: ", id="broken JSON names the line"),
        pytest.param("", "there is nothing in it", id="empty"),
        pytest.param("# only a comment\n", "there is nothing in it", id="a comment"),
        pytest.param("just words\n", "document 1 has no kind but is 'just words'", id="words"),
        pytest.param("kind: List\nitems: 5\n", "document 1: items is '5'", id="items that are no list"),
        pytest.param(
            "kind: List\nitems: [{kind: Node, metadata: {name: a}}, 7]", "document 1, item 2 has no kind", id="odd item"
        ),
        pytest.param("kind: List\nitems: [\x07]", "not YAML|line 2", id="control characters"),
        pytest.param(
            "kind: List\nitems: &all [*all]",
            "line 2, column 14: alias 'all' names nothing that is whole",
            id="a list that holds itself",
        ),
        pytest.param(
            "&all {kind: List, items: [*all]}", "line 1, column 27: alias 'all' names", id="an object that holds itself"
        ),
        pytest.param('{"kind": "List", "items": [' + "[" * 100_000, "nested too deeply|line 1", id="very deep JSON"),
        pytest.param("a: !!python/object:os.system {}", "line 1, column 4: ", id="a tag that would run code"),
    ],
)
def test_text_that_is_no_list_of_objects_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_manifest(text.encode(), DEFAULT_NETWORK)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        pytest.param(pod("x", cpu="lots"), "Pod 'default/x': spec.containers[main].resources.requests[cpu]", id="pod"),
        pytest.param(
            {"kind": "Node", "metadata": {"name": "x", "labels": {"v": 1}}},
            "Node 'x': Expected `str`, got `int` - at `$.metadata.labels['v']`",
            id="a label that is a number",
        ),
        pytest.param({"kind": "Pod", "metadata": {"name": "x"}}, "Pod 'x': Object missing required", id="no spec"),
        pytest.param({"kind": "Pod", "spec": {}}, "Pod without metadata: ", id="no metadata"),
        pytest.param({"kind": "Node", "metadata": {}}, "Node: metadata.name is missing", id="no name"),
        pytest.param(node("a", cpu="9"), "Node a: there more than once; the last one counts", id="twice"),
    ],
)
def test_an_object_that_cannot_be_used_is_named_and_the_others_count(item: dict[str, Any], fault: str) -> None:
    manifest = read_manifest(json.dumps(a_list(node("a"), pod("p"), item)).encode(), DEFAULT_NETWORK)
    assert (list(manifest.nodes), list(manifest.pods)) == (["a"], ["default/p"])
    [found] = manifest.faults
    assert fault in found


def test_bytes_that_are_no_text_are_refused() -> None:
    for text in (b'{"kind": "List\xff"}', b"kind: List\xff"):
        with pytest.raises(InvalidInput, match="not YAML"):
            read_manifest(text, DEFAULT_NETWORK)


def test_of_a_node_that_is_there_twice_the_last_one_counts() -> None:
    manifest = read_manifest(json.dumps(a_list(node("a", cpu="1"), node("a", cpu="2"))).encode(), DEFAULT_NETWORK)
    assert manifest.nodes["a"].cpu_m == 2000


async def test_a_broken_file_keeps_the_last_good_state_and_says_so(tmp_path: Path, sink: RecordingSink) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(a_list(node("a"))))
    async with reading(path, sink) as source:
        await until(lambda: source.status().nodes_synced)
        path.write_text("kind: List\nitems: [\n")
        await until(lambda: source.status().last_error)
        assert f"cluster file {path}: line 3, column 1: " in (source.status().last_error or "")
        age_s = source.status().last_contact_age_s or 0.0
        await until(lambda: (source.status().last_contact_age_s or 0.0) >= age_s + 0.1)
        assert (set(sink.nodes), source.status().nodes, source.status().relists) == ({"a"}, 1, 0)
        path.write_text(yaml.safe_dump(a_list(node("b"))))
        await until(lambda: source.status().relists == 1)
        assert set(sink.nodes) == {"b"}
        await until(lambda: source.status().last_error is None)


async def test_a_file_that_is_not_there_yet_is_waited_for_and_one_that_goes_is_missed(
    tmp_path: Path, sink: RecordingSink
) -> None:
    path = tmp_path / "cluster.yaml"
    async with reading(path, sink) as source:
        await until(lambda: source.status().last_error)
        assert source.status().last_error == f"cluster file {path}: No such file or directory"
        assert (source.status().nodes_synced, source.status().last_contact_age_s) == (False, None)
        path.write_text(yaml.safe_dump(a_list(node("a"))))
        await until(lambda: source.status().nodes_synced)
        await until(lambda: source.status().last_error is None)
        path.rename(tmp_path / "away")
        await until(lambda: source.status().last_error)
        assert set(sink.nodes) == {"a"}
        (tmp_path / "away").rename(path)
        await until(lambda: source.status().last_error is None)
        assert sink.listed() == 1, "the same file need not be read again"


async def test_a_link_that_is_turned_to_another_file_is_followed(tmp_path: Path, sink: RecordingSink) -> None:
    """As the kubelet changes a mounted ConfigMap: the link is replaced, size and time may stay."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(yaml.safe_dump(a_list(node(name))))
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    path, turned = tmp_path / "cluster.yaml", tmp_path / "new-link"
    path.symlink_to(tmp_path / "a")
    async with reading(path, sink):
        await until(lambda: set(sink.nodes) == {"a"})
        turned.symlink_to(tmp_path / "b")
        turned.rename(path)
        await until(lambda: set(sink.nodes) == {"b"})


async def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path, sink: RecordingSink) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(a_list(node("a"))))
    async with reading(path, sink) as source:
        await until(lambda: source.status().nodes_synced)
        with path.open("w") as file:
            for i in range(40):
                file.write(f"---\n{yaml.safe_dump(node(f'n{i}'))}")
                file.flush()
                await pass_time(0.005)
        await until(lambda: len(sink.nodes) == 40)
    assert sink.listed() == 2


def test_of_two_pods_with_one_uid_the_last_counts_and_both_are_named() -> None:
    manifest = read_manifest(json.dumps(a_list(pod("p", uid="u"), pod("q", uid="u"))).encode(), DEFAULT_NETWORK)
    assert list(manifest.pods) == ["default/q"]
    assert manifest.faults == ["Pod default/q: metadata.uid 'u' is that of Pod default/p too; the last one counts"]


def test_capacity_alone_is_allocatable_as_the_api_server_copies_it() -> None:
    items = [
        {"kind": "Node", "metadata": {"name": "a"}, "status": {"capacity": {"cpu": "2"}}},
        {"kind": "Node", "metadata": {"name": "b"}, "status": {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "1"}}},
    ]
    manifest = read_manifest(json.dumps(a_list(*items)).encode(), DEFAULT_NETWORK)
    assert [one.cpu_m for one in manifest.nodes.values()] == [2000, 1000]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (node("x" * 254), "metadata.name"),
        (pod("x" * 254), "metadata.name"),
        (pod("p", uid="x" * 500_000), "metadata.uid"),
        (pod("p", on="x" * 254), "spec.nodeName"),
        (pod("p") | {"metadata": {"name": "p", "namespace": "x" * 254}}, "metadata.namespace"),
        (pod("p") | {"metadata": {"name": "p", "labels": {"app": "x" * 254}}}, "its type, of a label or an owner"),
    ],
)
def test_names_are_bounded_as_the_api_server_bounds_them(item: dict[str, Any], field: str) -> None:
    manifest = read_manifest(json.dumps(a_list(node("x" * 253), item)).encode(), DEFAULT_NETWORK)
    assert (list(manifest.nodes), list(manifest.pods)) == (["x" * 253], [])
    [fault] = manifest.faults
    assert f": {field} 'xxx" in fault
    assert "characters; write 253 at most" in fault
    assert len(fault) < 500


@pytest.mark.parametrize("name", ["UPPER", "a b", "x/y", "ü", "-a", "a\nb", "a..b", "a."])
def test_a_name_that_the_api_server_refuses_is_a_fault(name: str) -> None:
    manifest = read_manifest(
        json.dumps(a_list(node(name), node("a-1.b"), pod(name), pod("p"))).encode(), DEFAULT_NETWORK
    )
    assert (list(manifest.nodes), list(manifest.pods)) == (["a-1.b"], ["default/p"])
    assert len(manifest.faults) == 2
    assert all("is no name that the API server takes" in fault for fault in manifest.faults)


async def test_all_faults_are_told_the_first_of_them_in_full(
    tmp_path: Path, sink: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(a_list(node("a"), *(pod(f"p{i}", cpu="lots") for i in range(5)), pod("q"))))
    async with reading(path, sink) as source:
        await until(lambda: source.status().nodes_synced)
        told = source.status().last_error or ""
        path.write_text(path.read_text() + "\n")
        await until(lambda: source.status().relists == 1)
    assert all(f"Pod 'default/p{i}': " in told for i in range(3))
    assert told.endswith("; and 2 more, 5 in all")  # 5 - 3
    assert (source.status().nodes, source.status().pods, source.status().skipped) == (1, 1, 5)
    assert f"cluster file {path} read again: nodes: 1, pods: 1, faults: 5" in caplog.messages


async def test_a_file_without_a_node_is_ready_and_says_so(tmp_path: Path, sink: RecordingSink) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(a_list(pod("p"))))
    async with reading(path, sink) as source:
        await until(lambda: source.status().nodes_synced)
        assert source.status().last_error == (
            f"cluster file {path}: there is no Node in it, so every candidate is unknown"
        )
        assert (source.status().pods_synced, source.status().skipped) == (True, 0)


async def test_the_pods_are_as_old_as_the_reading_and_others_get_their_turn(
    tmp_path: Path, sink: RecordingSink
) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(a_list(*(pod(f"p{i}") for i in range(1000)))))
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(sink.pods))
            await asyncio.sleep(0)

    ticks = iter(range(10**9))
    source = ClusterFileSource(path, DEFAULT_NETWORK, interval_s=0.02, clock=lambda: float(next(ticks)))
    tasks = [asyncio.create_task(others()), asyncio.create_task(source.run(sink))]
    await until(lambda: source.status().pods_synced)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(sink.pods) == 1000
    assert {1, 2, 3} <= {count // 250 for count in turns if 0 < count < 1000}, "a turn after every 250"
    assert sink.listed_at_s == 0.0, "the first look at the clock, before the file was read"


def test_a_node_that_cannot_be_used_is_a_fault_and_is_there_to_be_refused() -> None:
    bad = node("a")
    bad["status"]["allocatable"]["kubesteer.io/egress-bps"] = "10Gbps"
    manifest = read_manifest(json.dumps(a_list(bad, node("b"))).encode(), DEFAULT_NETWORK)
    assert set(manifest.nodes) == {"a", "b"}
    [fault] = manifest.faults
    assert fault.startswith("Node a: status.allocatable[")
    assert fault.endswith("; it takes no pod")
