"""The benchmark's simulation is what it says: the same twice, loaded as asked, its kubelets back off, its figures add up."""

from itertools import pairwise

import numpy as np
import pytest

from tests.bench.rewards import scene as scenes
from tests.bench.rewards.aims import Estimate
from tests.bench.rewards.contenders import BETA, KUBERL, NOTHING, THOMPSON, contenders
from tests.bench.rewards.measures import avoided_from, figures, in_use_from, interval
from tests.bench.rewards.runs import simulate
from tests.bench.rewards.scene import BAD_NODES, BAD_TYPE, FAIL_RATE, HALF_LIFE_S, NODES, Scene
from tests.bench.rewards.world import Trace


def short(load: float = 0.3, seed: int = 1, half_lives: float = 1.0) -> Scene:
    return scenes.draw(load, seed, length_s=half_lives * HALF_LIFE_S, repair_s=half_lives * HALF_LIFE_S / 2)


def run(contender: str, scene: Scene) -> Trace:
    return simulate(contenders()[contender], scene, seed=1)


@pytest.mark.parametrize("contender", [NOTHING, KUBERL, BETA, THOMPSON])
def test_the_same_seed_gives_the_same_course(contender: str) -> None:
    assert run(contender, short(half_lives=0.5)) == run(contender, short(half_lives=0.5))


def test_another_seed_gives_another_course() -> None:
    assert run(BETA, short(seed=1, half_lives=0.2)) != run(BETA, short(seed=2, half_lives=0.2))


def test_every_policy_meets_the_same_pods() -> None:
    placed = [run(contender, short(half_lives=0.5)).placed_s for contender in (NOTHING, KUBERL, BETA)]
    # Nothing waits at this load, so a pod is placed when it arrives, wherever that is.
    assert placed[0] == placed[1] == placed[2]


@pytest.mark.parametrize("load", scenes.LOADS.values())
def test_pods_ask_for_the_load_on_average(load: float) -> None:
    scene = scenes.draw(load, seed=3)
    cpu_m = np.array([one.cpu_m for one in scenes.TYPES])[scene.type_of]
    # CPU seconds of all arrivals / CPU seconds of the cluster; 5 of 100 off is chance.
    asked = (cpu_m * scene.life_s).sum() / (NODES * scenes.node(0).cpu_m * scene.length_s)
    assert asked == pytest.approx(load, rel=0.05)


def test_bad_nodes_fail_their_part_of_the_runs_of_one_type_until_they_are_repaired() -> None:
    scene = short()
    repaired, bad = scene.bad[0], scene.bad[1]
    good = next(row for row in range(NODES) if row not in scene.bad)
    assert len(set(scene.bad)) == BAD_NODES
    assert scene.fail_rate(bad, BAD_TYPE, scene.length_s) == FAIL_RATE
    assert scene.fail_rate(bad, BAD_TYPE + 1, 0.0) < 0.01
    assert scene.fail_rate(good, BAD_TYPE, 0.0) < 0.01
    assert scene.fail_rate(repaired, BAD_TYPE, scene.repair_s - 1) == FAIL_RATE
    assert scene.fail_rate(repaired, BAD_TYPE, scene.repair_s) < 0.01


def test_a_fifth_of_no_learnings_failures_remain_once_the_bad_nodes_are_known() -> None:
    scene = scenes.draw(0.6, seed=1, length_s=2 * HALF_LIFE_S, repair_s=2 * HALF_LIFE_S)
    known_s = HALF_LIFE_S
    failed = {name: sum(at > known_s for at in run(name, scene).failed_s) for name in (NOTHING, BETA)}
    # 9 pods a node and half-life x 5 nodes x 1.5 failed runs = 68 without learning, and stray ones.
    assert failed[NOTHING] > 50
    assert failed[BETA] < failed[NOTHING] / 5


def test_learning_never_puts_all_pods_of_a_type_on_one_node() -> None:
    for contender in (BETA, THOMPSON):
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
    assert len(trace.placed_s) <= 1


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
    scene = scenes.draw(0.3, seed=1, length_s=12 * 3600.0, repair_s=6 * 3600.0)
    repaired, bad = scene.bad[0], scene.bad[1]
    good = next(row for row in range(NODES) if row not in scene.bad)
    trace = Trace(
        placed_s=[float(i) for i in range(200)] + [6 * 3600.0 + 60 * i for i in range(3)],
        placed_on=[bad, repaired, *[good] * 198, repaired, repaired, repaired],
        failed_s=[1.0, 2.0, 3.0, 7 * 3600.0],
        failed_on=[bad, good, bad, repaired],
        failed_type=[BAD_TYPE, BAD_TYPE, BAD_TYPE + 1, BAD_TYPE],
        spread=[(0.1, 0.2, 0.3)],
        largest_share=0.25,
    )
    found = figures(scene, trace)
    assert found.until_avoided == pytest.approx(2 / 5)  # one pod each on two of the five
    assert found.share_afterwards == 0.0
    assert found.tried_again == found.in_use_again == 0.0  # the first pod after the repair, and three in a row
    assert found.failed_runs == 4
    assert found.failed_on_bad == 1  # not the good node's, not another type's, not after the repair
    assert found.spread == pytest.approx(20.0)
    assert found.largest_share == 25.0


def test_the_interval_of_a_mean_narrows_with_the_seeds() -> None:
    few, many = (np.tile((0.0, 1.0), count) for count in (5, 500))
    # Half zeros, half ones: 0.5 with a standard error of 0.5 / sqrt(n), 1.96 of it to each side.
    assert interval(many) == pytest.approx((0.5 - 0.031, 0.5 + 0.031), abs=0.005)
    assert interval(few)[0] < interval(many)[0] < 0.5 < interval(many)[1] < interval(few)[1]
    assert Estimate(0.5, *interval(many)).text(1) == "0.5 (0.5 to 0.5)"
