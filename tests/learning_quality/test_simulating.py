"""The benchmark's simulation is what it says: the same twice, loaded as asked, its kubelets back off, its figures add up."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.bench.rewards import scene as scenes
from tests.bench.rewards.aims import Estimate
from tests.bench.rewards.contenders import BETA, KUBERL, NOTHING, ORACLE, PROBATION, THOMPSON, contenders
from tests.bench.rewards.measures import (
    Return,
    avoided_from,
    figures,
    in_use_from,
    interval,
    median_return_s,
    part_never_back,
)
from tests.bench.rewards.runs import simulate
from tests.bench.rewards.scene import BAD_NODES, BAD_TYPE, BURST, FAIL_RATE, HALF_LIFE_S, NODES, ROUGH, Fault, Scene
from tests.bench.rewards.world import Trace


def short(load: str = "low", seed: int = 1, half_lives: float = 1.0) -> Scene:
    return scenes.draw(load, seed, length_s=half_lives * HALF_LIFE_S)


def unrepaired(scene: Scene) -> Scene:
    return replace(scene, faults=tuple(replace(fault, until_s=scene.length_s) for fault in scene.faults))


def run(contender: str, scene: Scene) -> Trace:
    return simulate(contenders()[contender], scene, seed=1)


@pytest.mark.parametrize("contender", [NOTHING, KUBERL, BETA, THOMPSON, PROBATION, ORACLE])
def test_the_same_seed_gives_the_same_course(contender: str) -> None:
    assert run(contender, short(half_lives=0.5)) == run(contender, short(half_lives=0.5))


def test_another_seed_gives_another_course() -> None:
    assert run(BETA, short(seed=1, half_lives=0.2)) != run(BETA, short(seed=2, half_lives=0.2))


def test_every_policy_meets_the_same_pods() -> None:
    placed = [run(contender, short(half_lives=0.5)).placed_s for contender in (NOTHING, KUBERL, PROBATION)]
    # Nothing waits at this load, so a pod is placed when it arrives, wherever that is.
    assert placed[0] == placed[1] == placed[2]


@pytest.mark.parametrize("load", scenes.LOADS)
def test_pods_ask_for_the_load_on_average(load: str) -> None:
    scene = scenes.draw(load, seed=3)
    cpu_m = np.array([one.cpu_m for one in scenes.TYPES])[scene.type_of]
    # CPU seconds of all arrivals / CPU seconds of the cluster; 5 of 100 off is chance, and bursts are of one type each.
    asked = (cpu_m * scene.life_s).sum() / (NODES * scenes.node(0).cpu_m * scene.length_s)
    assert asked == pytest.approx(scenes.LOADS[load], rel=0.2 if load == ROUGH else 0.05)


def test_bad_nodes_fail_their_part_of_the_runs_of_one_type_each_until_it_is_repaired() -> None:
    scene = short()
    assert len({fault.node for fault in scene.faults}) == BAD_NODES
    assert len({fault.until_s for fault in scene.faults}) == BAD_NODES
    for fault in scene.faults:
        assert scene.fail_rate(fault.node, BAD_TYPE, fault.until_s - 1) == FAIL_RATE
        assert scene.fail_rate(fault.node, BAD_TYPE, fault.until_s) < 0.01
        assert scene.fail_rate(fault.node, BAD_TYPE + 1, 0.0) < 0.01
    good = next(row for row in range(NODES) if row not in {fault.node for fault in scene.faults})
    assert scene.fail_rate(good, BAD_TYPE, 0.0) < 0.01


def test_rough_weather_has_bursts_outages_of_every_node_and_a_fault_that_comes_back() -> None:
    scene = short(ROUGH, half_lives=6.0)
    assert np.unique(scene.arrival_s, return_counts=True)[1].max() >= BURST
    outage = next(fault for fault in scene.faults if fault.kind == "outage")
    assert all(scene.fail_rate(row, BAD_TYPE, outage.from_s) > 0.09 for row in range(NODES))
    first, again = (
        fault for fault in scene.faults if fault.kind == "comes back" and fault.node == scene.faults[-4].node
    )
    assert scene.fail_rate(first.node, BAD_TYPE, first.from_s) == FAIL_RATE
    assert first.until_s < again.from_s < again.until_s
    several = [fault for fault in scene.faults if fault.kind == "several types"]
    assert len({fault.pod_type for fault in several}) == 3


def test_a_fifth_of_no_learnings_failures_remain_once_the_bad_nodes_are_known() -> None:
    scene = unrepaired(short("middle", half_lives=2.0))
    known_s = HALF_LIFE_S
    failed = {name: sum(at > known_s for at in run(name, scene).failed_s) for name in (NOTHING, BETA, PROBATION)}
    # 9 pods a node and half-life x 5 nodes x 1.5 failed runs = 68 without learning, and stray ones.
    assert failed[NOTHING] > 50
    assert failed[BETA] < failed[NOTHING] / 5
    assert failed[PROBATION] < failed[NOTHING] / 5


def test_the_oracle_fails_by_bad_luck_alone() -> None:
    scene = short("middle", half_lives=1.0)
    assert figures(scene, run(ORACLE, scene)).failed_on_bad == 0


def test_learning_never_puts_all_pods_of_a_type_on_one_node() -> None:
    for contender in (BETA, THOMPSON, PROBATION):
        assert run(contender, short()).largest_share < 0.5


def test_a_pod_that_crashes_is_restarted_in_place_with_the_kubelets_back_off() -> None:
    scene = short(half_lives=0.5)
    scene.fails[:] = 0.0
    scene.crash_s[:] = 1.0
    scene.life_s[:] = 2000.0
    scene.arrival_s[1:] = np.inf
    trace = run(NOTHING, scene)
    # Each run lasts 1 s; between ends lie 10, 20, 40, 80, 160 s of back-off, then 300 s, and the run itself.
    gaps = [later - earlier for earlier, later in pairwise(trace.failed_s)]
    assert gaps == pytest.approx([11, 21, 41, 81, 161, 301, 301, 301, 301, 301])
    assert len(trace.placed_s) == 1


@pytest.mark.parametrize(
    ("here", "want"),
    [
        pytest.param([0] * 200, 0, id="never got one"),
        pytest.param([1, 0, 1, *[0] * 200], 3, id="none of the 150 after the second"),
        pytest.param([1, *[0] * 100] * 3, 303, id="one in 101: never avoided"),
        pytest.param([1, *[0] * 150, 1], 1, id="150 without: avoided, though tried again later"),
    ],
)
def test_a_node_is_avoided_from_when_it_misses_three_turns(here: list[int], want: int) -> None:
    assert avoided_from(np.array(here, np.bool_)) == want


@pytest.mark.parametrize(
    ("here", "want"),
    [
        pytest.param([0] * 400, None, id="never"),
        pytest.param([*[0] * 7, 1, *[0] * 99, 1, *[0] * 99, 1], 7, id="3 of 201, from the first on"),
        pytest.param([1, *[0] * 299, 1, *[0] * 299, 1], None, id="3 of 601 are less than half of an even share"),
        pytest.param([1, *[0] * 400, 1, 1, 1], 401, id="tried once, and in use later"),
    ],
)
def test_a_repaired_node_is_in_use_once_it_gets_half_of_its_even_share(here: list[int], want: int | None) -> None:
    assert in_use_from(np.array(here, np.bool_)) == want


def test_the_figures_of_a_trace_by_hand() -> None:
    hour_s = 3600.0
    faults = (
        Fault("weak", 3, BAD_TYPE, 0.2, 0.0, 6 * hour_s),
        Fault("comes back", 4, BAD_TYPE, 0.6, 0.0, 1 * hour_s),
        Fault("comes back", 4, BAD_TYPE, 0.6, 7 * hour_s, 12 * hour_s),
        Fault("outage", -1, BAD_TYPE + 1, 0.8, 0.0, 60.0),
    )
    scene = replace(short(half_lives=2.0), faults=faults)
    # Nodes 3 and 4 get one pod each, then 198 go elsewhere; node 3 gets three in a row once it is repaired.
    placed_on = [3, 4, *[7] * 198, 3, 3, 3]
    trace = Trace(
        placed_s=[float(i) for i in range(200)] + [6 * hour_s + 60 * i for i in range(3)],
        placed_on=placed_on,
        placed_type=[BAD_TYPE] * len(placed_on),
        failed_s=[1.0, 2.0, 3.0, 4.0, 7 * hour_s],
        failed_on=[3, 4, 9, 3, 3],
        failed_type=[BAD_TYPE, BAD_TYPE, BAD_TYPE + 1, BAD_TYPE + 1, BAD_TYPE],
        spread=[(0.1, 0.2, 0.3)],
        largest_share=0.25,
    )
    found = figures(scene, trace)
    assert found.until_avoided == pytest.approx(2 / 3)  # one pod each on two of three, none when it came back
    # Node 4 was not in use in the 6 hours between repair and return of its fault.
    assert found.returns == (Return(0.0, is_censored=False), Return(6 * hour_s, is_censored=True))
    assert found.failed_runs == 5
    assert found.failed_by_kind == {"weak": 1, "comes back": 1, "outage": 2, "stray": 1}
    assert found.failed_on_bad == 2
    assert found.spread == pytest.approx(20.0)
    assert found.largest_share == 25.0


@pytest.mark.parametrize(
    ("seen", "cut_off", "median", "never"),
    [
        pytest.param([1.0, 2.0, 3.0], [], 2.0, 0.0, id="all seen"),
        pytest.param([1.0, 2.0], [5.0, 5.0], 2.0, 0.5, id="2/4, then half are left"),
        pytest.param([1.0], [5.0, 5.0], math.inf, 2 / 3, id="more than half were not back while anybody looked"),
        pytest.param([2.0, 3.0], [1.0], 2.0, 1 / 3, id="one cut off before any was back tells nothing: 1/2 at 2"),
    ],
)
def test_what_was_not_seen_to_the_end_counts_for_as_long_as_it_was_seen(
    seen: list[float], cut_off: list[float], median: float, never: float
) -> None:
    returns = [*(Return(s, is_censored=False) for s in seen), *(Return(s, is_censored=True) for s in cut_off)]
    assert median_return_s(returns) == median
    assert part_never_back(returns) == pytest.approx(never)


def test_the_interval_of_a_mean_narrows_with_the_seeds() -> None:
    few, many = (np.tile((0.0, 1.0), count) for count in (5, 500))
    # Half zeros, half ones: 0.5 with a standard error of 0.5 / sqrt(n), 1.96 of it to each side.
    assert interval(many) == pytest.approx((0.5 - 0.031, 0.5 + 0.031), abs=0.005)
    assert interval(few)[0] < interval(many)[0] < 0.5 < interval(many)[1] < interval(few)[1]
    assert Estimate(0.5, *interval(many)).text(1) == "0.5 (0.5 to 0.5)"
