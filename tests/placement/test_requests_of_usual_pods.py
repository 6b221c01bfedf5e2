"""Pods of the usual shape are counted on a short path, and to the last bit as the rules count them."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubesteer.clients.kubernetes import objects
from kubesteer.model import cluster
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource
from kubesteer.model.requests import pod_requests
from kubesteer.model.usual_requests import usual_requests
from tests.builders import (
    DEPCON2_SLO,
    EGRESS_ANNOTATION,
    EGRESS_BPS,
    INGRESS_ANNOTATION,
    INGRESS_BPS,
    container,
    pod,
    pod_object,
    pod_summary,
)
from tests.examples import examples

BARE = (*DEFAULT_NETWORK, NetworkResource("local", ("bandwidth",), "kubesteer.io/local"))
"""A name without a domain is not counted in whole ones."""
ASKS = {"cpu": "500m", "memory": "1Gi", "egress": "300M", "ingress": "100M"}
GIVEN = {"cpu": "500m", "memory": "1Gi", EGRESS_BPS: "300M", INGRESS_BPS: "100M"}

NAMES = ["cpu", "memory", EGRESS_BPS, INGRESS_BPS, DEPCON2_SLO, "bandwidth", "example.com/other"]
GOOD = ["0", "1", "250m", "0.1m", "1n", "300M", "1.5Gi", "1k", "3E", "9E", "8Ei", "1e3", "." + "0" * 70]
BAD = ["", "x", "-1", "0.5", "1e-30", "e-19", "Ei", 2, 0.5, 1e16, "9" * 5000]
ODDITIES = [
    *("nothing", "init", "sidecar", "overhead", "pod level", "limits", "resize", "allocated", "actual", "other name"),
    *("no requests", "allocated of the pod", "actual of the pod", "status of an init container", "a bad quantity"),
]


def drawn_pod(random: Random) -> objects.Pod:
    """A usual pod, or one with one or two things about it that are not."""
    oddities = {random.choice(ODDITIES), random.choice(ODDITIES)}

    def amounts():
        asked = {name: random.choice(GOOD) for name in random.sample(NAMES, random.randint(1, 6))}
        if "a bad quantity" in oddities:
            asked[random.choice(NAMES)] = random.choice(BAD)
        return asked

    def when(oddity, value, otherwise=None):
        return value() if oddity in oddities else otherwise

    def first(name):
        return {
            "name": name,
            "resources": {"requests": when("init", lambda: random.choice([{}, None]), amounts())},
            "restartPolicy": when("sidecar", lambda: random.choice([None, "Always"])),
        }

    containers, statuses = [], []
    for name in random.choice(["a", "a", "a", "ab", "aa", "abc", ""]):
        asked = when("no requests", lambda: random.choice([{}, None]), amounts())
        limits = when("limits", amounts, dict(list((asked or {}).items())[: random.randint(0, 6)]))
        containers.append({"name": name, "resources": {"requests": asked, "limits": limits}})
        statuses.append(
            {
                "name": when("other name", lambda: random.choice("abi"), name),
                "allocatedResources": when("allocated", lambda: random.choice([amounts(), None]), asked),
                "resources": {"requests": when("actual", lambda: random.choice([amounts(), None]), asked)},
            }
        )
    texts = [text for text in GOOD + BAD if isinstance(text, str)]
    annotated = random.sample([EGRESS_ANNOTATION, INGRESS_ANNOTATION, "kubesteer.io/local"], random.randint(0, 3))
    api_object = pod(
        node=random.choice([None, "n"]), annotations={annotation: random.choice(texts) for annotation in annotated}
    )
    api_object["spec"] |= {
        "containers": containers,
        "initContainers": [first(name) for name in random.choice(["", "", "i", "ij", "a"])],
        "overhead": when("overhead", amounts),
        "resources": when("pod level", lambda: {"requests": amounts()}),
    }
    api_object["status"] |= {
        "containerStatuses": random.choice([None, statuses]),
        "conditions": when(
            "resize", lambda: [{"type": "PodResizePending", "reason": random.choice(["Infeasible", "Deferred"])}]
        ),
        "allocatedResources": when("allocated of the pod", amounts),
        "resources": when("actual of the pod", lambda: {"requests": amounts()}),
        "initContainerStatuses": when(
            "status of an init container", lambda: [{"name": "a", "allocatedResources": amounts()}]
        ),
    }
    return pod_object(api_object)


@settings(max_examples=examples(2000))
@given(one=st.integers(0, 2**64).map(Random).map(drawn_pod))
@example(one=drawn_pod(Random(13315)))  # A container's status that has an init container's name.
def test_what_the_short_path_counts_is_what_the_rules_count(one):
    short = usual_requests(one, BARE)
    try:
        by_the_rules = pod_requests(one, BARE)
    except InvalidQuantity:
        by_the_rules = None
    assert short is None or short == by_the_rules


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(ASKS, id="cpu, memory, two network resources"),
        pytest.param({"cpu": "1", "annotations": {EGRESS_ANNOTATION: "1M"}}, id="an annotation, no memory"),
        pytest.param({**ASKS, "limits": GIVEN, "node": "n"}, id="limits of the same resources"),
        pytest.param({"containers": [container("a", **ASKS), container("b", **ASKS)]}, id="two containers"),
        pytest.param(
            {**ASKS, "init": [container("first", cpu="2"), container("second", **ASKS)]},
            id="init containers, the larger with no memory request",
        ),
        pytest.param(
            {
                **ASKS,
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {"name": "main", "allocatedResources": GIVEN, "resources": {"requests": GIVEN}}
                    ],
                },
            },
            id="a kubelet since 1.33 repeats the requests in the status",
        ),
    ],
)
def test_usual_pods_take_the_short_path(parts):
    """Else the property above would say nothing. They do not even ask the rules."""
    with patch.object(cluster, "pod_requests", side_effect=AssertionError):
        short = pod_summary(**parts).requests
    assert short == pod_requests(pod_object(pod(**parts)), DEFAULT_NETWORK)


def test_two_halves_of_a_bit_are_no_bit():
    """0.5 + 0.5 is whole, but the API server refuses each."""
    with pytest.raises(InvalidQuantity, match=r"'0\.5' is not a whole number"):
        pod_summary(containers=[container("a", cpu="1", egress="0.5"), container("b", cpu="1", egress="0.5")])
