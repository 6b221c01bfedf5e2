"""Each balance rule against worked examples, the scalar formula it vectorises, and DepCon2's logged vectors."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.cluster import NO_CAPACITY
from kubesteer.model.requests import PodRequests
from kubesteer.placement.balance import RULES, Load, depcon2_variance, is_best_effort, load_of
from tests.builders import candidates_of, node_summary, pod_summary

VECTORS = list(csv.DictReader((Path(__file__).parent / "depcon2_golden_vectors.csv").read_text().splitlines()))


def points(rule, *, pod, allocatable, requested=(0, 0, 0)):
    """Points of one node; amounts are CPU, memory and egress, in 1/1024 of what a node of size 1024 has."""
    asks = PodRequests(*pod[:2], *pod[:2], *pod[:2], network_bps=pod[2:])
    has, used = (np.array(amounts, np.int64)[:, None] for amounts in (allocatable, requested))
    return float(RULES[rule](Load(asks, has, used, used[:2]))[0])


FULL = (1024, 1024, 1024)


@pytest.mark.parametrize(
    ("rule", "pod", "allocatable", "requested", "want"),
    [
        pytest.param("upstream-1.21", (512, 0, 0), FULL, (256, 256, 0), 50, id="1.21: 1 - |3/4 - 1/4| = 0.50"),
        pytest.param("upstream-1.21", (768, 0, 0), FULL, (256, 256, 0), 0, id="1.21: CPU full -> 0"),
        pytest.param("upstream-1.21", (0, 1024, 0), FULL, (1024, 256, 0), 0, id="1.21: both full -> 0"),
        pytest.param("upstream-1.21", (0, 0, 0), (0, 1024, 0), (0, 0, 0), 0, id="1.21: no CPU counts as full -> 0"),
        pytest.param("upstream-1.21", (1, 0, 512), FULL, (511, 512, 0), 100, id="1.21: the network does not count"),
        pytest.param("upstream-1.22", (512, 0, 0), FULL, (256, 256, 0), 75, id="1.22: 1 - |3/4 - 1/4|/2 = 0.75"),
        pytest.param(
            *("upstream-1.22", (1024, 256, 256), FULL, (0, 0, 0), 64),
            id="1.22: (1, 1/4, 1/4) mean 1/2, sqrt((1/4 + 1/16 + 1/16)/3) = 0.3536 -> 64.6 -> 64",
        ),
        pytest.param("upstream-1.22", (512, 0, 0), FULL, (0, 0, 1024), 75, id="1.22: egress not asked for is left out"),
        pytest.param(
            "upstream-1.22", (512, 0, 1), (1024, 1024, 0), (0, 0, 0), 75, id="1.22: no egress there -> |1/2 - 0|/2"
        ),
        pytest.param(
            "upstream-1.22", (512, 0, 1), (1024, 1024, NO_CAPACITY), (0, 0, 0), 75, id="1.22: unpublished, the same"
        ),
        pytest.param("upstream-1.22", (512, 0, 0), (1024, 0, 0), (0, 0, 0), 100, id="1.22: one resource is even"),
        pytest.param("upstream-1.22", (512, 0, 0), (0, 0, 0), (0, 0, 0), 100, id="1.22: none left is even"),
        pytest.param("upstream-1.22", (2048, 0, 0), FULL, (0, 0, 0), 50, id="1.22: 2 is clamped to 1: 1 - 1/2"),
        pytest.param("upstream-1.36", (512, 0, 0), FULL, (256, 256, 0), 62, id="1.36: 50 + (50 + 75 - 100)/2 -> 62"),
        pytest.param("upstream-1.36", (0, 512, 0), FULL, (512, 0, 0), 87, id="1.36: 50 + (50 + 100 - 75)/2 -> 87"),
        pytest.param("upstream-1.36", (256, 256, 0), FULL, (0, 0, 0), 75, id="1.36: no change -> 50 + 50/2 = 75"),
        pytest.param("upstream-1.36", (0, 1024, 0), FULL, (1024, 0, 0), 100, id="1.36: best: 50 + (50 + 100 - 50)/2"),
        pytest.param("upstream-1.36", (1024, 0, 0), FULL, (0, 0, 0), 50, id="1.36: worst: 50 + (50 + 50 - 100)/2"),
        pytest.param("level", (512, 0, 0), FULL, (256, 512, 0), 25, id="level: CPU alone is asked: 1 - 3/4"),
        pytest.param(
            *("level", (512, 256, 0), FULL, (0, 512, 0), 41.666666666666664),
            id="level: (1/2, 1/4) of each asked, (1/2, 3/4) full: 1 - (1/4 + 3/16)/(3/4) = 5/12",
        ),
        pytest.param("level", (0, 0, 512), FULL, (1024, 1024, 256), 25, id="level: egress alone is asked: 1 - 3/4"),
        pytest.param("level", (2048, 0, 0), FULL, (0, 0, 0), 0, id="level: 2 is clamped to 1"),
        pytest.param("stddev", (512, 0, 0), FULL, (256, 256, 0), 62.5, id="stddev: 50 + (50 + 75 - 100)/2 = 62.5"),
        pytest.param("stddev", (0, 512, 0), FULL, (512, 0, 0), 87.5, id="stddev: 50 + (50 + 100 - 75)/2 = 87.5"),
        pytest.param(
            "depcon2", (512, 256, 768), FULL, (0, 0, 0), 95, id="depcon2: var(1/2, 1/4, 3/4) = (1/16 + 1/16)/3 -> 95.8"
        ),
        pytest.param(
            "depcon2",
            (0, 0, 0),
            FULL,
            (0, 0, 1024),
            77,
            id="depcon2: egress counts unasked: var(0, 0, 1) = 2/9",
        ),
        pytest.param(
            "depcon2", (0, 0, 0), (1024, 1024, 0), (0, 0, 0), 77, id="depcon2: no capacity counts as 1, var = 2/9"
        ),
        pytest.param("depcon2", (4096, 1024, 2048), FULL, (0, 0, 0), 100, id="depcon2: all clamped to 1, and no 0"),
    ],
)
def test_a_rule_by_its_arithmetic(rule, pod, allocatable, requested, want):
    assert points(rule, pod=pod, allocatable=allocatable, requested=requested) == want


def test_depcon2s_variance_is_bit_equal_to_its_logs():
    assert len(VECTORS) == 30
    fractions = np.array([[float(row[name]) for row in VECTORS] for name in ("cpu", "mem", "net")])
    variance = depcon2_variance(*fractions)
    assert variance.tolist() == [float(row["variance_logged"]) for row in VECTORS]
    assert np.trunc((1 - variance) * 100).tolist() == [float(row["score100"]) for row in VECTORS]


def test_depcon2_cannot_score_below_77():
    """The largest variance of three numbers in 0..1 is 2/9: 1 - 0.222 = 77.8 -> 77."""
    corners = [(c, m, n) for c in (0, 1024) for m in (0, 1024) for n in (0, 1024)]
    assert {points("depcon2", pod=corner, allocatable=FULL) for corner in corners} == {77, 100}


amounts = st.tuples(*[st.integers(0, 2000)] * 3)
capacities = st.tuples(*[st.integers(0, 1000), st.integers(0, 1000), st.integers(-1, 1000)])


def evenness(used, has, counted):
    """Formula B of kube-scheduler in plain Python, one node."""
    fractions = [min(used[i] / has[i], 1.0) for i in counted if has[i] > 0]
    std = 0.0
    if len(fractions) == 2:
        std = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        mean = (fractions[0] + fractions[1] + fractions[2]) / 3
        std = math.sqrt(
            (_square(fractions[0] - mean) + _square(fractions[1] - mean) + _square(fractions[2] - mean)) / 3
        )
    return (1 - std) * 100


def _square(number):
    """x * x as Go has it; ** may round otherwise."""
    return number * number


def emptiness(after, asked, nodes, i, counted):
    """`level` in plain Python; of what a node lacks it is full, and that weighs as on the node where it weighs most."""
    has, weight, full = nodes[i][0], 0.0, 0.0
    for r in counted:
        parts = [asked[r] / capacity[r] for capacity, _ in nodes if capacity[r] > 0]
        part = asked[r] / has[r] if has[r] > 0 else max(parts, default=0.0)
        weight += part
        full += part * (min(after[r] / has[r], 1.0) if has[r] > 0 else 1.0)
    return (1 - (full / weight if weight > 0 else 0.0)) * 100


@given(nodes=st.lists(st.tuples(capacities, amounts), min_size=1, max_size=8), pod=amounts)
def test_every_rule_is_its_formula_on_every_node_whatever_the_other_nodes_are(nodes, pod):
    asks = PodRequests(*pod[:2], *pod[:2], *pod[:2], network_bps=pod[2:])
    has, used = np.array([n[0] for n in nodes]).T, np.array([n[1] for n in nodes]).T
    load = Load(asks, has, used, used[:2])
    counted = [0, 1] if not pod[2] else [0, 1, 2]
    got = {name: rule(load) for name, rule in RULES.items()}
    for i, (capacity, before) in enumerate(nodes):
        after = [a + b for a, b in zip(before, pod, strict=True)]
        s_with, s_without = evenness(after, capacity, counted), evenness(before, capacity, counted)
        assert got["upstream-1.22"][i] == int(s_with)
        assert got["upstream-1.36"][i] == 50 + (50 + int(s_with) - int(s_without)) // 2
        assert got["stddev"][i] == pytest.approx(50 + (50 + s_with - s_without) / 2)
        full = [after[r] / capacity[r] if capacity[r] > 0 else 1.0 for r in range(3)]
        want_1_21 = 0 if max(full[:2]) >= 1 else int((1 - abs(full[0] - full[1])) * 100)
        assert got["upstream-1.21"][i] == want_1_21
        c, m, n = (min(f, 1.0) for f in full)
        mean = (c + m + n) / 3.0
        assert got["depcon2"][i] == int((1 - (_square(c - mean) + _square(m - mean) + _square(n - mean)) / 3) * 100)
        assert got["level"][i] == emptiness(after, pod, nodes, i, counted)
        assert all(0 <= got[name][i] <= 100 for name in RULES)


def test_rules_with_defaults_read_non_zero_requests_and_the_others_plain_ones():
    """A container that asks for nothing: 100m of 1 core = 0.1 and 200Mi of 2000Mi = 0.1 for 1.21, nothing for 1.22."""
    node = node_summary("n", cpu="1", memory="2000Mi")
    quiet, newcomer = pod_summary("quiet", node="n"), pod_summary("new", cpu="500m", memory="0")
    load = load_of(newcomer.requests, candidates_of([node], [quiet]), None)
    # 1.21: cpu 0.1 + 0.5 = 0.6, memory 0.1 + 0 = 0.1 -> 1 - 0.5; 1.22: 0.5 and 0 -> 1 - 0.25
    assert RULES["upstream-1.21"](load).tolist() == [50]
    assert RULES["upstream-1.22"](load).tolist() == [75]


def test_what_was_just_promised_is_part_of_the_load():
    """512 of 1024 charged: with the pod's 512 it is full on CPU. 1 - |1 - 0|/2 = 0.5."""
    node = node_summary("n", cpu="1024m", memory="1024")
    charged = np.array([[512], [0], [0], [0]])
    load = load_of(pod_summary(cpu="512m").requests, candidates_of([node]), charged)
    assert RULES["upstream-1.22"](load).tolist() == [50]


@pytest.mark.parametrize(
    ("asks", "best_effort"),
    [
        ({}, True),
        ({"cpu": "0", "memory": "0"}, True),
        ({"cpu": "1m"}, False),
        ({"memory": "1"}, False),
        ({"egress": "1"}, False),
        ({"ingress": "1"}, False),
    ],
)
def test_a_pod_that_asks_for_nothing_is_best_effort(asks, best_effort):
    assert is_best_effort(pod_summary(**asks).requests) is best_effort


def test_level_takes_a_node_without_what_others_have_for_full_of_it():
    """Both would be 1/8 full of CPU. With egress 1 - (1/8 x 1/8 + 1/10 x 1/10)/(1/8 + 1/10) = 0.886; without, full."""
    nodes = [node_summary("with", egress="10G"), node_summary("without", egress=None)]
    pod = pod_summary("new", cpu="1", annotations={"kubernetes.io/egress-bandwidth": "1G"})
    with_egress, without = RULES["level"](load_of(pod.requests, candidates_of(nodes), None))
    assert with_egress == pytest.approx(88.6, abs=0.1)
    assert without == pytest.approx((1 - (1 / 64 + 1 / 10) / (1 / 8 + 1 / 10)) * 100)


def test_level_leaves_out_what_no_node_has():
    pod = pod_summary("new", cpu="1", annotations={"kubernetes.io/egress-bandwidth": "1G"})
    (alone,) = RULES["level"](load_of(pod.requests, candidates_of([node_summary("n", egress=None)]), None))
    assert alone == pytest.approx((1 - 1 / 8) * 100)
