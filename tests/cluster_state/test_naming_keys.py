"""A value of a wrong type in a map is named by its key, wherever the object came from; msgspec names the map alone."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from kubesteer.clients.kubernetes.manifest import read_manifest
from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import Node, Pod
from kubesteer.model.network import DEFAULT_NETWORK
from tests.builders import node, pod
from tests.cluster_state.conftest import following
from tests.cluster_state.fake_api import FakeApi
from tests.cluster_state.sink import RecordingSink
from tests.service.harness import args, nodes_args, service
from tests.waiting import until

REQUESTS = "spec.containers[0].resources.requests"


@pytest.mark.parametrize(
    ("api_object", "at"),
    [
        pytest.param(pod(memory="1Gi", cpu=[1]), f"got `array` - at `$.{REQUESTS}['cpu']`", id="a list"),
        pytest.param(pod(cpu=1, memory=True), f"got `bool` - at `$.{REQUESTS}['memory']`", id="a boolean"),
        pytest.param(pod(limits={"cpu": {}}), "got `object` - at `$.spec.containers[0].resources.limits['cpu']`", id="{}"),
        pytest.param(pod(overhead={"a": "1", "b": None}), "got `null` - at `$.spec.overhead['b']`", id="null"),
        pytest.param(pod(labels={"a": "x", "b\n": 1}), r"got `int` - at `$.metadata.labels['b\n']`", id="a label"),
        pytest.param(pod(annotations={"x" * 900: 0.5}), f"metadata.annotations['{'x' * 62}…]`", id="a long key"),
        pytest.param(pod(labels="none"), "got `str` - at `$.metadata.labels`", id="the map itself"),
    ],
)  # fmt: skip
def test_the_key_is_named(api_object: dict[str, Any], at: str) -> None:
    for value in (api_object, json.dumps(api_object).encode(), msgspec.Raw(json.dumps(api_object).encode())):
        with pytest.raises(msgspec.ValidationError) as refusal:
            msgspec.convert(api_object, Pod)
        assert told(refusal.value, value).endswith(at) or at in told(refusal.value, value)


def test_of_what_is_no_json_the_key_is_named_too() -> None:
    """YAML has dates, and keys that are no text."""
    for labels, at in (
        ({"day": date(2026, 1, 2)}, "`date` - at `$.metadata.labels['day']`"),
        ({7: "x"}, "labels['7']`"),
    ):
        value = {"metadata": {"name": "n", "labels": labels}}
        with pytest.raises(msgspec.ValidationError) as refusal:
            msgspec.convert(value, Node)
        assert told(refusal.value, value).endswith(at)


def test_of_a_text_over_a_mebibyte_the_map_alone_is_named() -> None:
    """It would have to be decoded as a whole once more."""
    body = json.dumps(pod(cpu=[1], annotations={"a": "x" * 2**20})).encode()
    with pytest.raises(msgspec.ValidationError) as refusal:
        msgspec.json.decode(body, type=Pod)
    assert told(refusal.value, body) == str(refusal.value)
    assert "requests[...]" in told(refusal.value, body)


async def test_the_answer_to_the_scheduler_names_the_key() -> None:
    error = (await service().post("filter", args(pod(cpu=[1]), ["node-1"])))["Error"]
    assert error.startswith("Pod: Expected")
    assert f"`$.{REQUESTS}['cpu']`" in error
    error = (await service().post("filter", nodes_args(pod(), [node("a"), node("b", cpu=True)])))["Error"]
    assert error.startswith("Nodes.items[1]: Expected")
    assert "got `bool` - at `$.status.capacity['cpu']`" in error


def test_the_cluster_file_names_the_key() -> None:
    items = [node("a"), node("b", cpu=True)]
    [fault] = read_manifest(json.dumps({"kind": "List", "items": items}).encode(), DEFAULT_NETWORK).faults
    assert "Node 'b': " in fault
    assert "got `bool` - at `$.status.capacity['cpu']`" in fault


async def test_a_list_names_the_key(api: FakeApi, sink: RecordingSink) -> None:
    api.raw_items["nodes"] = [json.dumps(node("listed", cpu=True))]
    async with following(api, sink) as source:
        await until(lambda: source.status().skipped == 1)
        assert "$.status.capacity['cpu']" in (source.status().last_error or "")


async def test_a_watch_names_the_key(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink) as source:
        await until(lambda: api.of("nodes") and api.of("pods"))
        api.send(json.dumps({"type": "ADDED", "object": pod("odd", version="150", cpu=[1])}), resource="pods")
        await until(lambda: source.status().skipped == 1)
        assert f"$.object.{REQUESTS}['cpu']" in (source.status().last_error or "")
