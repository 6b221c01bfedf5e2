"""What a pod asks for, rule by rule: the golden clusters say that all of it is right, these say which rule is wrong."""

from __future__ import annotations

import pytest

from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.quantity import MOST
from kubesteer.model.requests import DEFAULT_CPU_M, DEFAULT_MEMORY_B, PodRequests
from tests.builders import (
    DEPCON2_SLO,
    EGRESS_ANNOTATION,
    EGRESS_BPS,
    INGRESS_ANNOTATION,
    container,
    pod_summary,
)

M = 10**6


def sidecar(name, **asks):
    return container(name, restart="Always", **asks)


def resizing(reason=None, **statuses):
    """A running pod whose containers were allocated or run with other resources than its spec has."""
    conditions = [{"type": "PodResizePending", "status": "True", "reason": reason}] if reason else []
    return {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [{"name": name, **status} for name, status in statuses.items()],
    }


@pytest.mark.parametrize(
    ("parts", "cpu_m"),
    [
        pytest.param({"containers": [container("a", cpu="100m"), container("b", cpu="1")]}, 1100, id="sum: 100 + 1000"),
        pytest.param({"cpu": "100m", "init": [container("i", cpu="300m")]}, 300, id="max(100, init 300) = 300"),
        pytest.param({"cpu": "100m", "init": [sidecar("s", cpu="300m")]}, 400, id="sidecar adds: 100 + 300 = 400"),
        pytest.param(
            {"cpu": "100m", "init": [sidecar("s", cpu="300m"), container("i", cpu="200m")]},
            500,
            id="max(100 + 300, init 200 beside the sidecar's 300) = 500",
        ),
        pytest.param(
            {"cpu": "100m", "init": [container("i", cpu="200m"), sidecar("s", cpu="300m")]},
            400,
            id="an init container before the sidecar runs without it: max(100 + 300, 200) = 400",
        ),
        pytest.param({"cpu": "100m", "overhead": {"cpu": "25m"}}, 125, id="overhead: 100 + 25"),
        pytest.param({"cpu": "100m", "pod_level": {"cpu": "1"}, "overhead": {"cpu": "5m"}}, 1005, id="pod level + 5"),
        pytest.param({"cpu": "0.1m"}, 1, id="0.1m rounds up to 1m"),
        pytest.param(
            {"containers": [container("a", cpu="0.4m"), container("b", cpu="0.4m")]}, 1, id="0.8m rounds up once"
        ),
        pytest.param({"limits": {"cpu": "2"}}, 2000, id="a limit stands in for a request that is absent"),
        pytest.param({"limits": {"cpu": "2"}, "cpu": "1"}, 1000, id="a request goes before its limit"),
        pytest.param({"limits": {"cpu": "2"}, "cpu": "0"}, 0, id="a request of 0 is a request"),
        pytest.param(
            {"cpu": "1", "status": resizing(main={"allocatedResources": {"cpu": "2"}})},
            2000,
            id="max(spec 1, allocated 2)",
        ),
        pytest.param(
            {"cpu": "3", "status": resizing("Infeasible", main={"allocatedResources": {"cpu": "2"}})},
            2000,
            id="an infeasible resize to 3 counts what is allocated: 2",
        ),
        pytest.param(
            {"cpu": "3", "status": resizing("Deferred", main={"allocatedResources": {"cpu": "2"}})},
            3000,
            id="a deferred resize to 3 counts as wanted",
        ),
        pytest.param(
            {
                "cpu": "1",
                "status": resizing(main={"allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "4"}}}),
            },
            4000,
            id="max(spec 1, allocated 1, actual 4) = 4000",
        ),
    ],
)
def test_cpu_is_counted_as_the_scheduler_counts_it(parts, cpu_m):
    assert pod_summary(**parts).requests.cpu_m == cpu_m


@pytest.mark.parametrize(
    ("reason", "cpu_m"),
    [
        pytest.param("Deferred", 3000, id="deferred: max(asked 3, runs with 2)"),
        pytest.param("Infeasible", 2000, id="infeasible: what it runs with"),
    ],
)
def test_a_resize_of_the_whole_pod_counts_as_wanted_unless_it_is_infeasible(reason, cpu_m):
    status = {**resizing(reason), "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "1"}}
    assert pod_summary(pod_level={"cpu": "3"}, status=status).requests.cpu_m == cpu_m


@pytest.mark.parametrize(
    ("parts", "scheduled", "scored"),
    [
        pytest.param({}, (100, 200), (100, 200), id="asks nothing: 100m and 200Mi"),
        pytest.param({"cpu": "0", "memory": "0"}, (0, 0), (0, 0), id="an explicit 0 stays 0"),
        pytest.param({"cpu": "1"}, (1000, 200), (1000, 200), id="only memory by default"),
        pytest.param({"containers": [container("a"), container("b")]}, (200, 400), (200, 400), id="twice: 2 x 100m"),
        pytest.param({"init": [container("i")]}, (100, 200), (100, 200), id="max of container and init container"),
        pytest.param(
            {"pod_level": {"cpu": "1"}},
            (1000, 0 + 200),
            (1000, 200),
            id="pod-level CPU only: memory by default both ways",
        ),
        pytest.param(
            {"containers": [container("a", memory="1Mi"), container("b")], "pod_level": {"cpu": "1"}},
            (1000, 1),
            (1000, 201),
            id="pod-level: on a node the named 1Mi counts alone, a scorer adds 200Mi for b",
        ),
    ],
)
def test_what_asks_for_nothing_counts_as_100m_and_200mi(parts, scheduled, scored):
    requests = pod_summary(**parts).requests
    assert (requests.nonzero_cpu_m, requests.nonzero_memory_b) == (scheduled[0], scheduled[1] * 2**20)
    assert (requests.incoming_nonzero_cpu_m, requests.incoming_nonzero_memory_b) == (scored[0], scored[1] * 2**20)
    assert (DEFAULT_CPU_M, DEFAULT_MEMORY_B) == (100, 200 * 2**20)


@pytest.mark.parametrize(
    ("parts", "network_bps", "by_annotation"),
    [
        pytest.param({"egress": "300M"}, (300 * M, 0), (False, False), id="requests"),
        pytest.param({"limits": {EGRESS_BPS: "300M"}}, (300 * M, 0), (False, False), id="limits alone"),
        pytest.param({DEPCON2_SLO: "100000000"}, (100 * M, 0), (False, False), id="DepCon2's name"),
        pytest.param({"egress": "1M", DEPCON2_SLO: "2M"}, (M, 0), (False, False), id="both names: the first counts"),
        pytest.param({"egress": "1M", "ingress": "2M"}, (M, 2 * M), (False, False), id="both directions"),
        pytest.param(
            {"annotations": {EGRESS_ANNOTATION: "300M", INGRESS_ANNOTATION: "1G"}},
            (300 * M, 1000 * M),
            (True, True),
            id="the annotations of the CNI plugins",
        ),
        pytest.param(
            {"egress": "1M", "annotations": {EGRESS_ANNOTATION: "9M", INGRESS_ANNOTATION: "2M"}},
            (M, 2 * M),
            (False, True),
            id="a resource goes before an annotation, direction by direction",
        ),
        pytest.param({"annotations": {EGRESS_ANNOTATION: "0"}}, (0, 0), (False, False), id="0 asks for nothing"),
        pytest.param(
            {"annotations": {EGRESS_ANNOTATION: "1000500m"}}, (1001, 0), (True, False), id="1000.5 bit/s rounds up"
        ),
        pytest.param(
            {"init": [sidecar("s", egress="2M")], "egress": "1M", "overhead": {EGRESS_BPS: "1k"}},
            (3 * M + 1000, 0),
            (False, False),
            id="container 1M + sidecar 2M + overhead 1k",
        ),
        pytest.param(
            {"init": [container("i", egress="5M")], "egress": "1M"}, (5 * M, 0), (False, False), id="max(1M, init 5M)"
        ),
        pytest.param(
            {"pod_level": {"cpu": "1"}, "egress": "1M"}, (M, 0), (False, False), id="no pod level for a resource"
        ),
    ],
)
def test_the_slo_of_a_pod(parts, network_bps, by_annotation):
    requests = pod_summary(**parts).requests
    assert (requests.network_bps, requests.by_annotation) == (network_bps, by_annotation)


@pytest.mark.parametrize(
    ("parts", "field", "rule"),
    [
        pytest.param({"cpu": "1x"}, "spec.containers[main].resources.requests[cpu]: '1x'", "not a quantity", id="cpu"),
        pytest.param({"memory": "-1Gi"}, "[memory]: '-1Gi'", "write 0 or more", id="negative"),
        pytest.param({"egress": "0.5"}, f"[{EGRESS_BPS}]: '0.5'", "not a whole number", id="half a bit/s"),
        pytest.param({"overhead": {"cpu": "a"}}, "spec.overhead[cpu]: 'a'", "not a quantity", id="overhead"),
        pytest.param({"pod_level": {"cpu": "a"}}, "spec.resources.requests[cpu]", "not a quantity", id="pod level"),
        pytest.param(
            {"init": [container("i", cpu="a")]}, "spec.initContainers[i].resources.requests[cpu]", "quantity", id="init"
        ),
        pytest.param({"cpu": "9" * 5000 + "x"}, "[cpu]", "not a quantity", id="5,000 digits and a letter"),
    ],
)
def test_a_bad_quantity_is_refused_with_field_value_and_rule(parts, field, rule):
    with pytest.raises(InvalidQuantity) as refusal:
        pod_summary(**parts)
    assert field in str(refusal.value)
    assert rule in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("size", ["2305843009213693952", "9E", "1e400", "9" * 5000, "8Ei"])
def test_what_is_more_than_2_61_counts_as_2_61(size):
    """kube-scheduler takes it too. 3 x 2^61 < 2^63: three amounts add up within int64."""
    pod = pod_summary(
        containers=[container("a", cpu=size, memory=size, egress=size), container("b", cpu=size, memory=size)],
        annotations={INGRESS_ANNOTATION: size},
        node="n",
    )
    assert MOST == 2**61 == 2305843009213693952
    assert pod.requests == PodRequests(
        *(MOST, MOST), *(MOST, MOST), *(MOST, MOST), network_bps=(MOST, MOST), by_annotation=(False, True)
    )


def test_amounts_below_2_61_count_to_the_last_one():
    """2^61 - 1 bytes, and 2^61 / 1000 cores rounded down, in thousandths."""
    pod = pod_summary(cpu="2305843009213693951m", memory="2305843009213693951")
    assert (pod.requests.cpu_m, pod.requests.memory_b) == (MOST - 1, MOST - 1)


@pytest.mark.parametrize(("number", "cpu_m"), [(2, 2000), (0.5, 500), (1e-7, 1), (1e3, 1_000_000), (0, 0)])
def test_a_bare_number_is_a_quantity_too(number, cpu_m):
    """As a person writes `cpu: 2` in a cluster file."""
    assert pod_summary(cpu=number).requests.cpu_m == cpu_m


def test_a_resource_that_is_not_counted_is_not_even_read():
    """A pod must not be refused for somebody else's resource."""
    assert pod_summary(cpu="1", **{"example.com/other": "nonsense"}).requests.cpu_m == 1000
