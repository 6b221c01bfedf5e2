"""What is usual of a pod type elsewhere, round by round."""

from __future__ import annotations

import io
from collections.abc import Sequence

from kubesteer.model.reward import RewardRecord
from kubesteer.rewards.usual import Baseline
from monitor_agent.logs import make_log
from monitor_agent.others import OtherNodes
from tests.agent.builders import NODE, NOW_S


class Samples:
    """Answers each round with the next of these samples."""

    def __init__(self, *samples: Sequence[RewardRecord]) -> None:
        self._samples = list(samples)

    async def sample(self, _limit: int, _after: str) -> Sequence[RewardRecord]:
        return self._samples.pop(0)


def record(node: str, pod_type: str = "web", **samples: list[float]) -> RewardRecord:
    return RewardRecord(node, pod_type, 0.5, 2, NOW_S, samples)


async def test_a_round_that_finds_too_little_keeps_the_medians_that_are_known() -> None:
    store = Samples(
        [record("node-2", startup_s=[2.0, 4.0, 9.0], duration_s=[10.0, 20.0, 30.0])],
        [record("node-3", startup_s=[50.0, 50.0], duration_s=[60.0, 60.0, 60.0])],
        [record("node-4", "db", startup_s=[7.0, 7.0, 7.0])],
    )
    others = OtherNodes(NODE, store, records=10, unix_clock=lambda: NOW_S, log=make_log("debug", io.StringIO()))  # type: ignore[arg-type]
    found = []
    for _ in range(3):
        await others.step()
        found.append(others.of("web"))
    assert found == [Baseline(4.0, 20.0), Baseline(4.0, 60.0), Baseline(4.0, 60.0)]
    assert others.of("db") == Baseline(7.0, None)
