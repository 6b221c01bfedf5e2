"""Bad input: what each verb answers, row by row. Status 200 always, the error named, nothing changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import container, node, pod
from tests.service.harness import args, client_of, nodes_args, service

GOOD = json.dumps(pod()).encode()
UNUSABLE = {
    "empty body": (b"", "body is empty"),
    "not JSON": (b"{", "body is not JSON"),
    "cut off": (b'{"Pod":%b,"NodeNames":["a"' % GOOD, "body is not JSON"),
    "two documents": (b'{"Pod":%b,"NodeNames":[]}{}' % GOOD, "body is not JSON"),
    "a list": (b"[]", "body: "),
    "a text": (b'"Pod"', "body: "),
    "null": (b"null", "body: "),
    "no Pod": (b'{"NodeNames":["a"]}', "Pod is missing or null"),
    "null Pod": (b'{"Pod":null,"NodeNames":["a"]}', "Pod is missing or null"),
    "Pod of a wrong type": (b'{"Pod":[],"NodeNames":["a"]}', "Pod: "),
    "Pod without a spec": (b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":["a"]}', "Pod: "),
    "Pod without a name": (b'{"Pod":{"metadata":{},"spec":{}},"NodeNames":["a"]}', "Pod.metadata.name is empty"),
    "containers of a wrong type": (
        b'{"Pod":{"metadata":{"name":"p"},"spec":{"containers":{}}},"NodeNames":[]}',
        "Pod: ",
    ),
    "both node fields null": (b'{"Pod":%b,"Nodes":null,"NodeNames":null}' % GOOD, "Nodes and NodeNames are both null"),
    "names of a wrong type": (b'{"Pod":%b,"NodeNames":"a"}' % GOOD, "NodeNames: "),
    "a name that is a number": (b'{"Pod":%b,"NodeNames":["a",1]}' % GOOD, "NodeNames: "),
    "a name that is null": (b'{"Pod":%b,"NodeNames":[null]}' % GOOD, "NodeNames: "),
    "a name that is no UTF-8": (b'{"Pod":%b,"NodeNames":["\xff"]}' % GOOD, "NodeNames is not JSON"),
    "half a surrogate pair": (b'{"Pod":%b,"NodeNames":["\\ud800"]}' % GOOD, "not JSON"),
    "nodes of a wrong type": (b'{"Pod":%b,"Nodes":[]}' % GOOD, "Nodes: "),
    "a node of a wrong type": (b'{"Pod":%b,"Nodes":{"items":[1]}}' % GOOD, "Nodes.items[0]: "),
    "a node without metadata": (b'{"Pod":%b,"Nodes":{"items":[{}]}}' % GOOD, "Nodes.items[0]: "),
    "a node with bytes that are no UTF-8": (
        b'{"Pod":%b,"Nodes":{"items":[{"metadata":{"name":"a"},"kind":"\xff"}]}}' % GOOD,
        "Nodes is not JSON",
    ),
    "nested without end": (b'{"Pod":' + b"[" * 100_000, "nested too deeply"),
    "a number past all sizes": (b'{"Pod":%b,"NodeNames":[%b]}' % (GOOD, b"9" * 5000), "NodeNames: "),
    "NaN": (b'{"Pod":%b,"NodeNames":NaN}' % GOOD, "not JSON"),
    "a byte order mark": (b'\xef\xbb\xbf{"Pod":%b,"NodeNames":[]}' % GOOD, "body is not JSON"),
}


@pytest.mark.parametrize(("body", "named"), UNUSABLE.values(), ids=UNUSABLE)
async def test_filter_names_what_is_wrong_and_answers_nothing_else(body: bytes, named: str) -> None:
    there = service()
    answer = await there.post("filter", body)
    assert named in answer.pop("Error")
    assert answer == {"Nodes": None, "NodeNames": None, "FailedNodes": {}, "FailedAndUnresolvableNodes": {}}
    assert there.metric("errors_total", kind="bad-input") == 1


@pytest.mark.parametrize(("body", "named"), UNUSABLE.values(), ids=UNUSABLE)
async def test_prioritize_answers_an_empty_list_and_tells_the_log_and_the_metric(body: bytes, named: str) -> None:
    there = service()
    assert await there.post("prioritize", body) == []
    (line,) = there.lines()
    assert (line["event"], line["kind"], line["verb"]) == ("request refused", "bad-input", "prioritize")
    assert named in line["error"]
    assert there.metric("errors_total", kind="bad-input") == 1


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
@pytest.mark.parametrize("body", [body for body, _ in UNUSABLE.values()], ids=UNUSABLE)
async def test_bad_input_changes_nothing_and_is_no_fault(verb: str, body: bytes) -> None:
    there = service()
    before = await there.filter(pod("other", uid=""), ["node-1", "node-2"])
    charges = len(there.parts.state.promises)
    await there.post(verb, body)
    assert len(there.parts.state.promises) == charges
    assert await there.filter(pod("other", uid=""), ["node-1", "node-2"]) == before
    assert there.metric("errors_total", kind="fault") == 0


async def test_unknown_nodes_fail_with_the_reason_and_get_the_lowest_score() -> None:
    there = service()
    answer = await there.filter(pod(), ["nobody", "node-1"])
    assert answer["FailedAndUnresolvableNodes"] == {"nobody": "node is unknown to kubesteer"}
    assert answer["NodeNames"] == ["node-1"]
    assert await there.prioritize(pod(), ["nobody", "node-1"]) == {"nobody": 0, "node-1": 10}


def _cpu(value: Any) -> dict[str, Any]:
    return pod(cpu=value)


BAD_QUANTITIES = {
    "no quantity": (_cpu("lots"), ["spec.containers[main].resources.requests[cpu]", "'lots'", "is not a quantity"]),
    "negative": (_cpu("-1"), ["requests[cpu]", "'-1'", "is negative; write 0 or more"]),
    "digits of another script": (_cpu("١٢"), ["requests[cpu]", "is not a quantity"]),
    "an exponent past int64": (_cpu("1e9223372036854775808"), ["requests[cpu]", "is not a quantity"]),
    "a megabyte of digits": (_cpu("9" * 1_000_000 + "x"), ["requests[cpu]", "is not a quantity"]),
    "half an extended resource": (pod(egress="1500m"), ["kubesteer.io/egress-bps", "'1500m'", "not a whole number"]),
    "in an init container": (pod(init=[container("i", memory="x")]), ["spec.initContainers[i]", "[memory]", "'x'"]),
    "in the overhead": (pod(overhead={"cpu": "--1"}), ["spec.overhead[cpu]", "'--1'"]),
    "at pod level": (pod(pod_level={"memory": "1Zi"}), ["spec.resources.requests[memory]", "'1Zi'"]),
    "of a wrong type": (_cpu(["1"]), ["Pod: "]),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "said"), BAD_QUANTITIES.values(), ids=BAD_QUANTITIES)
async def test_bad_quantities_in_the_pod_are_named_with_field_value_and_rule(
    asked: dict[str, Any], said: list[str]
) -> None:
    there = service()
    answer = await there.filter(asked, ["node-1"])
    told = answer["Error"] or answer["FailedAndUnresolvableNodes"]["node-1"]
    assert all(part in told for part in said), told
    assert len(told) < 500
    assert not answer["NodeNames"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"cpu": "many"}, "node object: status.allocatable[cpu]: 'many' is not a quantity"),
        ({"memory": "-1"}, "node object: status.allocatable[memory]: '-1' is negative"),
        ({"egress": "-10G"}, "node object: status.allocatable[kubesteer.io/egress-bps]: '-10G' is negative"),
        ({"egress": "0.5"}, "node object: status.allocatable[kubesteer.io/egress-bps]: '0.5' is not a whole number"),
    ],
)
@pytest.mark.parametrize("full_nodes", [False, True])
async def test_a_node_with_a_bad_quantity_fails_with_the_reason_and_the_others_are_unaffected(
    broken: dict[str, Any], reason: str, full_nodes: bool
) -> None:
    nodes = [node("good"), node("bad", **broken), node("better")]
    there = service(*nodes)
    asked = pod(egress="1G")
    body = nodes_args(asked, nodes) if full_nodes else args(asked, ["good", "bad", "better"])
    answer = await there.post("filter", body)
    assert list(answer["FailedAndUnresolvableNodes"]) == ["bad"]
    assert answer["FailedAndUnresolvableNodes"]["bad"].startswith(reason)
    assert answer["Error"] == ""
    passed = answer["NodeNames"] or [item["metadata"]["name"] for item in answer["Nodes"]["items"]]
    assert passed == ["good", "better"]


async def test_sizes_past_int64_are_taken_as_kube_scheduler_takes_them() -> None:
    """A node of 1P, 1Pi and more is no fault; a pod that asks for 2^63 fits nowhere below 2^61."""
    nodes = [node("huge", cpu="1E", memory="8Ei", egress="1e99999"), node("1P", memory="1Pi", egress="1P")]
    there = service(*nodes)
    assert (await there.filter(pod(egress="900T"), ["huge", "1P"]))["NodeNames"] == ["huge", "1P"]
    assert (await there.filter(pod(cpu="9" * 100_000, egress="9223372036854775808"), ["1P"]))["NodeNames"] == []


async def test_a_bare_number_is_read_as_the_quantity_that_it_spells() -> None:
    # 9.5e9 of 10G: fits; 10.5e9: does not.
    there = service()
    assert (await there.filter(pod(egress=9_500_000_000), ["node-1"]))["NodeNames"] == ["node-1"]
    assert (await there.filter(pod(egress=10_500_000_000), ["node-1"]))["NodeNames"] == []


async def test_of_a_key_that_comes_twice_the_last_counts_as_in_go() -> None:
    body = b'{"Pod":%b,"NodeNames":["node-1"],"NodeNames":["node-2"]}' % GOOD
    assert (await service().post("filter", body))["NodeNames"] == ["node-2"]


async def test_a_fault_inside_is_an_error_with_a_decision_id_and_not_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    there = service()
    monkeypatch.setattr(there.parts.state.table, "find", lambda _names: 1 / 0)
    error = (await there.filter(pod(), ["no-node"]))["Error"]
    assert "ZeroDivisionError" in error
    assert await there.post("prioritize", args(pod(), ["no-node"])) == []
    assert there.metric("errors_total", kind="fault") == 2
    fault = there.lines()[0]
    assert fault["decision"] in error
    assert "ZeroDivisionError" in fault["exception"]


async def test_a_fault_while_explaining_is_told_by_its_kind_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    there = service()
    monkeypatch.setattr(there.parts.worker, "do", lambda job: 1 / 0)
    async with client_of(there.parts.ops) as client:
        answer = await client.post("/explain", json=args(pod(), ["node-1"]))
    assert (answer.status_code, answer.json()) == (500, {"error": "kubesteer fault ZeroDivisionError: see its log"})
    assert "ZeroDivisionError" in there.lines()[0]["exception"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"Pod":{"metadata":{"name":"w","namespace":"x"},"spec":{"containers":{}}},"NodeNames":[]}', "x/w"),
        (b'{"Pod":%b,"NodeNames":"a"}' % json.dumps(pod("web-1")).encode(), "default/web-1"),
        (b'{"pod":{"metadata":{"name":"web-1","namespace":"default"}},"nodeNames":[]}', "default/web-1"),
        (b'{"Pod":{"metadata":{"name":1}},"NodeNames":[]}', None),
        (b"{", None),
        (b"", None),
    ],
)
async def test_the_line_of_a_refusal_names_the_pod_where_it_can_be_read(body: bytes, named: str | None) -> None:
    there = service()
    await there.post("prioritize", body)
    (line,) = there.lines()
    assert (line["event"], line["pod"]) == ("request refused", named)
