"""OpenAPI tells the truth: its examples work when they are posted, and the page needs no other server."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest

from tests.builders import node, pod
from tests.service.harness import Service, args, client_of, nodes_args, service


@pytest.fixture
def there() -> Service:
    return service(*(node(f"node-{i}") for i in range(1, 4)))


async def described(there: Service) -> Any:
    return (await there.ops("/openapi.json")).json()


def _schema(api: Any, path: str, where: str) -> Any:
    operation = api["paths"][path]["post"]
    part = operation["requestBody"] if where == "request" else operation["responses"]["200"]
    return part["content"]["application/json"]["schema"]


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
async def test_each_example_of_a_verb_is_valid_and_works_when_posted(there: Service, verb: str) -> None:
    api = await described(there)
    examples = api["paths"][f"/{verb}"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert examples
    for example in examples.values():
        jsonschema_rs.validate(_schema(api, f"/{verb}", "request"), example["value"])
        answer = await there.post(verb, example["value"])
        jsonschema_rs.validate(_schema(api, f"/{verb}", "answer"), answer)
        if verb == "filter":
            assert (answer["Error"], answer["NodeNames"]) == ("", ["node-1", "node-2", "node-3"])
        else:
            assert [entry["Host"] for entry in answer] == ["node-1", "node-2", "node-3"]


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
async def test_every_kind_of_answer_is_as_described(there: Service, verb: str) -> None:
    schema = _schema(await described(there), f"/{verb}", "answer")
    for body in (
        args(pod(egress="99G"), ["node-1", "nobody"]),
        args(pod(cpu="x"), ["node-1"]),
        args(pod(), []),
        nodes_args(pod(), [node("a")]),
        b"{",
    ):
        jsonschema_rs.validate(schema, await there.post(verb, body))


@pytest.mark.parametrize("wrong", [{}, [], {"Pod": 1}, {"Pod": {}, "NodeNames": "a"}, {"Pod": {}, "Nodes": []}])
async def test_the_schema_refuses_what_the_verb_refuses(there: Service, wrong: Any) -> None:
    schema = _schema(await described(there), "/filter", "request")
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, wrong)
    assert (await there.post("filter", wrong))["Error"]


async def test_the_example_of_explain_works_when_posted(there: Service) -> None:
    api = await described(there)
    content = api["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        async with client_of(there.parts.ops) as client:
            answer = await client.post("/explain", json=example["value"])
        assert answer.status_code == 200
        assert [each["node"] for each in answer.json()["nodes"]] == example["value"]["NodeNames"]


async def test_the_verbs_are_described_under_their_path_prefix() -> None:
    api = await described(service(listen={"path_prefix": "/scheduler"}))
    assert {"/scheduler/filter", "/scheduler/prioritize", "/explain", "/healthz", "/readyz"} <= api["paths"].keys()


async def test_the_docs_page_loads_nothing_from_elsewhere(there: Service) -> None:
    page = (await there.ops("/docs")).text
    loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page)
    assert "/openapi.json" in loaded
    assert all(address.startswith("/") and not address.startswith("//") for address in loaded)
    for address in loaded:
        response = await there.ops(address)
        assert (response.status_code, bool(response.content)) == (200, True), address


async def test_the_verbs_port_serves_no_documentation(there: Service) -> None:
    async with client_of(there.parts.verbs) as client:
        for path in ("/docs", "/redoc", "/metrics", "/readyz"):
            assert (await client.get(path)).status_code == 404
