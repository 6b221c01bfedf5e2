"""What is kept of a pod and of a node: identity, type, readiness, measured traffic, faults."""

from __future__ import annotations

import json

import pytest

from kubesteer.model.cluster import MEASURED_ANNOTATION, NO_CAPACITY, MeasuredTraffic
from tests.builders import (
    DEPCON2_SLO,
    EGRESS_ANNOTATION,
    EGRESS_BPS,
    INGRESS_ANNOTATION,
    node_object,
    node_summary,
    pod_summary,
)

OWNER = {"name": "web-5d9", "kind": "ReplicaSet", "controller": True}
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    ("parts", "pod_type"),
    [
        pytest.param({"labels": {"podtype": "a", "app.kubernetes.io/name": "b", "app": "c"}}, "a", id="podtype first"),
        pytest.param(
            {"labels": {"app.kubernetes.io/name": "b", "app": "c", "name": "d"}}, "b", id="the standard label"
        ),
        pytest.param({"labels": {"app": "c", "name": "d"}}, "c", id="app"),
        pytest.param({"labels": {"name": "d"}, "owners": [OWNER]}, "d", id="name"),
        pytest.param({"labels": {"podtype": ""}, "owners": [OWNER]}, "web-5d9", id="an empty label says nothing"),
        pytest.param({"owners": [{"name": "other", "kind": "X"}, OWNER]}, "web-5d9", id="the controller among owners"),
        pytest.param({"owners": [{"name": "other", "kind": "X"}]}, "other", id="no controller: the first owner"),
        pytest.param({}, "p", id="the pod's own name"),
    ],
)
def test_the_type_of_a_pod(parts, pod_type):
    assert pod_summary("p", **parts).pod_type == pod_type


def test_a_pod_without_uid_is_known_by_namespace_and_name():
    assert pod_summary("p", uid="", namespace="shop").uid == "shop/p"


@pytest.mark.parametrize(
    ("phase", "terminal"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True)],
)
def test_a_pod_that_has_ended_is_terminal(phase, terminal):
    assert pod_summary(status={"phase": phase}).terminal is terminal


@pytest.mark.parametrize(
    ("tolerations", "tolerates"),
    [
        pytest.param([], False, id="none"),
        pytest.param(
            [
                {"key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            False,
            id="the two that the API server gives to every pod only let it stay",
        ),
        pytest.param([{"operator": "Exists"}], True, id="everything, as CNI agents do"),
        pytest.param([{"operator": "Exists", "effect": "NoSchedule"}], True, id="every NoSchedule, as flannel does"),
        pytest.param([{"operator": "Exists", "effect": "NoExecute"}], False, id="every NoExecute"),
        pytest.param([{"key": NOT_READY, "operator": "Exists"}], True, id="not-ready, any effect"),
        pytest.param([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}], True, id="unreachable"),
        pytest.param([{"key": "gpu", "operator": "Exists"}], False, id="another taint"),
        pytest.param([{"operator": "Equal"}], False, id="no key and no Exists matches nothing"),
    ],
)
def test_only_a_noschedule_toleration_lets_a_pod_onto_a_node_that_is_not_ready(tolerations, tolerates):
    assert pod_summary(tolerations=tolerations).tolerates_not_ready is tolerates


@pytest.mark.parametrize(("condition", "ready"), [("True", True), ("False", False), ("Unknown", False), (None, True)])
def test_a_node_is_ready_unless_it_says_otherwise(condition, ready):
    """A template node of an autoscaler has no conditions."""
    assert node_summary(ready=condition).ready is ready


def test_other_conditions_say_nothing_about_readiness():
    api_object = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "DiskPressure", "status": "False"}]}}
    from kubesteer.model.cluster import summarise_node
    from kubesteer.model.network import DEFAULT_NETWORK

    assert summarise_node(node_object(api_object), DEFAULT_NETWORK).ready


@pytest.mark.parametrize(
    ("parts", "network_bps"),
    [
        pytest.param({"egress": "10G"}, (10**10, NO_CAPACITY), id="what is not published is no capacity"),
        pytest.param({"egress": "0"}, (0, NO_CAPACITY), id="0 is a node that has none to give"),
        pytest.param({"egress": None, DEPCON2_SLO: "1G"}, (10**9, NO_CAPACITY), id="DepCon2's name"),
        pytest.param({"egress": "2G", DEPCON2_SLO: "1G", "ingress": "3G"}, (2 * 10**9, 3 * 10**9), id="the first name"),
    ],
)
def test_the_network_capacity_of_a_node(parts, network_bps):
    assert node_summary(**parts).network_bps == network_bps


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        pytest.param({"cpu": "eight"}, "status.allocatable[cpu]: 'eight' is not a quantity", id="malformed"),
        pytest.param({"memory": "-1"}, "status.allocatable[memory]: '-1' is negative", id="negative memory"),
        pytest.param({"egress": "-10G"}, f"status.allocatable[{EGRESS_BPS}]: '-10G' is negative", id="negative egress"),
        pytest.param(
            {"egress": "0.5"}, f"status.allocatable[{EGRESS_BPS}]: '0.5' is not a whole number", id="half a bit"
        ),
        pytest.param({"cpu": "9" * 5000 + "x"}, "is not a quantity", id="5,000 digits and a letter"),
    ],
)
def test_what_cannot_be_used_on_a_node_becomes_its_fault(parts, says):
    node = node_summary("n", **parts)
    assert says in node.fault
    assert (node.name, node.cpu_m, node.memory_b, node.network_bps) == ("n", 0, 0, (NO_CAPACITY, NO_CAPACITY))


def test_a_node_may_have_as_much_as_kube_scheduler_takes():
    """1P bit/s and 1Pi bytes are what they are; from 2^61 (2.3 exa) a node counts as having 2^61."""
    node = node_summary(cpu="1P", memory="1Pi", egress="1P", ingress="1P")
    assert (node.fault, node.cpu_m, node.memory_b, node.network_bps) == (None, 10**18, 2**50, (10**15, 10**15))
    node = node_summary(cpu="3P", memory="8Ei", egress="10E", ingress="9" * 5000)
    assert (node.fault, node.cpu_m, node.memory_b, node.network_bps) == (None, 2**61, 2**61, (2**61, 2**61))


def test_measured_traffic_is_read_by_direction():
    """2026-11-22T22:41:07Z is 1,795,387,267 s; the same moment with an offset of +02:00 is two hours earlier."""
    for time, time_s in (("2026-11-22T22:41:07Z", 1795387267.0), ("2026-11-22T22:41:07+02:00", 1795380067.0)):
        annotation = json.dumps({"egress_bps": 3.1e9, "ingress_bps": 2e8, "time": time})
        node = node_summary(annotations={MEASURED_ANNOTATION: annotation})
        assert node.measured == MeasuredTraffic((3.1e9, 2e8), time_s)


def test_a_direction_that_was_not_measured_has_no_traffic():
    node = node_summary(annotations={MEASURED_ANNOTATION: '{"egress_bps": 1, "time": "2026-11-22T22:41:07Z"}'})
    assert node.measured.rate_bps == (1.0, 0.0)


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="not an object"),
        pytest.param("{", id="malformed"),
        pytest.param("[" * 100_000, id="nested 100,000 deep"),
        pytest.param('{"egress_bps": 1}', id="no time"),
        pytest.param('{"egress_bps": 1, "time": 5}', id="time is a number"),
        pytest.param('{"egress_bps": 1, "time": "yesterday"}', id="time is no time"),
        pytest.param('{"egress_bps": 1, "time": "2026-11-22T22:41:07"}', id="no zone: it would depend on the machine"),
        pytest.param('{"egress_bps": -1, "time": "2026-11-22T22:41:07Z"}', id="negative"),
        pytest.param('{"egress_bps": NaN, "time": "2026-11-22T22:41:07Z"}', id="NaN"),
        pytest.param('{"egress_bps": Infinity, "time": "2026-11-22T22:41:07Z"}', id="infinite"),
        pytest.param('{"egress_bps": 1%s, "time": "2026-11-22T22:41:07Z"}' % ("0" * 400), id="a 400-digit number"),
        pytest.param('{"egress_bps": 1%s, "time": "2026-11-22T22:41:07Z"}' % ("0" * 5000), id="a 5,000-digit number"),
        pytest.param('{"egress_bps": [1], "time": "2026-11-22T22:41:07Z"}', id="a list"),
        pytest.param('{"egress_bps": null, "time": "2026-11-22T22:41:07Z"}', id="null"),
    ],
)
def test_measured_traffic_that_cannot_be_read_is_not_used_and_harms_nothing_else(annotation):
    node = node_summary("n", annotations={MEASURED_ANNOTATION: annotation})
    assert (node.measured, node.fault) == (None, None)


def test_a_bad_bandwidth_annotation_on_a_placed_pod_does_not_hide_its_cpu():
    placed = pod_summary(cpu="2", annotations={"kubernetes.io/egress-bandwidth": "fast"}, node="n")
    assert (placed.requests.cpu_m, placed.requests.network_bps) == (2000, (0, 0))


@pytest.mark.parametrize(
    ("value", "says", "fix"),
    [
        pytest.param("10Mbps", "'10Mbps' is not a quantity", "10M is 10 Mbit/s", id="a unit"),
        pytest.param("", "'' is not a quantity", "10M is 10 Mbit/s", id="empty"),
        pytest.param("unlimited", "'unlimited' is not a quantity", "10M is 10 Mbit/s", id="a word"),
        pytest.param('{"rate":"10M"}', "is not a quantity", "10M is 10 Mbit/s", id="JSON"),
        pytest.param("0", "'0' is below", "write 1k to 1P", id="0: the runtime refuses it too"),
        pytest.param("999", "'999' is below", "write 1k to 1P", id="999 < 1k"),
        pytest.param("-1M", "'-1M' is below", "write 1k to 1P", id="negative"),
        pytest.param("1000000000000001", "is above", "write 1k to 1P", id="1P + 1"),
        pytest.param("8E", "'8E' is above", "write 1k to 1P", id="8E"),
        pytest.param("1e30", "'1e30' is above", "write 1k to 1P", id="beyond int64"),
        pytest.param("x" * 100_000, "is not a quantity", "10M is 10 Mbit/s", id="100,000 bytes"),
    ],
)
def test_an_annotation_that_the_runtime_would_refuse_is_the_fault_of_a_pending_pod(value, says, fix):
    """containerd fails the sandbox of a pod with an annotation that it cannot read, or below 1k or above 1P."""
    pod = pod_summary(cpu="2", annotations={EGRESS_ANNOTATION: value})
    assert pod.fault.startswith(f"metadata.annotations[{EGRESS_ANNOTATION}]: ")
    assert says in pod.fault
    assert fix in pod.fault
    assert len(pod.fault) < 400
    assert pod.requests.cpu_m == 2000


@pytest.mark.parametrize("value", ["1k", "999.5", "999000001u", "1000", "1P", "1e15", "300M", "1.5M"])
def test_annotations_within_the_runtimes_bounds_are_no_fault(value):
    """The runtime rounds up before it compares: 999.5 and 999.000001 are 1000."""
    assert pod_summary(annotations={EGRESS_ANNOTATION: value}).fault is None


def test_a_fault_names_both_directions_and_stands_beside_a_resource():
    """The resource counts, but the runtime reads the annotation all the same."""
    pod = pod_summary(egress="300M", annotations={EGRESS_ANNOTATION: "fast", INGRESS_ANNOTATION: "1"})
    assert f"[{EGRESS_ANNOTATION}]: 'fast'" in pod.fault
    assert f"; metadata.annotations[{INGRESS_ANNOTATION}]: '1' is below" in pod.fault
    assert (pod.requests.network_bps[0], pod.requests.by_annotation[0]) == (300_000_000, False)


@pytest.mark.parametrize("where", [{"node": "n"}, {"host_network": True}], ids=["placed", "on the host's network"])
def test_an_annotation_that_no_runtime_will_read_is_no_fault(where):
    """A placed pod is past its sandbox; a pod on the host's network gets no bandwidth plugin."""
    pod = pod_summary(annotations={EGRESS_ANNOTATION: "fast"}, **where)
    assert (pod.fault, pod.requests.network_bps) == (None, (0, 0))


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("8471", 8471),
        (None, 0),
        ("", 0),
        ("abc", 0),
        ("1_0", 0),
        ("\u0661\u0662", 0),
        ("18446744073709551615", 2**64 - 1),
        ("-1", 0),
        ("9" * 5000, 0),
    ],
)
def test_the_version_of_a_pod_is_a_number_where_it_is_decimal(version, number):
    assert pod_summary(version=version).version == number


def test_priority_and_nominated_node_are_kept():
    pod = pod_summary(priority=1000, status={"phase": "Pending", "nominatedNodeName": "n7"})
    assert (pod.priority, pod.nominated_node) == (1000, "n7")
    assert (pod_summary().priority, pod_summary().nominated_node) == (0, "")


def test_another_failed_attempt_reads_differently_and_a_bound_pod_says_nothing():
    def pending(message, status="False"):
        condition = {
            "type": "PodScheduled",
            "status": status,
            "lastTransitionTime": "2026-11-22T22:41:07Z",
            "reason": "Unschedulable",
            "message": message,
        }
        return pod_summary(status={"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}, condition]})

    first, second = pending("0/3 nodes are available"), pending("0/4 nodes are available")
    assert first.unscheduled == "2026-11-22T22:41:07Z|Unschedulable|0/3 nodes are available"
    assert first.unscheduled != second.unscheduled
    assert pending("", status="True").unscheduled == pod_summary().unscheduled == ""
