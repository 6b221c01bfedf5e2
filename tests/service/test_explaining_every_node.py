"""/explain of a pod and no nodes: every node that the extender knows, and no more than one request may name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import node, pod
from tests.service.harness import Service, client_of, service


async def explained(there: Service, body: dict[str, Any]) -> tuple[int, Any]:
    async with client_of(there.parts.ops) as client:
        answer = await client.post("/explain", content=json.dumps(body))
    return answer.status_code, answer.json()


@pytest.mark.parametrize("nodes", [{"Nodes": None, "NodeNames": None}, {}, {"nodenames": None}])
async def test_without_nodes_every_node_is_explained(nodes: dict[str, Any]) -> None:
    there = service(node("small", egress="1G"), node("large", egress="10G"))
    status, page = await explained(there, {"Pod": pod(egress="2G"), **nodes})
    # 2G is more than the 1G of the one and less than the 10G of the other.
    assert (status, {row["node"]: row["fits"] for row in page["nodes"]}) == (200, {"small": False, "large": True})


async def test_an_empty_list_of_names_stays_empty() -> None:
    """As kube-scheduler's own, it names no candidate."""
    status, page = await explained(service(node("a")), {"Pod": pod(), "NodeNames": []})
    assert (status, page["nodes"]) == (200, [])


async def test_more_nodes_than_one_request_may_name_are_asked_for_by_name() -> None:
    there = service(*(node(f"n{i}") for i in range(3)), limits={"candidates": 2})
    assert await explained(there, {"Pod": pod()}) == (
        400,
        {"error": "NodeNames is null and the cluster has 3 nodes; name at most 2"},
    )
