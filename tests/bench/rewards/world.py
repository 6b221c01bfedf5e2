"""The simulated cluster: arrivals, a scheduler that is kubesteer's engine, kubelets that run, crash and restart pods.

Events in order of time on a clock of its own. What is believed of a pair comes from the mind that it is given, and
every change of a pod's status is told to it. Nothing is measured here but what happened.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kubesteer.model.cluster import PodSummary
from kubesteer.model.runs import ContainerRuns, PodRuns, RunEnd
from kubesteer.placement.candidates import Circumstances, from_table
from kubesteer.placement.engine import Engine
from kubesteer.placement.table import NETWORK, NodeTable
from tests.bench.rewards import scene as scenes
from tests.bench.rewards.scene import BAD_TYPE, NODES, START_S, TYPES, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLUSH_S = 1.0
"""The agents' `flush_s`: changes are written together after this."""
SPREAD_EVERY_S = 900.0
FEWEST_FOR_SHARE = 10
"""Running pods of the bad type from which on their largest share on one node says anything."""


Known = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]
"""By row: what the score goes by, the belief's mean, its evidence."""


class Mind(Protocol):
    """What a policy knows of the pairs. Times are unix seconds, nodes are rows."""

    def saw(self, node: int, pod: PodRuns, now_s: float) -> float | None:
        """A pod's status is this now. Answers when to look at it again though nothing changes, or None."""

    def gone(self, node: int, pod: PodRuns) -> None:
        """The pod was deleted from the API."""

    def publish(self, now_s: float) -> None:
        """What was seen since the last time is written, and read by the scheduler."""

    def opinion(self, pod: PodSummary, rows: NDArray[np.intp], now_s: float) -> Known | None:
        """What is known of the pod's type on these rows, None where nothing is known of any pair."""


@dataclass(slots=True)
class Trace:
    """What happened. Times are seconds from the start.

    placed_s, placed_on, placed_type: each pod that got a node. failed_s, failed_on, failed_type: each failed run; the
    time is when it started, since faults are told by it.
    spread: at every look, by resource the standard deviation of fullness over the nodes. largest_share: of the running
    pods of the bad type on one node, at its highest. never_placed: pods of any type still waiting at the end.
    """

    placed_s: list[float] = field(default_factory=list)
    placed_on: list[int] = field(default_factory=list)
    placed_type: list[int] = field(default_factory=list)
    failed_s: list[float] = field(default_factory=list)
    failed_on: list[int] = field(default_factory=list)
    failed_type: list[int] = field(default_factory=list)
    spread: list[tuple[float, ...]] = field(default_factory=list)
    largest_share: float = 0.0
    never_placed: int = 0
    waited_s: float = 0.0


@dataclass(slots=True)
class _Pod:
    """One pod on its node: what the API would say of it, and where it stands in its back-off."""

    number: int
    summary: PodSummary
    runs: PodRuns
    node: int
    back_off_s: float = scenes.BACK_OFF_S
    gone: bool = False


class World:
    """One simulation. `run` may be called once."""

    def __init__(self, scene: Scene, engine: Engine, nodes: NodeTable, mind: Mind) -> None:
        """nodes: those of scene.node_table, in which pods are put."""
        self._scene = scene
        self._engine = engine
        self._mind = mind
        self._table = nodes
        self._rows = np.arange(NODES)
        self._requests = [one.requests() for one in TYPES]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = count()
        self._waiting: deque[tuple[int, float]] = deque()
        self._here = np.zeros(NODES, np.int64)
        self._is_to_be_told = False
        self._now_s = 0.0
        self._trace = Trace()

    def run(self) -> Trace:
        """From the empty cluster to the end of the scene."""
        self._after(0.0, self._arrive, 0)
        self._after(SPREAD_EVERY_S, self._measure)
        while self._events and self._events[0][0] < self._scene.length_s:
            self._now_s, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        self._trace.never_placed = len(self._waiting)
        return self._trace

    def _after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self._now_s + delay_s, next(self._serial), action, arguments))

    @property
    def _unix_s(self) -> float:
        return START_S + self._now_s

    def _tell_table(self) -> None:
        self._is_to_be_told = False
        self._mind.publish(self._unix_s)

    def _measure(self) -> None:
        fullness = self._table.requested[:, self._rows] / self._table.allocatable[:, self._rows]
        self._trace.spread.append(tuple(fullness.std(axis=1)[: NETWORK + 1].tolist()))
        self._after(SPREAD_EVERY_S, self._measure)

    def _arrive(self, number: int) -> None:
        if number + 1 < len(self._scene.arrival_s):
            self._after(float(self._scene.arrival_s[number + 1]) - self._now_s, self._arrive, number + 1)
        self._waiting.append((number, self._now_s))
        self._place_waiting()

    def _place_waiting(self) -> None:
        """First come, first served; a pod that fits nowhere waits for one that leaves."""
        while self._waiting:
            number, since_s = self._waiting[0]
            kind = int(self._scene.type_of[number])
            summary = PodSummary(f"pod-{number}", "default", f"pod-{number}", TYPES[kind].name, self._requests[kind])
            node = self._choose(summary)
            if node is None:
                return
            self._waiting.popleft()
            self._trace.waited_s += self._now_s - since_s
            self._start(number, summary, node)

    def _choose(self, pod: PodSummary) -> int | None:
        """The engine's short list of one, which decides alone."""
        reward, mean, evidence = self._mind.opinion(pod, self._rows, self._unix_s) or (None, None, None)
        circumstances = Circumstances(now_s=self._unix_s, reward=reward, mean=mean, evidence=evidence)
        filtered = self._engine.filter(pod, from_table(self._table, self._rows), circumstances, shortlist=1)
        return int(filtered.passed[0]) if len(filtered.passed) else None

    def _start(self, number: int, summary: PodSummary, node: int) -> None:
        kind = int(self._scene.type_of[number])
        self._table.put_pod(replace(summary, node=self._table.names[node], placed_s=self._unix_s))
        self._trace.placed_s.append(self._now_s)
        self._trace.placed_on.append(node)
        self._trace.placed_type.append(kind)
        if kind == BAD_TYPE:
            self._here[node] += 1
            if self._here.sum() >= FEWEST_FOR_SHARE:
                self._trace.largest_share = max(self._trace.largest_share, float(self._here.max() / self._here.sum()))
        runs = PodRuns(
            uid=summary.uid,
            namespace=summary.namespace,
            name=summary.name,
            pod_type=summary.pod_type,
            containers=(ContainerRuns("main", waiting_reason="ContainerCreating"),),
            phase="Pending",
            to_completion=TYPES[kind].job,
            scheduled_s=self._unix_s,
            started_s=self._unix_s,
        )
        pod = _Pod(number, summary, runs, node)
        self._tell(pod)
        self._after(float(self._scene.start_up_s[number]), self._run, pod, 0)
        if not TYPES[kind].job:
            self._after(float(self._scene.life_s[number]), self._delete, pod)

    def _run(self, pod: _Pod, run: int) -> None:
        if pod.gone:
            return
        luck, crash_s = self._scene.luck(pod.number, run)
        last = pod.runs.containers[0].ended
        main = ContainerRuns("main", restarts=run, running_since_s=self._unix_s, last=last)
        ready_s = self._unix_s if run == 0 else pod.runs.ready_s
        pod.runs = replace(pod.runs, containers=(main,), phase="Running", ready_s=ready_s)
        self._tell(pod)
        kind = int(self._scene.type_of[pod.number])
        if luck < self._scene.fail_rate(pod.node, kind, self._now_s):
            self._after(crash_s, self._crash, pod, run, crash_s)
        elif TYPES[kind].job:
            self._after(float(self._scene.life_s[pod.number]), self._complete, pod)

    def _crash(self, pod: _Pod, run: int, ran_s: float) -> None:
        if pod.gone:
            return
        self._trace.failed_s.append(self._now_s - ran_s)
        self._trace.failed_on.append(pod.node)
        self._trace.failed_type.append(int(self._scene.type_of[pod.number]))
        pod.runs = replace(pod.runs, containers=(self._ended(pod, 1, "Error"),))
        self._tell(pod)
        if ran_s >= scenes.BACK_OFF_RESET_S:
            pod.back_off_s = scenes.BACK_OFF_S
        self._after(pod.back_off_s, self._run, pod, run + 1)
        pod.back_off_s = min(2 * pod.back_off_s, scenes.LONGEST_BACK_OFF_S)

    def _complete(self, pod: _Pod) -> None:
        pod.runs = replace(pod.runs, containers=(self._ended(pod, 0, "Completed"),), phase="Succeeded")
        self._tell(pod)
        self._leave(pod)

    def _delete(self, pod: _Pod) -> None:
        pod.runs = replace(pod.runs, deleting_since_s=self._unix_s)
        self._tell(pod)
        self._leave(pod)

    def _ended(self, pod: _Pod, exit_code: int, reason: str) -> ContainerRuns:
        main = pod.runs.containers[0]
        return replace(main, running_since_s=None, ended=RunEnd(exit_code, reason, main.running_since_s, self._unix_s))

    def _leave(self, pod: _Pod) -> None:
        pod.gone = True
        self._mind.gone(pod.node, pod.runs)
        self._table.delete_pod(pod.summary.uid)
        if self._scene.type_of[pod.number] == BAD_TYPE:
            self._here[pod.node] -= 1
        self._place_waiting()

    def _tell(self, pod: _Pod) -> None:
        again_s = self._mind.saw(pod.node, pod.runs, self._unix_s)
        if not self._is_to_be_told:
            self._is_to_be_told = True
            self._after(FLUSH_S, self._tell_table)
        if again_s is not None:
            self._after(max(again_s - self._unix_s, 0.001), self._look, pod, pod.runs)

    def _look(self, pod: _Pod, then: PodRuns) -> None:
        """Nothing has changed since, but time has passed."""
        if pod.runs is then and not pod.gone:
            self._tell(pod)
