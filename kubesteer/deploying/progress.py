"""How far a deployment has come, part by part, and what a part hangs on: judged over one look at the namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubesteer.deploying.workloads import WORKLOADS, Rollout, condition, is_ready, pod_template, rollout
from kubesteer.model.api_objects import Thing, labels

LOOK_KINDS = ("deployments", "statefulsets", "daemonsets", "pods", "persistentvolumeclaims", "events")
"""What one look at the namespace lists, beside the Secrets' names and the cluster's nodes."""
_ORDER = ("kubesteer-etcd", "kubesteer-keeper", "kubesteer-extender", "kubesteer-agent", "kubesteer-scheduler")
_QUIET = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons that say no more than that it takes its time; events say why."""
_MOST_WHYS = 4


@dataclass(frozen=True, slots=True)
class Look:
    """The namespace at one moment."""

    things: Sequence[Thing]
    secrets: frozenset[str]
    nodes: Sequence[Thing] = ()

    def of(self, kind: str) -> list[Thing]:
        """Those of one kind."""
        return [each for each in self.things if each["kind"] == kind]


@dataclass(frozen=True, slots=True)
class Part:
    """One part: ready of wanted, and why it is not done; whys are empty where nothing is known to be wrong.

    is_enough: it is not done and works, and what is missing has no node to go to, so there is nothing to wait for.
    """

    name: str
    ready: int
    wanted: int
    is_done: bool
    whys: tuple[str, ...] = ()
    is_enough: bool = False


def parts(wanted: Iterable[Thing], look: Look) -> list[Part]:
    """Certificates first, then what needs them."""
    workloads = sorted((each for each in wanted if each["kind"] in WORKLOADS), key=_place)
    names = sorted({name for each in workloads for name in _secret_names(each)})
    missing = [name for name in names if name not in look.secrets]
    whys = (f"nobody made {', '.join(missing)}",) if missing else ()
    first = [Part("certificates", len(names) - len(missing), len(names), not missing, whys)] if names else []
    return [*first, *(_part(each, look) for each in workloads)]


def _place(workload: Thing) -> tuple[int, str]:
    name = workload["metadata"]["name"]
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _secret_names(workload: Thing) -> Iterator[str]:
    for volume in pod_template(workload)["spec"].get("volumes", ()):
        secret = volume.get("secret") or {}
        if secret and not secret.get("optional"):
            yield secret["secretName"]
        for source in (volume.get("projected") or {}).get("sources", ()):
            if "secret" in source and not source["secret"].get("optional"):
                yield source["secret"]["name"]


def _part(wanted: Thing, look: Look) -> Part:
    name = wanted["metadata"]["name"]
    there = next((each for each in look.of(wanted["kind"]) if each["metadata"]["name"] == name), None)
    short = name.removeprefix("kubesteer-")
    if there is None:
        return Part(short, 0, 1, is_done=False, whys=(f"{wanted['kind']} {name} is not there",))
    lost = lost_nodes(look.nodes)
    found = rollout(there, lost_nodes=len(lost))
    pods = [each for each in look.of("Pod") if _selected(each, there)]
    whys = tuple(_whys(there, pods, look, lost)) if not found.is_done else ()
    enough = not found.is_done and there["kind"] == "StatefulSet" and _has_quorum(found, pods, lost)
    return Part(short, found.ready, found.wanted, found.is_done, whys[:_MOST_WHYS], enough)


def _has_quorum(found: Rollout, pods: Sequence[Thing], lost: set[str]) -> bool:
    """More than half of etcd's members are ready and new, and no node takes the others."""
    missing = [each for each in pods if not is_ready(each)]
    homeless = [
        each for each in missing if each["spec"].get("nodeName") in lost or condition(each, "PodScheduled") == "False"
    ]
    return found.is_current and 2 * found.ready > found.wanted == len(pods) and missing == homeless


def lost_nodes(nodes: Iterable[Thing]) -> set[str]:
    """Those whose kubelet is silent, or says that it is not ready."""
    return {each["metadata"]["name"] for each in nodes if condition(each, "Ready") != "True"}


def _selected(pod: Thing, workload: Thing) -> bool:
    wanted = workload["spec"]["selector"]["matchLabels"]
    own = labels(pod)
    return all(own.get(name) == value for name, value in wanted.items())


def _whys(workload: Thing, pods: Sequence[Thing], look: Look, lost: set[str]) -> Iterator[str]:
    waiting = [each for each in pods if not is_ready(each) and each["spec"].get("nodeName") not in lost]
    events = [each for each in look.of("Event") if each.get("type") == "Warning"]
    told: set[str] = set()
    for pod in waiting:
        why = _of_pod(pod) or _of_claims(pod, look) or _newest(events, {pod["metadata"]["name"]})
        if why and why not in told:
            told.add(why)
            yield f"{pod['metadata']['name']}: {why}"
    silent = [each for each in pods if not is_ready(each) and each["spec"].get("nodeName") in lost]
    yield from (f"{each['metadata']['name']}: its node {each['spec']['nodeName']} is silent" for each in silent)
    if not (waiting or silent):
        name = workload["metadata"]["name"]
        owners = [each["involvedObject"] for each in events if each["involvedObject"].get("kind") != "Pod"]
        if why := _newest(events, {each["name"] for each in owners if each["name"].startswith(name)}):
            yield why


def _of_pod(pod: Mapping[str, Any]) -> str:
    """What its status says: the scheduler's words, or a container's."""
    status = pod.get("status") or {}
    for row in status.get("conditions") or ():
        if row["type"] == "PodScheduled" and row["status"] == "False":
            return f"{row.get('reason', 'Unschedulable')}: {row.get('message', '')}".strip()
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = container.get("state") or {}
        waiting, last = state.get("waiting") or {}, (container.get("lastState") or {}).get("terminated") or {}
        if last and waiting.get("reason") == "CrashLoopBackOff":
            return f"{container['name']} ends with {last.get('exitCode')} ({last.get('reason')}) again and again"
        if waiting.get("reason") and waiting["reason"] not in _QUIET:
            return f"{container['name']}: {waiting['reason']}: {waiting.get('message', '')}".strip(": ")
        if "running" in state and not container.get("ready"):
            return f"{container['name']} runs and is not ready, {container.get('restartCount', 0)} restarts"
    return ""


def _of_claims(pod: Thing, look: Look) -> str:
    """A volume that nobody gives."""
    names = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    pending = [
        each["metadata"]["name"]
        for each in look.of("PersistentVolumeClaim")
        if each["metadata"]["name"] in names and (each.get("status") or {}).get("phase") == "Pending"
    ]
    return f"volume claim {pending[0]} is not bound" if pending else ""


def _newest(events: Iterable[Thing], names: set[str]) -> str:
    """The newest warning about one of these objects."""
    about = [each for each in events if each["involvedObject"]["name"] in names]
    if not about:
        return ""
    last = max(about, key=lambda each: each.get("lastTimestamp") or each.get("eventTime") or "")
    return f"{last.get('reason', '')}: {' '.join(last.get('message', '').split())}"


def settled(found: Sequence[Part]) -> bool:
    """All parts are done, or as far as they can come."""
    return all(each.is_done or each.is_enough for each in found)
