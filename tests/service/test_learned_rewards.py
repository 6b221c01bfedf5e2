"""How the service reads rewards: policies, choice by sample, parents that follow the records, and what explain tells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from tests.builders import node, pod
from tests.service.harness import START_S, Service, nodes_args, on_free_ports, running, service
from tests.waiting import until

NAMES = [f"n{i}" for i in range(8)]
NODES = [node(name) for name in NAMES]
HALF_LIFE_S = 3600.0


def reward(on: str, mean: float, *, pod_type: str = "web", evidence: float = 20.0, age_s: float = 0.0) -> RewardRecord:
    return RewardRecord(on, pod_type, mean, evidence, START_S - age_s)


def web(name: str = "p", **parts: Any) -> Any:
    return pod(name, labels={"app": "web"}, **parts)


def of(*records: RewardRecord, **rewards: Any) -> Service:
    groups = {"score": rewards.pop("score", {}), "filter": rewards.pop("filter", {})}
    return service(*NODES, rewards=records, reward_settings={"half_life_s": HALF_LIFE_S, **rewards}, **groups)


NOT_CHOSEN = {"standing": None, "shut_until": None}
ONE_BAD = [reward("n0", 0.0), *(reward(name, 1.0) for name in NAMES[1:])]


async def test_ewma_takes_the_mean_as_stored_and_one_for_a_pair_that_nobody_tried() -> None:
    """Half-lives and parents do not count: 0.4 stays 0.4 after ten of them, and n2 has kubeRL's initial value."""
    there = of(reward("n0", 0.4, age_s=10 * HALF_LIFE_S), reward("n1", 0.9), policy="ewma")
    told = await there.explain(web(), NAMES[:3])
    assert [told[name]["reward"] for name in NAMES[:3]] == [0.4, 0.9, 1.0]
    assert await there.prioritize(web(), NAMES[:3]) == {"n0": 0, "n1": 8, "n2": 10}
    unknown = await there.explain(pod(labels={"app": "db"}), NAMES[:3])
    assert {one["reward"] for one in unknown.values()} == {1.0}


async def test_policy_none_has_no_say() -> None:
    there = of(*ONE_BAD, policy="none")
    told = await there.explain(web(), NAMES)
    assert {(one["reward"], one["learned"]) for one in told.values()} == {(None, None)}
    assert len(set((await there.prioritize(web(), NAMES)).values())) == 1
    report = (await there.ops("/readyz")).json()["rewards"]
    assert (report["neutral"], report["types"]) == (True, 1)
    assert there.metric("rewards_neutral") == 1


async def test_beta_is_the_default_and_explain_tells_evidence_prior_and_mean() -> None:
    """n0: 20 runs two half-lives old are 5; s = 5/7. Of n1 and n2 nothing is known but web's mean elsewhere.

    Global (2 x 0.5 + 5/7) / (2 + 5/7) = 0.6316; type (2 x 0.6316 + 5/7) / (2 + 5/7) = 0.7285. n0 itself has the prior
    mean as its prior: (4 x 0.5 + 5 x 1) / 9.
    """
    there = of(reward("n0", 1.0, age_s=2 * HALF_LIFE_S))
    told = await there.explain(web(), ["n0", "n1"])
    assert told["n0"]["learned"] == {
        "evidence": 5.0,
        "prior": 0.5,
        "mean": round(7 / 9, 4),
        "sample": None,
        **NOT_CHOSEN,
    }
    assert told["n1"]["learned"] == {"evidence": 0.0, "prior": 0.7285, "mean": 0.7285, "sample": None, **NOT_CHOSEN}
    assert told["n0"]["reward"] == told["n0"]["learned"]["mean"]


async def test_a_full_list_of_the_store_brings_the_parents_up_to_date_at_once() -> None:
    there = of(*ONE_BAD)
    assert there.parts.reward_table.refreshed_at_s == START_S
    there.clock.move(30)
    assert there.metric("reward_parents_age_seconds") == 30
    assert there.metric("reward_types") == 1
    report = (await there.ops("/readyz")).json()["rewards"]
    assert (report["types"], report["parents_age_s"]) == (1, 30)


async def test_parents_follow_a_changed_record_within_seconds_and_age_is_unknown_before() -> None:
    """web fails on n0 from now on: db, which nobody tried, is expected to do worse there."""
    built = service(*NODES, **on_free_ports())
    db = pod(labels={"app": "db"})
    async with running(built):
        for record in ONE_BAD:
            built.store.put_entry(encode_key(built.store.prefix, record.node, "web"), encode_value(record))
        await until(lambda: len(ONE_BAD) <= built.parts.reward_table.changes == built.parts.parents._changes)
        told = await built.explain(db, NAMES)
    assert told["n0"]["reward"] < told["n1"]["reward"] - 0.2


async def test_without_records_the_age_of_the_parents_is_not_a_number() -> None:
    there = service(reward_settings={"policy": "none"})
    assert math.isnan(there.metric("reward_parents_age_seconds"))
    assert math.isnan(there.metric("node_states_age_seconds"))


async def test_thompson_filter_short_lists_what_prioritize_scores_best() -> None:
    there = of(*(reward(name, 0.5, evidence=2.0) for name in NAMES), choice="thompson", filter={"shortlist": 1})
    everybody = of(*(reward(name, 0.5, evidence=2.0) for name in NAMES), choice="thompson")
    chosen = set()
    for i in range(40):
        (offered,) = (await there.filter(web(f"p{i}"), NAMES))["NodeNames"]
        scores = await everybody.prioritize(web(f"p{i}"), NAMES)
        assert scores[offered] == 10
        chosen.add(offered)
    assert len(chosen) >= 6, "equal beliefs are spread by their samples"


async def test_thompson_samples_a_node_alike_for_any_candidates_and_for_each_attempt_of_a_pod() -> None:
    there = of(*(reward(name, 0.5, evidence=2.0) for name in NAMES), choice="thompson")
    whole = await there.explain(web(), NAMES)
    assert len({one["learned"]["sample"] for one in whole.values()}) == len(NAMES)
    assert all(one["reward"] == one["learned"]["sample"] for one in whole.values())
    some = await there.explain(web(), ["n6", "n2", "n5"])
    assert {name: one["reward"] for name, one in some.items()} == {n: whole[n]["reward"] for n in ("n6", "n2", "n5")}
    full = await there.post("prioritize", nodes_args(web(), NODES))
    assert {entry["Host"]: entry["Score"] for entry in full} == await there.prioritize(web(), NAMES)
    assert (await there.explain(web("another"), NAMES))["n2"]["reward"] != whole["n2"]["reward"]


async def test_another_seed_draws_other_samples() -> None:
    one, other = (of(*ONE_BAD, choice="thompson", sample_seed=seed) for seed in (0, 1))
    assert (await one.explain(web(), NAMES))["n3"]["reward"] != (await other.explain(web(), NAMES))["n3"]["reward"]


@pytest.mark.parametrize(("choice", "least", "most"), [("mean", 0, 0), ("thompson", 3, 60)])
async def test_a_node_that_did_badly_is_tried_again_by_sample_and_not_by_mean(
    choice: str, least: int, most: int
) -> None:
    """n0 failed, and 2 runs' worth of that are left; n1 does well in 8 of 10. By the mean n0 is never the best of them;
    by samples it is for a few of 300 pods.
    """
    records = [reward("n0", 0.0, evidence=2.0), reward("n1", 0.8, evidence=10.0)]
    there = of(*records, choice=choice, filter={"shortlist": 1}, score={"charge_ttl_s": 0})
    offered = [(await there.filter(web(f"p{i}"), ["n0", "n1"]))["NodeNames"] for i in range(300)]
    assert least <= offered.count(["n0"]) <= most


async def test_quarantine_under_thompson_goes_by_the_mean() -> None:
    """n0: (4 x 0.95 + 30 x 0.1) / 34 = 0.2 is below 0.3, and some samples are not."""
    bad = reward("n0", 0.1, evidence=30.0)
    there = of(bad, *ONE_BAD[1:], choice="thompson", filter={"quarantine_below": 0.3})
    samples = []
    for i in range(30):
        answer = await there.filter(web(f"p{i}"), NAMES)
        assert set(answer["FailedAndUnresolvableNodes"]) == {"n0"}
        samples.append((await there.explain(web(f"p{i}"), NAMES))["n0"]["reward"])
    assert max(samples) > 0.3


async def test_probation_shuts_a_bad_node_then_lets_one_pod_at_a_time_try_it() -> None:
    """n0 failed 20 runs: (4 x 0.95 + 0) / 24 = 0.16, far below 0.95. It is shut for 1000 s, a quarter more or less."""
    there = of(*ONE_BAD, choice="probation", shut_s=1000, score={"balance_weight": 0}, filter={"shortlist": 1})
    told = (await there.explain(web(), NAMES))["n0"]
    assert (told["learned"]["standing"], told["reward"]) == ("shut", 0.0)
    assert (await there.explain(web(), NAMES))["n1"]["learned"]["standing"] == "open"
    there.clock.move(1251)
    for record in ONE_BAD[1:]:
        there.parts.reward_table.put(replace(record, mean=0.9, time_s=there.clock.now_s))
    told = (await there.explain(web(), NAMES))["n0"]
    assert told["learned"]["standing"] == "on probation"
    assert told["reward"] == told["learned"]["prior"], "the others' means are below it"
    offered = (await there.filter(web("first"), ["n0"]))["NodeNames"]
    assert offered == ["n0"]
    assert (await there.explain(web("first"), NAMES))["n0"]["learned"]["standing"] == "on probation", "it is that pod's"
    told = (await there.explain(web("second"), NAMES))["n0"]
    assert (told["learned"]["standing"], told["reward"]) == ("tried", 0.0)


async def test_probation_answers_the_same_for_nodes_that_come_whole_and_by_every_replica() -> None:
    one, other = (of(*ONE_BAD, choice="probation", shut_s=1000) for _ in range(2))
    assert await one.explain(web(), NAMES) == await other.explain(web(), NAMES)
    full = await one.post("prioritize", nodes_args(web(), NODES))
    assert {entry["Host"]: entry["Score"] for entry in full} == await other.prioritize(web(), NAMES)


async def test_a_new_node_in_the_row_of_another_has_its_own_reward_and_no_name_is_read_again() -> None:
    """node-2 goes, node-3 gets its row; 100 more come, so the table of rows grows."""
    records = [RewardRecord(f"node-{i}", "web", mean=i / 10, evidence=1e9, time_s=START_S) for i in range(1, 4)]
    there = service(rewards=records)
    web = pod(labels={"app": "web"})
    before = await there.explain(web, ["node-1", "node-2"])
    assert [round(before[name]["reward"], 3) for name in ("node-1", "node-2")] == [0.1, 0.2]
    read: list[str] = []
    columns = there.parts.reward_table.columns
    there.parts.reward_table.columns = lambda names: read.extend(names) or columns(names)  # type: ignore[method-assign]
    there.parts.state.delete_node("node-2")
    there.put_node(node("node-3"))
    after = await there.explain(web, ["node-1", "node-3"])
    assert [round(after[name]["reward"], 3) for name in ("node-1", "node-3")] == [0.1, 0.3]
    assert set(read) == {"node-3"}
    for i in range(10, 110):
        there.put_node(node(f"node-{i}"))
    grown = await there.explain(web, ["node-3", "node-109", "nobody"])
    assert round(grown["node-3"]["reward"], 3) == 0.3
    assert grown["node-109"]["reward"] == grown["nobody"]["reward"], "nothing was learned of either"
