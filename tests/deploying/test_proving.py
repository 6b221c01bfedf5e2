"""The proof: a pod that was placed, by kubesteer, for these reasons."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from kubesteer.deploying.proof import (
    Proof,
    authority_of,
    document_of,
    opinion,
    pod,
    published,
    question,
    sample_sum,
    why_pending,
)
from kubesteer.deploying.rendering import ExtenderAccess, extender_access
from kubesteer.model.errors import ClusterUnavailable, InvalidInput
from tests.manifests.written import faults_of

from .objects import EGRESS, node, secret, settings_map

NAMES = (EGRESS, "kubesteer.io/ingress-bps")
HELD = Proof(node="n", slo=EGRESS, asked=1, took_s=0.5)
METRICS = """# HELP kubesteer_request_seconds Time of a request.
kubesteer_request_seconds_bucket{le="0.1",verb="filter"} 9.0
kubesteer_request_seconds_count{verb="filter"} 5.0
kubesteer_request_seconds_count{verb="prioritize"} 3.0
kubesteer_request_seconds_sum{verb="filter"} 0.2
"""


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        pytest.param([node(egress="1M")], EGRESS, id="1 Mbit/s is enough"),
        pytest.param([node(egress="999k")], None, id="less is not"),
        pytest.param([node(), node(egress="10G")], EGRESS, id="one node has it"),
        pytest.param([node(egress="10G", unschedulable=True)], None, id="a node that takes no pods does not count"),
        pytest.param([node(egress="many")], None, id="no quantity"),
        pytest.param([], None, id="no node"),
    ],
)
def test_the_proof_asks_for_what_a_node_has(nodes: list[Any], name: str | None) -> None:
    assert published(nodes, NAMES) == name


def test_the_pod_asks_for_1_mbit_where_a_node_has_it() -> None:
    [with_slo] = pod("r/k:1", EGRESS, "kubesteer")["spec"]["containers"]
    [without] = pod("r/k:1", None, "kubesteer")["spec"]["containers"]
    assert with_slo["resources"]["limits"][EGRESS] == with_slo["resources"]["requests"][EGRESS] == "1000000"
    assert EGRESS not in without["resources"]["limits"]


def test_the_pod_keeps_the_rules_of_kubesteers_own() -> None:
    """All but one: it goes through kubesteer on purpose."""
    made = pod("r/k:1", EGRESS, "kubesteer")
    template = {"spec": {**made["spec"], "schedulerName": "default-scheduler"}}
    deployment = {**made, "kind": "Deployment", "spec": {"template": template}}
    assert faults_of(deployment) == []


@pytest.mark.parametrize(
    ("changes", "holds"),
    [({}, True), ({"asked": 0}, False), ({"node": None}, False), ({"slo": ""}, True)],
    ids=["placed by kubesteer", "placed without it", "not placed", "no node has a capacity"],
)
def test_a_pod_that_was_placed_proves_nothing_while_kubesteer_was_not_asked(
    changes: dict[str, Any], holds: bool
) -> None:
    assert replace(HELD, **changes).holds is holds


def test_the_extenders_are_asked_as_if_the_pod_were_still_to_be_placed() -> None:
    placed = pod("r/k:1", EGRESS, "kubesteer")
    placed["spec"]["nodeName"] = "n"
    asked = question({**placed, "status": {"phase": "Running"}}, [f"node-{n}" for n in range(501)])
    assert ("nodeName" in asked["Pod"]["spec"], asked["Pod"]["status"]) == (False, {"phase": "Pending"})
    assert (len(asked["NodeNames"]), asked["Nodes"]) == (500, None)


def row(name: str, total: float, *, fits: bool = True) -> dict[str, Any]:
    return {
        "node": name,
        "fits": fits,
        "reason": None if fits else "too full",
        "balance": total,
        "reward": None,
        "score": 5,
        "total": total,
    }


def test_an_opinion_tells_the_rank_among_those_that_fit() -> None:
    """Totals 0.9, 0.5 and 0.5 fit, 1.0 does not: both of 0.5 are second of three."""
    answer = {"nodes": [row("a", 0.9), row("b", 0.5), row("c", 0.5), row("d", 1.0, fits=False)]}
    found = opinion("extender-1", "c", answer)
    assert found is not None
    assert (found["rank"], found["candidates"], found["replica"], found["total"]) == (2, 3, "extender-1", 0.5)
    refused = opinion("extender-1", "d", answer)
    assert refused is not None
    assert (refused["fits"], refused["reason"]) == (False, "too full")
    assert opinion("extender-1", "e", answer) is None


def test_the_schedulers_own_words_say_why_a_pod_waits() -> None:
    waiting = pod("r/k:1", None, "kubesteer")
    assert why_pending(waiting) == "no scheduler named kubesteer has looked at it"
    rows = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available:\n too full"}]
    assert why_pending({**waiting, "status": {"conditions": rows}}) == "0/3 nodes are available: too full"


def test_calls_are_counted_over_one_verb() -> None:
    assert sample_sum(METRICS, "kubesteer_request_seconds_count", verb="filter") == 5
    assert sample_sum("", "kubesteer_request_seconds_count", verb="filter") == 0


@pytest.mark.parametrize(
    ("settings", "port"),
    [
        ("{}", (8889, False, False)),
        ("ops: {port: 9000, tls: true, auth: kubernetes}", (9000, True, True)),
        ("ops: {auth: none}", (8889, False, False)),
    ],
)
def test_the_ops_port_is_asked_as_the_settings_say(settings: str, port: tuple[int, bool, bool]) -> None:
    assert extender_access([settings_map("kubesteer-extender", settings)]) == ExtenderAccess(*port, NAMES)


def test_an_ops_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"ops.port 'many'"):
        extender_access([settings_map("kubesteer-extender", "ops: {port: many}")])


def test_an_answer_that_is_no_json_is_no_answer() -> None:
    with pytest.raises(ClusterUnavailable, match="/explain: its answer is no JSON"):
        document_of("<html>", "/explain")


def test_the_authority_is_the_one_in_the_servers_secret() -> None:
    pem = "-----BEGIN CERTIFICATE-----"
    assert authority_of(secret("s", **{"ca.crt": base64.b64encode(pem.encode()).decode()})) == pem
    assert authority_of(None) is None
