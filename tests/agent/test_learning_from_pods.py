"""What an agent makes of the pods on its node, from the API server to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.reward import RewardRecord
from tests.agent.builders import NODE, NOW_S, ended, node, pod, rfc3339, running, waiting, warning
from tests.agent.harness import Running, Time, agent_on
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.waiting import WITHIN_S, until

if TYPE_CHECKING:
    from tests.agent.conftest import Stores

OOM = ended(137, reason="OOMKilled")


def column(memory: MemoryStore) -> MemoryColumnStore:
    return MemoryColumnStore(memory, node=NODE, holder="agent-1")


async def written(memory: MemoryStore, pod_type: str = "web") -> RewardRecord | None:
    return next((one for one in await memory.list(NODE) if one.pod_type == pod_type), None)


async def settled(agent: Running) -> None:
    """Every pod has been judged, and all that was learned is written."""
    await until(lambda: agent.agent.health.is_ready() and not agent.agent.column.dirty())


async def test_a_run_that_failed_and_one_that_went_well_reach_the_store(api: FakeApi, stores: Stores) -> None:
    """One failure: (0 + 0) / 1 = 0. One success beside it at the same time: (0 + 1) / 2 = 0.5."""
    api.put(pod("web-1", waiting("CrashLoopBackOff"), last=OOM))
    api.put(pod("other", waiting("CrashLoopBackOff"), last=OOM, on="node-2"))
    async with agent_on(api, stores.column()) as agent:
        await until(lambda: agent.estimate() is not None)
        await settled(agent)
        record = (await stores.records())["web"]
        assert (record.mean, record.evidence, record.extra["count"]) == (0.0, 1.0, 1)
        [outcome] = record.extra["bad"]
        assert outcome["reason"] == "OOMKilled"
        assert (outcome["pod"], outcome["container"], outcome["run"]) == ("shop/web-1", "main", 0)
        api.put(pod("web-2", running(NOW_S - 120)))
        await until(lambda: agent.estimate()[1] == 2)
        await settled(agent)
        record = (await stores.records())["web"]
        assert (record.mean, record.extra["count"]) == (0.5, 2)
        assert set(record.extra["seen"]) == {"uid-web-1", "uid-web-2"}


async def test_a_pod_becomes_a_success_by_time_alone(api: FakeApi, memory: MemoryStore) -> None:
    api.put(pod("web-1", running(NOW_S - 119)))
    async with agent_on(api, column(memory)) as agent:
        await settled(agent)
        assert agent.estimate() is None
        agent.time.now_s += 1
        await until(lambda: agent.estimate() is not None)
        assert agent.estimate()[:2] == (1.0, 1.0)


async def test_what_a_user_did_is_no_outcome(api: FakeApi, memory: MemoryStore) -> None:
    deleted = {"deletionTimestamp": rfc3339(NOW_S + 20), "deletionGracePeriodSeconds": 30}
    api.put(pod("web-1", ended(143, at_s=NOW_S - 5), phase="Failed", **deleted))
    api.put(pod("job-1", ended(0, reason="Completed"), policy="Never", phase="Succeeded", pod_type="job"))
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate("job") is not None)
        assert agent.estimate("web") is None
        assert agent.estimate("job").mean == 1.0


async def test_the_same_run_told_again_and_again_counts_once(api: FakeApi, memory: MemoryStore) -> None:
    failed = pod("web-1", waiting("CrashLoopBackOff"), last=OOM)
    api.put(failed)
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate() is not None)
        for number in range(20):
            api.put({**failed, "metadata": {**failed["metadata"], "labels": {"podtype": "web", "n": str(number)}}})
        api.compact()
        api.cut()
        await until(lambda: agent.agent.health.report()["watch"]["relists"] >= 1)
        api.put(pod("last", running(NOW_S - 120)))
        await until(lambda: agent.estimate()[1] == 2)
        await settled(agent)
    assert (await written(memory)).extra["count"] == 2


async def test_restarts_that_nobody_saw_are_counted_as_the_next_one_ended(api: FakeApi, memory: MemoryStore) -> None:
    """restartCount 4 and running: runs 0 to 3 ended, and only run 3's end is told. 4 failures."""
    api.put(pod("web-1", running(NOW_S - 3), last=OOM, restarts=4))
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate() is not None)
        await settled(agent)
    assert (await written(memory)).extra["count"] == 4


@pytest.mark.parametrize("label", ["ü", "web/1", "a b\nc", "x" * 63, "%2F", "日本語", "."])
async def test_a_pod_type_may_be_any_text(api: FakeApi, stores: Stores, label: str) -> None:
    api.put(pod("web-1", waiting("CrashLoopBackOff"), last=OOM, pod_type=label))
    async with agent_on(api, stores.column()) as agent:
        await until(lambda: agent.estimate(label) is not None)
        await settled(agent)
        assert set(await stores.records()) == {label}


@pytest.mark.parametrize("text", ["nan", "2", "good", "-0.1", "\u0661"])
async def test_a_measure_that_is_none_is_told_once_and_not_used(api: FakeApi, memory: MemoryStore, text: str) -> None:
    measured = pod("web-1", running(NOW_S - 300), annotations={"kubesteer.io/reward": text})
    api.put(measured)
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: api.posted)
        for _ in range(3):
            api.put(measured)
        await until(lambda: agent.estimate() is not None)
        agent.time.now_s += 60
        await settled(agent)
        assert agent.estimate().mean == 1.0
        assert len(agent.lines("measure not used")) == 1
    [(namespace, event)] = api.posted
    assert (namespace, event["type"], event["reason"]) == ("shop", "Warning", "BadRewardMeasure")
    assert "kubesteer.io/reward" in event["message"]
    assert "from 0 to 1" in event["message"]


async def test_the_applications_measure_takes_the_place_of_the_mere_success(api: FakeApi, memory: MemoryStore) -> None:
    api.put(pod("web-1", running(NOW_S - 300)))
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate() is not None)
        assert agent.estimate().mean == 1.0
        for text, mean in (("0.25", 0.25), ("0.5", 0.5)):
            api.put(pod("web-1", running(NOW_S - 300), annotations={"kubesteer.io/reward": text}))
            await until(lambda mean=mean: agent.estimate().mean == pytest.approx(mean))
            assert agent.estimate().evidence == pytest.approx(1.0)


@pytest.mark.parametrize(
    "jump_s", [-3600.0, 86_400.0, -NOW_S, 3e11], ids=["back", "a day ahead", "to 1970", "to 11000"]
)
async def test_a_clock_that_jumps_leaves_records_that_can_be_read(
    api: FakeApi, memory: MemoryStore, jump_s: float
) -> None:
    api.put(pod("web-1", waiting("CrashLoopBackOff"), last=OOM))
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate() is not None)
        agent.time.now_s += jump_s
        api.put(pod("web-1", waiting("CrashLoopBackOff"), last=OOM, restarts=1))
        api.put(pod("web-2", running(NOW_S - 120)))
        api.put(pod("web-3", ended(1), policy="Never", phase="Failed"))
        await until(lambda: agent.agent.column.counted >= 3)
        await settled(agent)
        agent.time.now_s = NOW_S + 1
        await settled(agent)
    record = await written(memory)
    assert 0 <= record.mean <= 1
    assert 0 < record.evidence <= 4


async def test_a_pod_that_cannot_start_is_explained_by_its_events(api: FakeApi, memory: MemoryStore) -> None:
    """Asked for once the pod is stuck, 30 s after it was scheduled, and for no pod that started."""
    api.events.append(warning("db-1", "FailedMount", "MountVolume.SetUp failed for volume data: timed out"))
    api.put(pod("db-1", waiting("ContainerCreating"), phase="Pending", pod_type="db", scheduled_s=NOW_S - 29))
    api.put(pod("web-1", running(NOW_S - 10)))
    async with agent_on(api, column(memory)) as agent:
        await settled(agent)
        assert not [name for name, _ in api.requests if name == "events"]
        agent.time.now_s += 1
        await until(lambda: agent.estimate("db") is not None)
        await settled(agent)
    assert (await written(memory, "db")).extra["bad"][0]["reason"] == "FailedMount"
    asked = {params["fieldSelector"] for name, params in api.requests if name == "events"}
    assert asked == {"involvedObject.uid=uid-db-1,source!=kubesteer-agent"}


@pytest.mark.parametrize(
    ("by", "reason", "counts"),
    [
        ("kubelet", "FailedMount", True),
        ("attachdetach-controller", "FailedAttachVolume", True),
        ("its-own-scheduler", "FailedScheduling", True),
        ("kubesteer-agent", "FailedMount", False),
        ("default-scheduler", "FailedScheduling", False),
        ("somebody", "FailedMount", False),
    ],
)
async def test_what_another_nodes_agent_writes_about_a_pod_is_not_believed(
    api: FakeApi, memory: MemoryStore, by: str, reason: str, counts: bool
) -> None:
    """Both pods are stuck; web's word comes from the kubelet, so that when it counts db's has been looked at too."""
    api.events += [
        warning("db-1", reason, "timed out while binding volumes", by=by),
        warning("web-1", "FailedMount", "timed out"),
    ]
    for name, pod_type in (("db-1", "db"), ("web-1", "web")):
        stuck = pod(name, waiting("ContainerCreating"), phase="Pending", pod_type=pod_type)
        stuck["spec"]["schedulerName"] = "its-own-scheduler"
        api.put(stuck)
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate("web") is not None)
        await settled(agent)
        assert (agent.estimate("db") is not None) is counts


async def test_events_that_cannot_be_read_now_are_asked_for_again(api: FakeApi, memory: MemoryStore) -> None:
    api.events.append(warning("db-1", "FailedMount", "timed out"))
    api.refusals["events"].extend([Refusal(503), Refusal(503)])
    api.put(pod("db-1", waiting("ContainerCreating"), phase="Pending", pod_type="db"))
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate("db") is not None)
    assert not api.refusals["events"]


async def test_a_slow_start_is_measured_by_what_is_usual_on_other_nodes(api: FakeApi, memory: MemoryStore) -> None:
    """Elsewhere 10 s is the median; here it took 80 s: 2 x 10 / 80 = 0.25."""
    for number, startup_s in ((2, 9.0), (3, 10.0), (4, 11.0)):
        await memory.put(RewardRecord(f"node-{number}", "web", 1.0, 1.0, NOW_S, {"startup_s": [startup_s]}))
    async with agent_on(api, column(memory)) as agent:
        await settled(agent)
        await until(lambda: agent.agent.others.of("web").startup_s == 10.0)
        api.put(pod("web-1", running(NOW_S - 150), scheduled_s=NOW_S - 230, ready_s=NOW_S - 150))
        await until(lambda: agent.estimate() is not None)
        assert agent.estimate().mean == pytest.approx(0.25)


async def test_pods_that_are_gone_are_forgotten_and_what_was_learned_of_them_is_not(
    api: FakeApi, memory: MemoryStore
) -> None:
    gone = pod("web-1", waiting("CrashLoopBackOff"), last=OOM)
    api.put(gone)
    async with agent_on(api, column(memory)) as agent:
        await until(lambda: agent.estimate() is not None)
        api.delete(gone)
        api.put(pod("web-2", waiting("CrashLoopBackOff"), last=OOM))
        await until(lambda: agent.estimate().evidence == 2)
        await settled(agent)
        await until(lambda: set(next(agent.agent.column.records()).extra["seen"]) == {"uid-web-2"})
        assert agent.estimate().evidence == 2


@pytest.mark.parametrize(
    ("learner", "mean"),
    [
        pytest.param("ewma", 0.95, id="kubeRL: 0.9 x 1.0 + 0.1 x 0.5 for the first termination"),
        pytest.param("none", None, id="nothing is learned"),
    ],
)
async def test_the_learner_is_a_setting(api: FakeApi, memory: MemoryStore, learner: str, mean: float | None) -> None:
    api.put(pod("web-1", ended(1)))
    async with agent_on(api, column(memory), {"learning": {"learner": learner}}) as agent:
        if mean is not None:
            await until(lambda: agent.estimate() is not None)
            assert agent.estimate().mean == pytest.approx(mean)
        await settled(agent)
    assert ((await written(memory)) is None) is (mean is None)


async def test_types_above_the_limit_are_put_together(api: FakeApi, memory: MemoryStore) -> None:
    """5 types of one run each, 3 records: the 2 that count least become one."""
    for number in range(5):
        api.put(pod(f"p-{number}", waiting("CrashLoopBackOff"), last=OOM, pod_type=f"type-{number}"))
    async with agent_on(api, column(memory), {"learning": {"types": 3}}) as agent:
        await until(lambda: agent.agent.column.counted == 5)
        await settled(agent)
        assert agent.agent.health.report()["column"]["folded"] == 2
    assert len(await memory.list(NODE)) == 4
    assert (await written(memory, "*")).extra["folded"] == 2


async def test_the_nodes_own_clock_and_not_the_tests_decides(api: FakeApi, memory: MemoryStore) -> None:
    """A node whose clock is an hour behind has seen no success yet of a pod that started in its future."""
    api.put(pod("web-1", running(NOW_S - 300)))
    async with agent_on(api, column(memory), time=Time(NOW_S - 3600)) as agent:
        await settled(agent)
        assert agent.estimate() is None


async def test_readiness_tells_of_claim_store_and_watch(api: FakeApi, memory: MemoryStore) -> None:
    api.put(node())
    async with agent_on(api, column(memory)) as agent:
        await settled(agent)
        await until(lambda: agent.agent.health.report()["node"]["found"])
        told: dict[str, Any] = agent.agent.health.report()
    assert told["ready"] is True
    assert told["claim"] == {"held": True, "holder": "agent-1", "waits_for": None}
    assert told["store"]["age_s"] < WITHIN_S
    assert told["watch"]["age_s"] < WITHIN_S
    assert told["column"] == {"types": 0, "folded": 0, "waiting": 0}
