"""kubeRL's rules from pod states to rewards, for `learner: ewma`, so that the two can be compared.

    phase Failed or Unknown                                     0.0
    Running, every container runs and none ever ended           1.0
    Running, a container is in state terminated: its first end  0.5
    ... a later end, after it ran longer than the MTTF (600 s)  0.5
    ... a later end, sooner                                     0.0
    Running, waits (CrashLoopBackOff) or runs again             no update
    Pending, Succeeded, deleted                                 no update

kubeRL moved three means with every reward: (type, node), (type, all nodes) and (node, all types). Here only the first
is learned and stored; readers make the other two. Two of its faults are left out: a run's length is the true one, and
only a change of state counts, not every event about the pod. A state is an Outcome with an identity of its own, so the
column drops what it has counted, as it does with other outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubesteer.model.runs import ContainerRuns, Outcome, PodRuns, RunEnd, Stage
from kubesteer.rewards.judging import Judgement, JudgingContext, Rules

REWARD_RUNNING, REWARD_UNSEEN, REWARD_FAILED = 1.0, 0.5, 0.0


def judge(pod: PodRuns, rules: Rules, surroundings: JudgingContext, now_s: float) -> Judgement:
    """What kubeRL would learn of the pod's state; asked as kubesteer.rewards.judging.judge is, and no less often.

    Not to be asked when the pod was deleted. Of the rules only mttf_s counts, of the surroundings nothing.
    """
    return Judgement(tuple(_rewards(pod, rules.mttf_s, now_s)))


def _rewards(pod: PodRuns, mttf_s: float, now_s: float) -> Iterator[Outcome]:
    if pod.phase in ("Failed", "Unknown"):
        yield _outcome(pod, "", Stage.RUN, 0, REWARD_FAILED, pod.phase, now_s)
    elif pod.phase == "Running":
        containers = [one for one in pod.containers if not one.init]
        ended = [(one, one.ended) for one in containers if one.ended is not None]
        for one, end in ended:
            value = REWARD_UNSEEN if one.restarts == 0 or _ran_s(end) > mttf_s else REWARD_FAILED
            time_s = now_s if end.finished_s is None else end.finished_s
            yield _outcome(pod, one.name, Stage.RUN, one.restarts, value, "Terminated", time_s)
        if containers and all(_runs_for_the_first_time(one) for one in containers):
            yield _outcome(pod, "", Stage.START, 0, REWARD_RUNNING, "Running", now_s)


def _runs_for_the_first_time(container: ContainerRuns) -> bool:
    return container.running_since_s is not None and container.restarts == 0 and container.last is None


def _ran_s(end: RunEnd) -> float:
    return 0.0 if end.started_s is None or end.finished_s is None else end.finished_s - end.started_s


def _outcome(pod: PodRuns, container: str, stage: Stage, run: int, value: float, reason: str, time_s: float) -> Outcome:
    where = f"{pod.namespace}/{pod.name}"
    return Outcome(pod.pod_type, pod.uid, where, container, stage, run, value, reason, time_s)
