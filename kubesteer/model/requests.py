"""What a pod asks for, counted exactly as kube-scheduler counts it.

Source of the rules: component-helpers resource.PodRequests and the scheduler's NodeInfo, 1.37 (sidecars: KEP-753,
in-place resize: KEP-1287, pod-level resources: KEP-2837). Sums are exact nano-units; rounding up comes last, and then
no amount is above quantity.MOST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kubesteer.model import objects
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.quantity import (
    LONGEST_REMEMBERED,
    MOST,
    NANO_PER_MILLI,
    NANO_PER_UNIT,
    parse_quantity,
    shown,
    to_milli,
    to_units,
)

DEFAULT_CPU_M = 100
"""Counted as non-zero request for a container without a CPU request."""
DEFAULT_MEMORY_B = 200 * 1024 * 1024
"""Counted as non-zero request for a container without a memory request."""

_DEFAULTS = {"cpu": DEFAULT_CPU_M * NANO_PER_MILLI, "memory": DEFAULT_MEMORY_B * NANO_PER_UNIT}
_RUNTIME_LEAST_BPS, _RUNTIME_MOST_BPS = 10**3, 10**15
"""Bounds of a bandwidth annotation; beyond them the pod's sandbox fails."""
_POD_LEVEL = frozenset({"cpu", "memory"})
_HUGE_PAGES = "hugepages-"
_Sums = dict[str, int]
_Source = Callable[[objects.Container, objects.ContainerStatus | None, bool], objects.Quantities | None]


@dataclass(frozen=True, slots=True)
class PodRequests:
    """Requests of one pod: millicores, bytes, and bit/s by direction.

    The non-zero figures count a container that asks for nothing as 100 millicores and 200 MiB: as a node counts the
    pods it has, and as a scorer counts the pod that is coming; the two differ for pod-level resources only.
    by_annotation tells the directions whose SLO kube-scheduler does not see.
    """

    cpu_m: int = 0
    memory_b: int = 0
    nonzero_cpu_m: int = 0
    nonzero_memory_b: int = 0
    incoming_nonzero_cpu_m: int = 0
    incoming_nonzero_memory_b: int = 0
    network_bps: tuple[int, ...] = ()
    by_annotation: tuple[bool, ...] = ()


def pod_requests(pod: objects.Pod, network: Sequence[NetworkResource]) -> PodRequests:
    """The pod's requests. Raises InvalidQuantity that names field, value and rule."""
    wanted = frozenset(("cpu", "memory")).union(*(resource.resource_names for resource in network))
    exact = _effective(pod, wanted, {})
    incoming = nonzero = _effective(pod, wanted, _DEFAULTS) if _needs_defaults(pod) else exact
    if _asks_at_pod_level(pod.spec.resources):
        nonzero = _effective(pod, wanted, {name: nano for name, nano in _DEFAULTS.items() if name not in exact})
    asked = [_network_request(pod, exact, resource) for resource in network]
    return PodRequests(
        cpu_m=_millis(exact.get("cpu", 0)),
        memory_b=_units(exact.get("memory", 0)),
        nonzero_cpu_m=_millis(nonzero.get("cpu", 0)),
        nonzero_memory_b=_units(nonzero.get("memory", 0)),
        incoming_nonzero_cpu_m=_millis(incoming.get("cpu", 0)),
        incoming_nonzero_memory_b=_units(incoming.get("memory", 0)),
        network_bps=tuple(bps for bps, _ in asked),
        by_annotation=tuple(annotated for _, annotated in asked),
    )


def amount(quantities: objects.Quantities, name: str, field: str, *, milli: bool = False) -> int:
    """One quantity of a map in whole units (or thousandths), 0 where absent, MOST where it is more.

    Raises InvalidQuantity where it is malformed, negative, or, for an extended resource, no whole number.
    """
    if name not in quantities:
        return 0
    nano = _checked(name, quantities[name], field)
    return _millis(nano) if milli else _units(nano)


def _network_request(pod: objects.Pod, sums: Mapping[str, int], resource: NetworkResource) -> tuple[int, bool]:
    """Bit/s asked for in one direction, and whether an annotation asked; one that cannot be read counts as none."""
    for name in resource.resource_names:
        if nano := sums.get(name):
            return _units(nano), False
    annotation = (pod.metadata.annotations or {}).get(resource.annotation)
    asked_bps = 0 if annotation is None else annotated_bps(annotation)
    return asked_bps, asked_bps > 0


def annotated_bps(annotation: str) -> int:
    """Bit/s of a bandwidth annotation; of one that cannot be read, or is negative, 0."""
    return _remembered_bps(annotation) if len(annotation) <= LONGEST_REMEMBERED else _read_bps(annotation)


def _read_bps(annotation: str) -> int:
    try:
        return max(0, _units(parse_quantity(annotation)))
    except InvalidQuantity:
        return 0


_remembered_bps = lru_cache(maxsize=8192)(_read_bps)


def annotation_fault(pod: objects.Pod, network: Sequence[NetworkResource]) -> str | None:
    """What the container runtime would refuse of a pending pod's bandwidth annotations, on any node.

    A placed pod is past that, and a pod on the host's network is not shaped, so that nothing reads its annotations.
    Source: containerd internal/cri/bandwidth/utils.go.
    """
    annotations = pod.metadata.annotations
    if not annotations or pod.spec.node_name or pod.spec.host_network:
        return None
    faults = [
        _refusal(annotation, resource.annotation)
        for resource in network
        if (annotation := annotations.get(resource.annotation)) is not None
        and not _RUNTIME_LEAST_BPS <= annotated_bps(annotation) <= _RUNTIME_MOST_BPS
    ]
    return "; ".join(faults) or None


def _refusal(annotation: str, name: str) -> str:
    where = f"metadata.annotations[{name}]"
    try:
        asked_bps = to_units(parse_quantity(annotation))
    except InvalidQuantity as exc:
        return f"{where}: {exc}; 10M is 10 Mbit/s"
    side = "below" if asked_bps < _RUNTIME_LEAST_BPS else "above"
    return (
        f"{where}: {shown(annotation)} is {side} what container runtimes take; "
        "write 1k to 1P (bit/s), or leave the annotation out"
    )


def _effective(pod: objects.Pod, wanted: frozenset[str], defaults: Mapping[str, int]) -> _Sums:
    """Exact requests by resource name: containers, then pod-level resources, then overhead."""
    status, resize_infeasible = pod.status, _resize_infeasible(pod)
    sums = _aggregate(pod, wanted, defaults, _asked)
    if status is not None and _has_resize_status(status):
        if status.allocated_resources is not None and status.resources and status.resources.requests is not None:
            allocated = _nanos(status.allocated_resources, wanted, "status.allocatedResources")
            actual = _nanos(status.resources.requests, wanted, "status.resources.requests")
        else:
            allocated = _aggregate(pod, wanted, defaults, _allocated)
            actual = _aggregate(pod, wanted, defaults, _actual)
        sums = _maximum(*(() if resize_infeasible else (sums,)), actual, allocated)
    if pod.spec.resources is not None and _asks_at_pod_level(pod.spec.resources):
        asked = _nanos(pod.spec.resources.requests, wanted, "spec.resources.requests")
        if status is not None and status.resources is not None:
            asked = _maximum(
                {} if resize_infeasible else asked,
                _nanos(status.resources.requests, wanted, "status.resources.requests"),
                _nanos(status.allocated_resources, wanted, "status.allocatedResources"),
            )
        sums.update((name, nano) for name, nano in asked.items() if name in _POD_LEVEL)
    _add(sums, _nanos(pod.spec.overhead, wanted, "spec.overhead"))
    return sums


def _aggregate(pod: objects.Pod, wanted: frozenset[str], defaults: Mapping[str, int], source: _Source) -> _Sums:
    """Sum of the containers and sidecars, or the largest init container beside the sidecars started before it."""
    infeasible, statuses = _resize_infeasible(pod), _statuses(pod.status)

    def read(kind: str, container: objects.Container) -> _Sums:
        quantities = source(container, statuses.get(container.name), infeasible)
        sums = _nanos(quantities, wanted, f"spec.{kind}[{container.name}].resources.requests")
        return {**defaults, **sums} if defaults else sums

    total: _Sums = {}
    for container in pod.spec.containers or ():
        _add(total, read("containers", container))
    sidecars: _Sums = {}
    starting: _Sums = {}
    for container in pod.spec.init_containers or ():
        own = read("initContainers", container)
        if container.restart_policy == "Always":
            _add(total, own)
            _add(sidecars, own)
        else:
            _add(own, sidecars)
            starting = _maximum(starting, own)
    return _maximum(total, starting)


def _asked(
    container: objects.Container, _status: objects.ContainerStatus | None, _infeasible: object
) -> objects.Quantities | None:
    """The spec, with limits standing in for requests that are absent, as the API server fills them in."""
    resources = container.resources
    if resources is None:
        return None
    requests, limits = resources.requests, resources.limits
    if not limits or (requests and requests.keys() >= limits.keys()):
        return requests
    return {**limits, **(requests or {})}


def _allocated(
    container: objects.Container, status: objects.ContainerStatus | None, infeasible: object
) -> objects.Quantities | None:
    """What the kubelet has set aside."""
    if status is not None and status.allocated_resources is not None:
        return status.allocated_resources
    return None if infeasible else _asked(container, status, infeasible)


def _actual(
    container: objects.Container, status: objects.ContainerStatus | None, infeasible: object
) -> objects.Quantities | None:
    """What the container runs with."""
    if status is not None and status.resources is not None and status.resources.requests is not None:
        return status.resources.requests
    return _allocated(container, status, infeasible)


def _statuses(status: objects.PodStatus | None) -> dict[str, objects.ContainerStatus]:
    """Container statuses by name; a container's own come before an init container's of the same name."""
    if status is None:
        return {}
    return {s.name: s for s in (*(status.init_container_statuses or ()), *(status.container_statuses or ()))}


def _has_resize_status(status: objects.PodStatus) -> bool:
    """Whether the status can say anything else than the spec does."""
    if status.allocated_resources is not None or status.resources is not None:
        return True
    return any(
        s.allocated_resources is not None or s.resources is not None
        for s in (*(status.container_statuses or ()), *(status.init_container_statuses or ()))
    ) or any(c.type == "PodResizePending" for c in status.conditions or ())


def _resize_infeasible(pod: objects.Pod) -> bool:
    conditions = pod.status.conditions if pod.status else None
    return next((c.reason == "Infeasible" for c in conditions or () if c.type == "PodResizePending"), False)


def _needs_defaults(pod: objects.Pod) -> bool:
    """Whether some container leaves out CPU or memory, or a resize may; most pods do not, and are counted once."""
    if pod.status is not None and _has_resize_status(pod.status):
        return True
    containers = (*(pod.spec.containers or ()), *(pod.spec.init_containers or ()))
    return any(_POD_LEVEL - (_asked(container, None, False) or {}).keys() for container in containers)


def _asks_at_pod_level(resources: objects.Resources | None) -> bool:
    requests = resources.requests if resources else None
    return any(name in _POD_LEVEL or name.startswith(_HUGE_PAGES) for name in requests or ())


def _nanos(quantities: objects.Quantities | None, wanted: frozenset[str], field: str) -> _Sums:
    if not quantities:
        return {}
    return {name: _checked(name, value, field) for name, value in quantities.items() if name in wanted}


def _checked(name: str, value: str | float, field: str) -> int:
    """Nano-units of one quantity, refused by field name where the API server would refuse it."""
    where = f"{field}[{name}]"
    try:
        nano = parse_quantity(value if isinstance(value, str) else repr(value))
    except InvalidQuantity as exc:
        raise InvalidQuantity(f"{where}: {exc}") from exc
    if nano < 0:
        raise InvalidQuantity(f"{where}: {shown(value)} is negative; write 0 or more")
    if "/" in name and nano % NANO_PER_UNIT:
        raise InvalidQuantity(f"{where}: {shown(value)} is not a whole number; extended resources are counted in ones")
    return nano


def _millis(nano: int) -> int:
    return min(to_milli(nano), MOST)


def _units(nano: int) -> int:
    return min(to_units(nano), MOST)


def _add(total: _Sums, more: Mapping[str, int]) -> None:
    for name, nano in more.items():
        total[name] = total.get(name, 0) + nano


def _maximum(*sums: Mapping[str, int]) -> _Sums:
    largest: _Sums = {}
    for one in sums:
        for name, nano in one.items():
            if nano >= largest.get(name, 0):
                largest[name] = nano
    return largest
