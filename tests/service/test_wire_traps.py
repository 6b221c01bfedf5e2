"""Every trap of the extender protocol, by name: key case, null against empty, complete lists, integer scores."""

from __future__ import annotations

import json

import pytest

from tests.builders import node, pod
from tests.service.harness import GO_KEYS, Service, args, client_of, nodes_args, service

BIG = {"egress": "20G"}
"""More than the 10G of a default node."""


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
@pytest.mark.parametrize("spell", [str, str.lower, str.upper, lambda key: key[0].lower() + key[1:], str.swapcase])
async def test_argument_keys_are_read_in_any_case(verb: str, spell) -> None:
    there = service()
    spelt = {spell(key): value for key, value in args(pod(), ["node-1", "node-2"]).items()}
    assert await there.post(verb, spelt) == await service().post(verb, args(pod(), ["node-1", "node-2"]))


async def test_answers_have_the_exact_go_key_case_whatever_case_came_in() -> None:
    there = service()
    lower_camel = {"pod": pod(), "nodes": None, "nodeNames": ["node-1"]}
    assert tuple(await there.post("filter", lower_camel)) == GO_KEYS
    assert [set(entry) for entry in await there.post("prioritize", lower_camel)] == [{"Host", "Score"}]


async def test_errors_and_refusals_have_the_exact_go_key_case_too() -> None:
    there = service()
    assert tuple(await there.post("filter", b"{}")) == GO_KEYS
    assert tuple(await there.filter(pod(**BIG), ["node-1"])) == GO_KEYS


async def test_unknown_argument_keys_are_passed_over() -> None:
    body = {**args(pod(), ["node-1"]), "PodGroup": {"a": [1]}, "apiVersion": "v2"}
    assert (await service().post("filter", body))["NodeNames"] == ["node-1"]


@pytest.mark.parametrize("body", [b"null", b"{}", b'{"Pod":null,"Nodes":null,"NodeNames":null}'])
async def test_nothing_at_all_is_an_error_and_never_zero_nodes_without_one(body: bytes) -> None:
    assert (await service().post("filter", body))["Error"] != ""


async def test_both_node_fields_null_is_an_error_that_names_them() -> None:
    answer = await service().post("filter", {"Pod": pod(), "Nodes": None, "NodeNames": None})
    assert "Nodes" in answer["Error"]
    assert "NodeNames" in answer["Error"]
    assert "nodeCacheCapable" in answer["Error"]


async def test_empty_names_are_no_error_and_give_an_empty_list_that_is_not_null() -> None:
    assert await service().filter(pod(), []) == {
        "Nodes": None,
        "NodeNames": [],
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {},
        "Error": "",
    }


async def test_where_no_node_fits_the_list_is_empty_and_not_null() -> None:
    answer = await service().filter(pod(**BIG), ["node-1", "node-2"])
    assert answer["NodeNames"] == []
    assert answer["Error"] == ""


async def test_an_empty_or_null_node_list_gives_an_empty_list_that_is_not_null() -> None:
    for items in ([], None):
        answer = await service().post("filter", {"Pod": pod(), "Nodes": {"items": items}, "NodeNames": None})
        assert answer["Nodes"]["items"] == []
        assert answer["Error"] == ""


async def test_names_mode_answers_names_and_nodes_mode_answers_nodes() -> None:
    there = service()
    names = await there.filter(pod(), ["node-1"])
    assert (names["Nodes"], names["NodeNames"]) == (None, ["node-1"])
    nodes = await there.post("filter", nodes_args(pod(), [node("node-1")]))
    assert [item["metadata"]["name"] for item in nodes["Nodes"]["items"]] == ["node-1"]
    assert nodes["NodeNames"] is None


async def test_nodes_mode_gives_back_the_very_nodes_it_got_with_all_their_fields() -> None:
    sent = [
        {**node(f"n-{i}"), "spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": 'é"\\', "value": None}]}, "x": 1.50}
        for i in range(3)
    ]
    sent[1]["status"]["allocatable"]["kubesteer.io/egress-bps"] = "1M"
    answer = await service().post("filter", nodes_args(pod(egress="1G"), sent))
    assert answer["Nodes"]["items"] == [sent[0], sent[2]]


async def test_every_dropped_node_is_listed_with_a_reason_and_none_twice() -> None:
    there = service(
        node("fits"),
        node("small", egress="1G"),
        node("full"),
        node("none", egress=None),
        node("down", ready="False"),
        node("broken", cpu="minus one"),
        pods=[pod("there", node="full", egress="9G")],
    )
    names = ["fits", "small", "full", "none", "down", "broken", "nobody"]
    answer = await there.filter(pod(egress="2G"), names)
    dropped = [*answer["FailedNodes"], *answer["FailedAndUnresolvableNodes"]]
    assert answer["NodeNames"] == ["fits"]
    assert sorted(dropped) == sorted(set(names) - {"fits"})
    assert all({**answer["FailedNodes"], **answer["FailedAndUnresolvableNodes"]}.values())


@pytest.mark.parametrize(
    ("name", "resolvable"),
    [("full", True), ("small", False), ("none", False), ("down", False), ("broken", False), ("nobody", False)],
)
async def test_only_nodes_where_evicting_pods_could_help_are_open_to_preemption(name: str, resolvable: bool) -> None:
    there = service(
        node("small", egress="1G"),
        node("full"),
        node("none", egress=None),
        node("down", ready="Unknown"),
        node("broken", memory="-1"),
        pods=[pod("there", node="full", egress="9G")],
    )
    answer = await there.filter(pod(egress="2G"), [name])
    assert list(answer["FailedNodes"]) == ([name] if resolvable else [])
    assert list(answer["FailedAndUnresolvableNodes"]) == ([] if resolvable else [name])


async def test_reasons_carry_the_numbers() -> None:
    # 10G in all, 9G promised: 1G is left of what a pod of 2G wants.
    there = service(node("full"), pods=[pod("there", node="full", egress="9G")])
    reason = (await there.filter(pod(egress="2G"), ["full"]))["FailedNodes"]["full"]
    assert reason == "egress: wants 2G, 1G of 10G left"


async def test_no_answer_names_a_node_that_did_not_come_with_the_request() -> None:
    there = service(*(node(f"node-{i}") for i in range(1, 6)), filter={"shortlist": 2})
    for names in (["node-2"], ["node-2", "node-9"], ["node-4", "node-2", "node-1"]):
        answer = await there.filter(pod(), names)
        said = {*answer["NodeNames"], *answer["FailedNodes"], *answer["FailedAndUnresolvableNodes"]}
        assert said <= set(names)
        assert list(await there.prioritize(pod(), names)) == names


async def test_names_come_back_in_the_order_they_came() -> None:
    names = [f"node-{i}" for i in (3, 1, 2)]
    there = service(*(node(name) for name in sorted(names)))
    assert (await there.filter(pod(), names))["NodeNames"] == names


async def test_a_name_that_comes_twice_is_answered_twice_or_failed_once() -> None:
    there = service()
    assert (await there.filter(pod(), ["node-1", "node-1"]))["NodeNames"] == ["node-1", "node-1"]
    assert list((await there.filter(pod(**BIG), ["node-1", "node-1"]))["FailedAndUnresolvableNodes"]) == ["node-1"]
    assert await there.post("prioritize", args(pod(), ["node-1", "node-1"])) == [{"Host": "node-1", "Score": 10}] * 2


async def test_a_node_that_comes_twice_in_full_is_answered_twice() -> None:
    sent = [node("a"), node("a")]
    assert (await service().post("filter", nodes_args(pod(), sent)))["Nodes"]["items"] == sent


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", "a\tb\x00c", "nœud-é", "节点", "🐳", "", "</script>", "{{x}}", "a" * 5000, "\u2028"]
)
async def test_any_name_survives_the_way_in_and_out(name: str) -> None:
    there = service(node(name), node("other"))
    names = [name, "other", f"{name}?"]
    answer = await there.filter(pod(), names)
    assert answer["NodeNames"] == names[:2]
    assert list(answer["FailedAndUnresolvableNodes"]) == names[2:]
    assert list(await there.prioritize(pod(), names)) == names


async def test_escaped_and_spaced_names_are_the_names_that_they_spell() -> None:
    body = b'{"Pod":%b,"Nodes":null,"NodeNames":[ "node\\u002d1" ,\n"node-2"]}' % json.dumps(pod()).encode()
    assert (await service().post("filter", body))["NodeNames"] == ["node-1", "node-2"]


async def test_prioritize_answers_a_bare_array_of_whole_numbers_from_0_to_10() -> None:
    there = service(*(node(f"n-{i}", cpu=str(2 + i)) for i in range(12)))
    response = await there.response("prioritize", args(pod(cpu="1", memory="1Gi"), [f"n-{i}" for i in range(12)]))
    entries = json.loads(response.content, parse_float=lambda text: pytest.fail(f"{text} is no Go int64"))
    assert isinstance(entries, list)
    assert [entry["Host"] for entry in entries] == [f"n-{i}" for i in range(12)]
    assert all(type(entry["Score"]) is int and 0 <= entry["Score"] <= 10 for entry in entries)
    assert max(entry["Score"] for entry in entries) == 10


async def test_prioritize_with_one_node_and_with_none() -> None:
    there = service()
    assert await there.post("prioritize", args(pod(), ["node-1"])) == [{"Host": "node-1", "Score": 10}]
    assert await there.post("prioritize", args(pod(), [])) == []
    assert await there.post("prioritize", nodes_args(pod(), [])) == []


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'"x"', b"\xff\xfe", b'{"Pod":{}}', b"9" * 5000, b"[" * 200_000]
)
async def test_whatever_comes_the_status_is_200(verb: str, body: bytes) -> None:
    assert (await service().response(verb, body)).status_code == 200


async def test_a_get_answers_with_how_to_call() -> None:
    there = service()
    async with client_of(there.parts.verbs) as client:
        answer = (await client.get("/filter")).json()
    assert "POST" in answer["error"]
    assert await there.post("filter", answer["args.json"])


async def test_verbs_stand_under_the_path_prefix() -> None:
    there = service(listen={"path_prefix": "scheduler/"})
    assert there.parts.settings.listen.path_prefix == "/scheduler"
    assert (await there.filter(pod(), ["node-1"]))["NodeNames"] == ["node-1"]


async def test_filter_asked_again_answers_the_same() -> None:
    there: Service = service()
    asked = pod(egress="1G")
    first = await there.filter(asked, ["node-1", "ghost"])
    assert await there.filter(asked, ["node-1", "ghost"]) == first
    assert first["NodeNames"] == ["node-1"]


async def test_before_the_first_sync_unknown_nodes_pass_and_are_counted() -> None:
    there = service(node("node-1"), synced=False)
    answer = await there.filter(pod(), ["node-1", "not-listed-yet"])
    assert answer["NodeNames"] == ["node-1", "not-listed-yet"]
    assert there.metric("unsynced_decisions_total") == 1
