"""Measures of applications from Prometheus, and shares of asked bandwidth from the kubelet, in the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from kubesteer.clients.kubelet.summary import PodCounters
from kubesteer.clients.prometheus.measures import Measure, MeasuredPod
from kubesteer.clients.rewards.memory import MemoryStore
from kubesteer.clients.rewards.memory_column import MemoryColumnStore
from kubesteer.model.errors import MetricsUnavailable
from tests.agent.builders import NODE, NOW_S, pod, running
from tests.agent.harness import agent_on
from tests.cluster_state.fake_api import FakeApi
from tests.waiting import until

_WINDOW_S = 10.0


class Prometheus:
    """Answers with `measure` for every pod, or not at all."""

    def __init__(self) -> None:
        self.measure: Measure | None = Measure(1.0)
        self.asked: list[set[str]] = []

    async def of(self, pods: Iterable[MeasuredPod]) -> dict[MeasuredPod, Measure]:
        pods = list(pods)
        self.asked.append({one.name for one in pods})
        if self.measure is None:
            raise MetricsUnavailable("Prometheus is on holiday")
        return dict.fromkeys(pods, self.measure)


class Kubelet:
    """Counts what the pod sends at `rate_bps`, a window further with every question."""

    def __init__(self, rate_bps: float) -> None:
        self.rate_bps = rate_bps
        self.away = False
        self._time_s, self._sent_b = NOW_S, 0

    async def counters(self) -> list[PodCounters]:
        if self.away:
            raise MetricsUnavailable("the kubelet is away")
        self._time_s += _WINDOW_S
        self._sent_b += int(self.rate_bps * _WINDOW_S / 8)
        return [PodCounters("shop", "web-1", "uid-web-1", self._sent_b, 0, self._time_s)]


def column(memory: MemoryStore) -> MemoryColumnStore:
    return MemoryColumnStore(memory, node=NODE, holder="agent-1")


async def test_a_measure_of_prometheus_takes_the_place_of_the_mere_success(api: FakeApi, memory: MemoryStore) -> None:
    """A measure that moves by less than 0.02 writes nothing; one that is lost keeps what was learned."""
    api.put(pod("web-1", running(NOW_S - 300)))
    api.put(pod("done-1", phase="Succeeded", policy="Never", pod_type="done"))
    prometheus = Prometheus()
    prometheus.measure = Measure(0.4)
    every = {"measure": {"every_s": 1.0}}
    async with agent_on(api, column(memory), every, measures=prometheus) as agent:
        await until(lambda: agent.estimate() is not None and agent.estimate().mean == pytest.approx(0.4))
        prometheus.measure = Measure(0.41)
        await until(lambda: len(prometheus.asked) > 20)
        assert agent.estimate().mean == pytest.approx(0.4)
        prometheus.measure = Measure(0.8)
        await until(lambda: agent.estimate().mean == pytest.approx(0.8))
        prometheus.measure = None
        await until(lambda: agent.lines("no measures"))
        assert agent.estimate().mean == pytest.approx(0.8)
        assert agent.estimate().evidence == pytest.approx(1.0)
    assert all(asked <= {"web-1"} for asked in prometheus.asked)


async def test_a_query_that_gives_no_measure_is_told_once(api: FakeApi, memory: MemoryStore) -> None:
    api.put(pod("web-1", running(NOW_S - 300)))
    prometheus = Prometheus()
    prometheus.measure = Measure(None, "the query gives 2.0; make it 0 to 1")
    async with agent_on(api, column(memory), {"measure": {"every_s": 1.0}}, measures=prometheus) as agent:
        await until(lambda: len(prometheus.asked) > 10)
        await until(lambda: agent.estimate() is not None)
        assert agent.estimate().mean == 1.0
        await until(lambda: api.posted)
    assert [event["reason"] for _, event in api.posted] == ["BadRewardMeasure"]


async def test_a_pod_that_prometheus_has_not_come_by_yet_is_not_told_of(api: FakeApi, memory: MemoryStore) -> None:
    """Of two pods without a series the one that runs for more than 120 s, success_after_s, is told of."""
    api.put(pod("new-1", running(NOW_S - 60)))
    api.put(pod("web-1", running(NOW_S - 121)))
    prometheus = Prometheus()
    prometheus.measure = Measure(None, "the query gives no series")
    async with agent_on(api, column(memory), {"measure": {"every_s": 1.0}}, measures=prometheus) as agent:
        await until(lambda: len(prometheus.asked) > 10 and api.posted)
        assert [line["pod"] for line in agent.lines("measure not used")] == ["shop/web-1"]
        agent.time.now_s += 61
        await until(lambda: len(agent.lines("measure not used")) == 2)
        assert agent.lines("measure not used")[1]["pod"] == "shop/new-1"


async def test_bad_measures_of_two_kinds_are_told_once_each_however_they_vary(
    api: FakeApi, memory: MemoryStore
) -> None:
    """The annotation is judged every second, the query gives another wrong number every time: two Events."""
    api.put(pod("web-1", running(NOW_S - 300), annotations={"kubesteer.io/reward": "good"}))
    prometheus = Prometheus()
    async with agent_on(api, column(memory), {"measure": {"every_s": 1.0}}, measures=prometheus) as agent:
        for tenth in range(11, 31):
            prometheus.measure = Measure(None, f"the query gives {tenth / 10}; make it 0 to 1")
            asked = len(prometheus.asked)
            await until(lambda: len(prometheus.asked) > asked)  # noqa: B023 - called before the next turn
        await until(lambda: len(api.posted) >= 2)
        await agent.turns()
    assert len(api.posted) == 2


async def test_a_pod_whose_problems_never_end_is_left_alone_after_eight(api: FakeApi, memory: MemoryStore) -> None:
    async with agent_on(api, column(memory)) as agent:
        await until(agent.agent.health.is_ready)
        for letter in "abcdefghijkl":
            api.put(pod("web-1", running(NOW_S - 10), annotations={"kubesteer.io/reward": letter}))
        await until(lambda: len(agent.lines("measure not used")) == 8)
        api.put(pod("web-2", running(NOW_S - 10), annotations={"kubesteer.io/reward": "a"}))
        await until(lambda: len(agent.lines("measure not used")) == 9)


async def test_a_measure_that_comes_when_its_pod_has_gone_counts_nothing_again(
    api: FakeApi, memory: MemoryStore
) -> None:
    leaving = pod("web-1", running(NOW_S - 300))
    api.put(leaving)
    prometheus = Prometheus()
    asked, answer = asyncio.Event(), asyncio.Event()
    original = prometheus.of

    async def slow(pods: Iterable[MeasuredPod]) -> dict[MeasuredPod, Measure]:
        asked.set()
        await answer.wait()
        return await original(pods)

    prometheus.of = slow  # type: ignore[method-assign]
    async with agent_on(api, column(memory), {"measure": {"every_s": 1.0}}, measures=prometheus) as agent:
        await until(lambda: agent.estimate() is not None)
        await until(asked.is_set)
        api.delete(leaving)
        await until(lambda: not agent.agent.book.runs)
        agent.agent.learning.step(agent.agent.book.runs)
        answer.set()
        await until(lambda: len(prometheus.asked) > 2)
        assert agent.agent.column.counted == 1


@pytest.mark.parametrize(
    ("rate_bps", "host_network", "mean"),
    [
        pytest.param(60e6, False, 0.6, id="60M of the 100M it asked for"),
        pytest.param(300e6, False, 1.0, id="more than it asked for"),
        pytest.param(5e6, False, 1.0, id="it had next to nothing to send"),
        pytest.param(60e6, True, 1.0, id="on the host's network the counters are the node's"),
    ],
)
async def test_a_pod_is_worth_the_part_of_its_asked_rate_that_it_got(
    api: FakeApi, memory: MemoryStore, rate_bps: float, host_network: bool, mean: float
) -> None:
    asking = pod("web-1", running(NOW_S - 300), egress="100M")
    asking["spec"]["hostNetwork"] = host_network
    api.put(asking)
    kubelet = Kubelet(rate_bps)
    asked = 0
    original = kubelet.counters

    async def counting() -> list[PodCounters]:
        nonlocal asked
        asked += 1
        return await original()

    kubelet.counters = counting  # type: ignore[method-assign]
    async with agent_on(api, column(memory), {"kubelet": {"every_s": 1.0}}, kubelet=kubelet) as agent:
        await until(lambda: asked > 10 and agent.estimate() is not None)
        await until(lambda: agent.estimate().mean == pytest.approx(mean))


async def test_a_kubelet_that_does_not_answer_changes_nothing_that_was_learned(
    api: FakeApi, memory: MemoryStore
) -> None:
    api.put(pod("web-1", running(NOW_S - 300), egress="100M"))
    kubelet = Kubelet(60e6)
    async with agent_on(api, column(memory), {"kubelet": {"every_s": 1.0}}, kubelet=kubelet) as agent:
        await until(lambda: agent.estimate() is not None and agent.estimate().mean == pytest.approx(0.6))
        kubelet.away = True
        await until(lambda: agent.lines("no traffic of pods"))
        agent.time.now_s += 60
        for _ in range(3):
            agent.agent.learning.step(agent.agent.book.runs)
        assert agent.estimate().mean == pytest.approx(0.6)
