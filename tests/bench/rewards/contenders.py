"""The policies that are held against each other, each as it runs in a cluster: agents that learn, a reader, an engine.

Agents: one real Column a node, fed by the real judges. Reader: the real RewardTable and RewardView. Only the store
between them is left out: what agents write is put into the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from extender.rewards import RewardView
from kubesteer.clients.rewards.port import SourceStatus
from kubesteer.placement.policy import Policy, ScorePolicy
from kubesteer.rewards import judging, kuberl
from kubesteer.rewards.column import Column
from kubesteer.rewards.judging import Judgement, JudgingContext, Rules
from kubesteer.rewards.learners import BetaLearner, EwmaLearner, Learner
from kubesteer.rewards.probation import Probation
from kubesteer.rewards.table import Belief, RewardTable
from kubesteer.rewards.usual import Baseline, usual_elsewhere
from tests.bench.rewards.scene import HALF_LIFE_S, NODES, START_S, TYPES, node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.model.runs import PodRuns
    from kubesteer.placement.table import NodeTable
    from tests.bench.rewards.scene import Scene
    from tests.bench.rewards.world import Known, Mind

    Floats = NDArray[np.float64]
    Judge = Callable[[PodRuns, Rules, JudgingContext, float], Judgement]

NOTHING, KUBERL, ORACLE = "no learning", "kubeRL's rule", "oracle"
BETA, THOMPSON, PROBATION = "Beta mean", "Beta Thompson", "Beta probation"
REFRESH_S = 60.0
"""Priors are brought up to date this often; the extender does it within a second, to no other effect but CPU time."""
OTHERS_S = 1800.0
"""What is usual elsewhere is looked up this often; agents look every 5 minutes, to the same medians."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy.

    steps: rewards are rounded down to so many steps, as kubeRL's integer score is; 0 leaves them. samples: choose by
    Thompson samples. probation: by this rule. knows_all: needs to learn nothing.
    """

    judge: Judge
    learner: Learner
    belief: Belief
    score: ScorePolicy = field(default_factory=ScorePolicy)
    steps: int = 0
    samples: bool = False
    probation: Probation | None = None
    knows_all: bool = False

    def policy(self) -> Policy:
        return Policy(score=self.score)

    def mind(self, nodes: NodeTable, scene: Scene, seed: int) -> Mind:
        return Oracle(scene) if self.knows_all else Agents(self, nodes, seed)


def beta(*, samples: bool = False, probation: Probation | None = None) -> Contender:
    """kubesteer's own, with its default settings."""
    belief = Belief(half_life_s=HALF_LIFE_S)
    return Contender(judging.judge, BetaLearner(HALF_LIFE_S), belief, samples=samples, probation=probation)


def kuberl_rule() -> Contender:
    """kubeRL's events, means and integer scores."""
    return Contender(kuberl.judge, EwmaLearner(), Belief(policy="ewma"), steps=10)


def contenders() -> dict[str, Contender]:
    """Those that the report is about."""
    return {
        NOTHING: Contender(judging.judge, BetaLearner(), Belief(policy="none")),
        KUBERL: kuberl_rule(),
        BETA: beta(),
        THOMPSON: beta(samples=True),
        PROBATION: beta(probation=Probation()),
        ORACLE: replace(beta(), knows_all=True),
    }


class _Store:
    """A store that was heard of just now."""

    _STATUS = SourceStatus(
        "bench", synced=True, last_contact_age_s=0.0, revision=0, records=0, skipped=0, last_error=None, resyncs=0
    )

    async def run(self) -> None:
        """Nothing comes from it by itself."""

    def status(self) -> SourceStatus:
        """Always fresh."""
        return self._STATUS

    def last_contact_age_s(self) -> float | None:
        """As in its status."""
        return self._STATUS.last_contact_age_s


class Oracle:
    """Satisfies world.Mind: knows every fault of a node at every time. What fails all the same nobody can avoid."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def saw(self, _row: int, _pod: PodRuns, _now_s: float) -> float | None:
        """Nothing is learned."""
        return None

    def gone(self, row: int, pod: PodRuns) -> None:
        """Nothing is kept."""

    def publish(self, now_s: float) -> None:
        """Nothing is written."""

    def opinion(self, pod: PodSummary, rows: NDArray[np.intp], now_s: float) -> Known | None:
        """0 where a fault is now, 1 elsewhere."""
        now_s -= START_S
        reward = np.ones(len(rows))
        for one in self._scene.of_nodes:
            if TYPES[one.pod_type].name == pod.pod_type and one.from_s <= now_s < one.until_s:
                reward[one.node] = 0.0
        return reward, reward, reward


class Agents:
    """Satisfies world.Mind: every node's agent, and the reader of what they write."""

    def __init__(self, contender: Contender, nodes: NodeTable, seed: int) -> None:
        self._contender = contender
        self._columns = [Column(node(row).name, contender.learner) for row in range(NODES)]
        for column in self._columns:
            column.load((), 0.0)
        self._pods_on: list[set[str]] = [set() for _ in range(NODES)]
        self._changed: set[int] = set()
        self._table = RewardTable(contender.belief)
        self._view = RewardView(
            self._table,
            _Store(),
            nodes,
            stale_after_s=math.inf,
            sample_seed=seed if contender.samples else None,
            probation=contender.probation,
        )
        self._usual: dict[str, Baseline] = {}
        self._refresh_at_s = self._others_at_s = -math.inf
        self._rules = Rules()

    def saw(self, row: int, pod: PodRuns, now_s: float) -> float | None:
        """Judges and learns; nobody who learns nothing does."""
        if self._contender.belief.policy == "none":
            return None
        column = self._columns[row]
        self._pods_on[row].add(pod.uid)
        usual = self._usual.get(pod.pod_type, Baseline())
        around = JudgingContext(usual.startup_s, usual.duration_s, column.startup_of(pod.uid))
        judgement = self._contender.judge(pod, self._rules, around, now_s)
        column.take(pod, judgement, now_s)
        self._changed.add(row)
        return judgement.next_look_s

    def gone(self, row: int, pod: PodRuns) -> None:
        """The API tells of it no more, so what was counted of it may be forgotten."""
        self._pods_on[row].discard(pod.uid)
        self._columns[row].prune(self._pods_on[row])

    def publish(self, now_s: float) -> None:
        """What has changed is written and read."""
        for row in self._changed:
            batch = self._columns[row].take_batch(100)
            for record in batch.puts:
                self._table.put(record)
            self._columns[row].written(batch)
        self._changed.clear()
        if now_s >= self._refresh_at_s:
            self._table.refresh(now_s)
            self._refresh_at_s = now_s + REFRESH_S
        if now_s >= self._others_at_s:
            # Agents look at a sample each, of all nodes but their own; here all look at the same records.
            self._usual = usual_elsewhere(self._table.rows(), "", now_s)
            self._others_at_s = now_s + OTHERS_S

    def opinion(self, pod: PodSummary, rows: NDArray[np.intp], now_s: float) -> Known | None:
        """The view's, in kubeRL's steps where it is kubeRL's."""
        opinion = self._view.on(rows, pod, now_s)
        if opinion is None:
            return None
        reward, steps = opinion.reward, self._contender.steps
        if steps:
            # kubeRL stores six decimals.
            reward = np.floor(np.round(reward, 6) * steps) / steps
        return reward, opinion.mean, opinion.evidence
