"""OpenAPI tells the truth: its examples work when they are posted, and the page needs no other server."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest

from kubesteer.model.reward import RewardRecord
from tests.builders import node, pod
from tests.service.harness import START_S, Service, args, client_of, nodes_args, service


@pytest.fixture
def there() -> Service:
    return service(*(node(f"node-{i}") for i in range(1, 4)))


async def described(there: Service, document: str = "/docs/verbs.json") -> Any:
    return (await there.ops(document)).json()


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
    api = await described(there, "/openapi.json")
    content = api["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        async with client_of(there.parts.ops) as client:
            answer = await client.post("/explain", json=example["value"])
        assert answer.status_code == 200
        assert [each["node"] for each in answer.json()["nodes"]] == example["value"]["NodeNames"]


async def test_the_verbs_are_described_under_their_path_prefix() -> None:
    api = await described(service(listen={"path_prefix": "/scheduler"}))
    assert api["paths"].keys() == {"/scheduler/filter", "/scheduler/prioritize"}


def _strict(schema: Any) -> Any:
    """The same, with no other property than those it names, and all of them."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema:
        strict |= {"required": list(schema["properties"]), "additionalProperties": False}
    return strict


@pytest.mark.parametrize("choice", ["mean", "thompson", "probation"])
@pytest.mark.parametrize("learned", [(), (RewardRecord("web", "node-1", 0.9, 5, START_S),)])
async def test_explain_answers_what_its_schema_has_and_nothing_else(learned: Any, choice: str) -> None:
    there = service(node("node-1"), rewards=learned, reward_settings={"choice": choice})
    api = await described(there, "/openapi.json")
    schema = _strict(_schema(api, "/explain", "answer"))
    refused, by_annotation = pod(egress="99G"), pod(annotations={"kubernetes.io/egress-bandwidth": "1G"})
    async with client_of(there.parts.ops) as client:
        for asked in (pod(labels={"podtype": "web"}, cpu="1"), refused, by_annotation, pod(cpu="x")):
            for body in (args(asked, ["node-1", "nobody"]), nodes_args(asked, [node("new")])):
                jsonschema_rs.validate(schema, (await client.post("/explain", json=body)).json())
        wrong = await client.post("/explain", content=b"{")
    error = api["paths"]["/explain"]["post"]["responses"]["400"]["content"]["application/json"]["schema"]
    assert wrong.status_code == 400
    jsonschema_rs.validate(_strict(error), wrong.json())


async def test_all_that_the_docs_page_offers_to_execute_is_on_its_own_port() -> None:
    there = service(listen={"path_prefix": "/scheduler"})
    paths = (await described(there, "/openapi.json"))["paths"]
    assert "/explain" in paths
    async with client_of(there.parts.ops) as client:
        for path, operations in paths.items():
            for method in operations:
                assert (await client.request(method, path)).status_code not in {404, 405}, path
    assert "(docs/verbs)" in (await described(there, "/openapi.json"))["info"]["description"]


async def test_the_page_of_the_verbs_offers_to_execute_nothing(there: Service) -> None:
    page = (await there.ops("/docs/verbs")).text
    assert '"supportedSubmitMethods": []' in page


@pytest.mark.parametrize(("page", "document"), [("/docs", "/openapi.json"), ("/docs/verbs", "/docs/verbs.json")])
async def test_a_docs_page_loads_nothing_from_elsewhere(there: Service, page: str, document: str) -> None:
    text = (await there.ops(page)).text
    loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", text)
    assert document in loaded
    assert all(address.startswith("/") and not address.startswith("//") for address in loaded)
    for address in loaded:
        response = await there.ops(address)
        assert (response.status_code, bool(response.content)) == (200, True), address


async def test_both_ports_tell_what_there_is_and_where() -> None:
    there = service(listen={"port": 8888, "path_prefix": "/scheduler"}, ops={"port": 8889})
    for app in (there.parts.verbs, there.parts.ops):
        async with client_of(app) as client:
            page = (await client.get("/")).json()
        assert page["verbs"].keys() == {"port", "POST /scheduler/filter", "POST /scheduler/prioritize"}
        assert {"GET /healthz", "GET /readyz", "GET /metrics", "POST /explain", "GET /docs"} < page["ops"].keys()
        assert (page["verbs"]["port"], page["ops"]["port"]) == (8888, 8889)
    assert there.metric("wrong_paths_total") == 0


async def test_head_is_answered_wherever_get_is_with_the_headers_of_get() -> None:
    there = service()
    for app, paths in (
        (there.parts.verbs, ["/", "/filter", "/prioritize"]),
        (
            there.parts.ops,
            ["/", "/healthz", "/readyz", "/metrics", "/version", "/docs", "/docs/verbs", "/openapi.json"],
        ),
    ):
        async with client_of(app) as client:
            for path in paths:
                got, headed = await client.get(path), await client.head(path)
                assert (headed.status_code, headed.content) == (200, b""), path
                assert headed.headers["content-type"] == got.headers["content-type"]
                assert int(headed.headers["content-length"]) > 0
            assert (await client.head("/nowhere")).status_code == 404


async def test_the_verbs_port_serves_no_documentation(there: Service) -> None:
    async with client_of(there.parts.verbs) as client:
        for path in ("/docs", "/redoc", "/metrics", "/readyz"):
            assert (await client.get(path)).status_code == 404
