"""How far a deployment has come, part by part, and what a part hangs on: judged over one look at the namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.workloads import WORKLOADS, Rollout, condition, is_ready, rollout
from kubesteer.model.api_objects import Thing, labels

WORKLOAD_KINDS = ("deployments", "statefulsets", "daemonsets")
REASON_KINDS = ("pods", "persistentvolumeclaims", "events")
"""What says why a part is not done; there may be a pod for each node."""
_ORDER = ("kubesteer-etcd", "kubesteer-keeper", "kubesteer-extender", "kubesteer-agent", "kubesteer-scheduler")
_QUIET = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons that say no more than that it takes its time; events say why."""
_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_MOST_WHYS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One part: ready of wanted, and why it is not done; whys are empty where nothing is known to be wrong.

    is_enough: not all of it is there, but it works, and no node takes the rest: there is nothing to wait for.
    no_image: a pod's image cannot be pulled; that is the first of whys.
    """

    name: str
    ready: int
    wanted: int
    is_done: bool
    whys: tuple[str, ...] = ()
    is_enough: bool = False
    no_image: bool = False


def parts(wanted: Iterable[Thing], things: Sequence[Thing], nodes: Iterable[Thing]) -> list[Part]:
    """In the order in which they get ready. things: what is in the namespace now."""
    lost = lost_nodes(nodes)
    workloads = sorted((each for each in wanted if each["kind"] in WORKLOADS), key=_place)
    return [_part(each, things, lost) for each in workloads]


def settled(found: Sequence[Part]) -> bool:
    """All parts are done, or as far as they can come."""
    return all(each.is_done or each.is_enough for each in found)


def lost_nodes(nodes: Iterable[Thing]) -> set[str]:
    """Those whose kubelet is silent, or says that it is not ready."""
    return {each["metadata"]["name"] for each in nodes if condition(each, "Ready") != "True"}


def _place(workload: Thing) -> tuple[int, str]:
    name = workload["metadata"]["name"]
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _part(wanted: Thing, things: Sequence[Thing], lost: set[str]) -> Part:
    name, kind = wanted["metadata"]["name"], wanted["kind"]
    short = name.removeprefix("kubesteer-")
    there = next((each for each in things if (each["kind"], each["metadata"]["name"]) == (kind, name)), None)
    if there is None:
        return Part(short, 0, 1, is_done=False, whys=(f"{kind} {name} is not there",))
    found = rollout(there, lost_nodes=len(lost))
    if found.is_done:
        return Part(short, found.ready, found.wanted, is_done=True)
    chosen = there["spec"]["selector"]["matchLabels"].items()
    pods = [each for each in things if each["kind"] == "Pod" and chosen <= labels(each).items()]
    # A pod that cannot have its image explains the others.
    whys = sorted(_whys(there, pods, things, lost), key=lambda each: not each[0])
    return Part(
        short,
        found.ready,
        found.wanted,
        is_done=False,
        whys=tuple(text for _, text in whys[:_MOST_WHYS]),
        is_enough=kind == "StatefulSet" and _has_quorum(found, pods, lost),
        no_image=any(is_image for is_image, _ in whys),
    )


def _has_quorum(found: Rollout, pods: Sequence[Thing], lost: set[str]) -> bool:
    """More than half of etcd's members are ready and new, and no node takes the others."""
    missing = [each for each in pods if not is_ready(each)]
    homeless = [
        each for each in missing if each["spec"].get("nodeName") in lost or condition(each, "PodScheduled") == "False"
    ]
    return found.is_current and 2 * found.ready > found.wanted == len(pods) and missing == homeless


def _whys(
    workload: Thing, pods: Sequence[Thing], things: Sequence[Thing], lost: set[str]
) -> Iterator[tuple[bool, str]]:
    """What each pod that is not ready hangs on, told once, and whether that is its image."""
    unready = [each for each in pods if not is_ready(each)]
    events = [each for each in things if each["kind"] == "Event" and each.get("type") == "Warning"]
    told: set[str] = set()
    for pod in unready:
        name, node = pod["metadata"]["name"], pod["spec"].get("nodeName")
        if node in lost:
            yield False, f"{name}: its node {node} is silent"
            continue
        is_image, why = _of_pod(pod)
        why = why or _of_claims(pod, things) or _newest(each for each in events if _about(each) == ("Pod", name))
        if why and why not in told:
            told.add(why)
            yield is_image, f"{name}: {why}"
    if not unready:
        name = workload["metadata"]["name"]
        of_owners = (each for each in events if _about(each)[0] != "Pod" and _about(each)[1].startswith(name))
        if why := _newest(of_owners):
            yield False, why


def _about(event: Thing) -> tuple[str, str]:
    about = event["involvedObject"]
    return about.get("kind", ""), about["name"]


def _of_pod(pod: Mapping[str, Any]) -> tuple[bool, str]:
    """What its status says, the scheduler's words or a container's, and whether its image cannot be pulled."""
    status = pod.get("status") or {}
    for row in status.get("conditions") or ():
        if row["type"] == "PodScheduled" and row["status"] == "False":
            return False, f"{row.get('reason', 'Unschedulable')}: {row.get('message', '')}".strip()
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        name, state = container["name"], container.get("state") or {}
        waiting, last = state.get("waiting") or {}, (container.get("lastState") or {}).get("terminated") or {}
        reason = waiting.get("reason", "")
        if reason in _NO_IMAGE:
            text = f"image {container.get('image', '')} cannot be pulled: {reason}: {waiting.get('message', '')}"
            return True, text.strip(": ")
        if last and reason == "CrashLoopBackOff":
            return False, f"{name} ends with {last.get('exitCode')} ({last.get('reason')}) again and again"
        if reason and reason not in _QUIET:
            return False, f"{name}: {reason}: {waiting.get('message', '')}".strip(": ")
        if "running" in state and not container.get("ready"):
            return False, f"{name} runs and is not ready, {container.get('restartCount', 0)} restarts"
    return False, ""


def _of_claims(pod: Thing, things: Sequence[Thing]) -> str:
    """A volume that nobody gives."""
    volumes = pod["spec"].get("volumes") or ()
    names = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
    for each in things:
        is_pending = (each.get("status") or {}).get("phase") == "Pending"
        if each["kind"] == "PersistentVolumeClaim" and each["metadata"]["name"] in names and is_pending:
            return f"volume claim {each['metadata']['name']} is not bound"
    return ""


def _newest(events: Iterable[Thing]) -> str:
    """The words of the newest."""
    last = max(events, key=lambda each: each.get("lastTimestamp") or each.get("eventTime") or "", default=None)
    return f"{last.get('reason', '')}: {' '.join(last.get('message', '').split())}" if last else ""
