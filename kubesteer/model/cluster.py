"""Nodes and pods as the few numbers that count. Reads API objects through model.objects; no I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kubesteer.model import objects
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.overrides import Override, pod_override
from kubesteer.model.requests import PodRequests, amount, annotation_fault, pod_requests
from kubesteer.model.usual_requests import usual_requests

NO_CAPACITY = -1
"""Capacity of a direction that a node does not publish; 0 is a node that has none to give."""

MEASURED_ANNOTATION = "kubesteer.io/measured-traffic"
_LONGEST_VERSION = 20
"""Digits of an unsigned 64-bit number."""
_TERMINAL = frozenset({"Succeeded", "Failed"})
_NOT_READY_TAINTS = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
_TYPE_LABELS = ("podtype", "app.kubernetes.io/name", "app", "name")


@dataclass(frozen=True, slots=True)
class MeasuredTraffic:
    """Traffic seen on a node, bit/s by direction (in the order of the network resources), and when (unix seconds)."""

    rate_bps: tuple[float, ...]
    time_s: float


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """One node: allocatable millicores, bytes and bit/s by direction (NO_CAPACITY where it publishes none).

    fault says what on the node object cannot be used; such a node takes no pod until that is mended.
    made: its boot and its kubelet's version, empty where the object does not tell; cordoned: spec.unschedulable.
    """

    name: str
    cpu_m: int = 0
    memory_b: int = 0
    network_bps: tuple[int, ...] = ()
    ready: bool = True
    fault: str | None = None
    measured: MeasuredTraffic | None = None
    made: str = ""
    cordoned: bool = False


@dataclass(frozen=True, slots=True)
class PodSummary:
    """One pod: identity, where it is, what it asks for.

    uid: the API's, or namespace/name where the object has none. node is empty while the pod is pending.
    priority: spec.priority, 0 where there is none. nominated_node: where preemption makes room for it, or empty.
    version: metadata.resourceVersion as a number, which the API server counts up; 0 where it is none.
    unscheduled: what condition PodScheduled=False says (time, reason, message), empty without it: another text is the
        news of another failed attempt.
    fault: what on the pod can never be right, such as an annotation that the runtime would refuse; no node takes it.
    override: what its annotations choose for it alone; None where they choose nothing.
    scheduler: its schedulerName.
    placed_s: when it got its node, unix seconds as condition PodScheduled=True tells them; 0 where it tells nothing.
    """

    uid: str
    namespace: str
    name: str
    pod_type: str
    requests: PodRequests
    node: str = ""
    terminal: bool = False
    tolerates_not_ready: bool = False
    priority: int = 0
    nominated_node: str = ""
    version: int = 0
    unscheduled: str = ""
    fault: str | None = None
    override: Override | None = None
    scheduler: str = ""
    placed_s: float = 0.0


def summarise_pod(pod: objects.Pod, network: Sequence[NetworkResource]) -> PodSummary:
    """The numbers of one pod. Raises InvalidQuantity, naming field, value and rule, for what the API server refuses.

    What the API server takes and the container runtime refuses becomes the pod's fault.
    """
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    namespace = metadata.namespace or "default"
    return PodSummary(
        uid=metadata.uid or f"{namespace}/{metadata.name}",
        namespace=namespace,
        name=metadata.name,
        pod_type=pod_type(metadata),
        requests=usual_requests(pod, network) or pod_requests(pod, network),
        node=spec.node_name or "",
        terminal=status is not None and status.phase in _TERMINAL,
        tolerates_not_ready=any(map(_tolerates_not_ready, spec.tolerations or ())),
        priority=spec.priority or 0,
        nominated_node=(status.nominated_node_name if status else None) or "",
        version=_version(metadata.resource_version),
        unscheduled=_unscheduled(status.conditions if status else None),
        fault=annotation_fault(pod, network),
        override=pod_override(metadata.annotations),
        scheduler=spec.scheduler_name or "",
        placed_s=_placed_s(status.conditions if status else None),
    )


def _placed_s(conditions: Sequence[objects.PodCondition] | None) -> float:
    for condition in conditions or ():
        if condition.type == "PodScheduled" and condition.status == "True":
            try:
                return datetime.fromisoformat(str(condition.last_transition_time)).timestamp()
            except (ValueError, OverflowError):
                return 0.0
    return 0.0


def _version(resource_version: str | None) -> int:
    text = resource_version or ""
    return int(text) if len(text) <= _LONGEST_VERSION and text.isascii() and text.isdigit() else 0


def _unscheduled(conditions: Sequence[objects.PodCondition] | None) -> str:
    for condition in conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.last_transition_time or ''}|{condition.reason or ''}|{condition.message or ''}"
    return ""


def unusable_pod(pod: objects.Pod, network: Sequence[NetworkResource], fault: str) -> PodSummary:
    """A pod whose requests cannot be read: what it is, and why no node takes it."""
    metadata = pod.metadata
    namespace = metadata.namespace or "default"
    uid = metadata.uid or f"{namespace}/{metadata.name}"
    nothing = PodRequests(network_bps=(0,) * len(network), by_annotation=(False,) * len(network))
    override = pod_override(metadata.annotations)
    return PodSummary(uid, namespace, metadata.name, pod_type(metadata), nothing, fault=fault, override=override)


def pod_type(metadata: objects.Metadata) -> str:
    """Label podtype, else app.kubernetes.io/name, app, name, else the controller's name, else the pod's own."""
    labels = metadata.labels or {}
    for label in _TYPE_LABELS:
        if value := labels.get(label):
            return value
    owners = metadata.owner_references or ()
    for owner in owners:
        if owner.controller:
            return owner.name
    return owners[0].name if owners else metadata.name


def _tolerates_not_ready(toleration: objects.Toleration) -> bool:
    """Agents such as a CNI plugin's must reach nodes that are not ready yet, or these never become ready.

    Every pod gets tolerations of NoExecute from the API server: those only let it stay.
    """
    if toleration.effect not in {None, "", "NoSchedule"}:
        return False
    return toleration.key in _NOT_READY_TAINTS or (not toleration.key and toleration.operator == "Exists")


def summarise_node(node: objects.Node, network: Sequence[NetworkResource]) -> NodeSummary:
    """The numbers of one node. A field that cannot be used becomes its fault; nothing is raised."""
    name = node.metadata.name
    try:
        allocatable = (node.status.allocatable if node.status else None) or {}
        return NodeSummary(
            name=name,
            cpu_m=amount(allocatable, "cpu", "status.allocatable", milli=True),
            memory_b=amount(allocatable, "memory", "status.allocatable"),
            network_bps=tuple(_capacity(allocatable, resource) for resource in network),
            ready=_is_ready(node.status.conditions if node.status else None),
            measured=_measured((node.metadata.annotations or {}).get(MEASURED_ANNOTATION), network),
            made=_made(node.status.node_info if node.status else None),
            cordoned=bool(node.spec and node.spec.unschedulable),
        )
    except InvalidQuantity as exc:
        return NodeSummary(name=name, network_bps=(NO_CAPACITY,) * len(network), fault=str(exc))


def _made(info: objects.NodeInfo | None) -> str:
    return f"{info.boot_id}|{info.kubelet_version}" if info is not None and info.boot_id else ""


def _capacity(allocatable: objects.Quantities, resource: NetworkResource) -> int:
    for name in resource.resource_names:
        if name in allocatable:
            return amount(allocatable, name, "status.allocatable")
    return NO_CAPACITY


def _is_ready(conditions: Sequence[objects.Condition] | None) -> bool:
    """Ready unless the node says otherwise: a template node of an autoscaler has no conditions."""
    return all(c.status == "True" for c in conditions or () if c.type == "Ready")


def _measured(annotation: str | None, network: Sequence[NetworkResource]) -> MeasuredTraffic | None:
    """Reads {"egress_bps": 3.1e9, "ingress_bps": 2e8, "time": "2026-11-22T22:41:07Z"}.

    None where it is absent or cannot be read: a measurement that is not there is not used, as a stale one is not.
    """
    if annotation is None:
        return None
    try:
        value = json.loads(annotation)
        rates = tuple(float(value.get(f"{resource.direction}_bps", 0.0)) for resource in network)
        time = datetime.fromisoformat(value["time"])
    except (AttributeError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if time.tzinfo is None or not all(0 <= rate < float("inf") for rate in rates):
        return None
    return MeasuredTraffic(rates, time.timestamp())
