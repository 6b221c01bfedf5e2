"""The requests of a pod of the usual shape, straight from its containers: those of pod_requests, but far faster.

Usual: no sidecar, overhead, pod-level resource or resize. Of any other pod, and of every quantity that would be
refused, nothing is said here; requests.py has the rules, and a property test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from kubesteer.model import objects
from kubesteer.model.errors import InvalidQuantity
from kubesteer.model.network import NetworkResource
from kubesteer.model.quantity import LONGEST_REMEMBERED, MOST, NANO_PER_MILLI, NANO_PER_UNIT, parse_quantity
from kubesteer.model.requests import DEFAULT_CPU_M, DEFAULT_MEMORY_B, PodRequests, annotated_bps

_DEFAULT_CPU, _DEFAULT_MEMORY = DEFAULT_CPU_M * NANO_PER_MILLI, DEFAULT_MEMORY_B * NANO_PER_UNIT


class _Unusual(Exception):
    """requests.py has to count this pod."""


def usual_requests(pod: objects.Pod, network: Sequence[NetworkResource]) -> PodRequests | None:
    """The pod's requests, or None where pod_requests has to count them (or refuse them)."""
    spec = pod.spec
    if spec.overhead or spec.resources is not None:
        return None
    try:
        asked = [_asked(container) for container in spec.containers or ()]
        before = [_asked_first(container) for container in spec.init_containers or ()]
        if pod.status is not None:
            _check_status(pod.status, spec.containers or (), asked)
        return _summed(asked, before, pod.metadata.annotations, network)
    except (_Unusual, InvalidQuantity):
        return None


def _asked(container: objects.Container) -> objects.Quantities:
    resources = container.resources
    if resources is None or not (requests := resources.requests):
        raise _Unusual
    if resources.limits and not requests.keys() >= resources.limits.keys():
        raise _Unusual
    return requests


def _asked_first(container: objects.Container) -> objects.Quantities:
    """Of an init container, which runs alone."""
    if container.restart_policy == "Always":
        raise _Unusual
    return _asked(container)


def _check_status(
    status: objects.PodStatus, containers: Sequence[objects.Container], asked: Sequence[objects.Quantities]
) -> None:
    """That the containers have what they ask for: the kubelet repeats it in each status."""
    if status.allocated_resources is not None or status.resources is not None or status.init_container_statuses:
        raise _Unusual
    for condition in status.conditions or ():
        if condition.type == "PodResizePending":
            raise _Unusual
    for own in status.container_statuses or ():
        given, resources = own.allocated_resources, own.resources
        actual = resources.requests if resources is not None else None
        if given is None and actual is None:
            continue
        own_requests = [requests for each, requests in zip(containers, asked, strict=True) if each.name == own.name]
        # A status of another name may be an init container's.
        if not own_requests or any(has is not None and has != own_requests[0] for has in (given, actual)):
            raise _Unusual


def _summed(
    asked: Sequence[objects.Quantities],
    before: Sequence[objects.Quantities],
    annotations: Mapping[str, str] | None,
    network: Sequence[NetworkResource],
) -> PodRequests:
    """asked: by containers, which run together; before: by init containers, of which the largest counts."""
    cpu, nonzero_cpu = _all_ask(asked, before, "cpu", _DEFAULT_CPU)
    memory, nonzero_memory = _all_ask(asked, before, "memory", _DEFAULT_MEMORY)
    network_bps: list[int] = []
    by_annotation: list[bool] = []
    for resource in network:
        bps = _network_bps(asked, before, resource.resource_names)
        annotated = not bps and annotations is not None and resource.annotation in annotations
        if annotated and annotations is not None:
            bps = annotated_bps(annotations[resource.annotation])
        network_bps.append(bps)
        by_annotation.append(annotated and bps > 0)
    nonzero_cpu_m, nonzero_memory_b = _rounded(nonzero_cpu, NANO_PER_MILLI), _rounded(nonzero_memory, NANO_PER_UNIT)
    return PodRequests(
        _rounded(cpu, NANO_PER_MILLI),
        _rounded(memory, NANO_PER_UNIT),
        nonzero_cpu_m,
        nonzero_memory_b,
        nonzero_cpu_m,
        nonzero_memory_b,
        tuple(network_bps),
        tuple(by_annotation),
    )


def _all_ask(
    asked: Sequence[objects.Quantities], before: Sequence[objects.Quantities], name: str, default: int
) -> tuple[int, int]:
    """Nano-units of CPU or memory: as asked for, and with a default for each container that asks for none."""
    exact = nonzero = 0
    for requests in asked:
        value = requests.get(name)
        if value is None:
            nonzero += default
        else:
            nano = _nano(value)
            exact += nano
            nonzero += nano
    for requests in before:
        value = requests.get(name)
        if value is None:
            nonzero = max(nonzero, default)
        else:
            nano = _nano(value)
            exact, nonzero = max(exact, nano), max(nonzero, nano)
    return exact, nonzero


def _network_bps(
    asked: Sequence[objects.Quantities], before: Sequence[objects.Quantities], names: Sequence[str]
) -> int:
    """Of the first name that is asked for; the others are read too, as a bad one is refused."""
    found = 0
    for name in names:
        read = _whole if "/" in name else _nano
        nano = 0
        for requests in asked:
            if (value := requests.get(name)) is not None:
                nano += read(value)
        for requests in before:
            if (value := requests.get(name)) is not None:
                nano = max(nano, read(value))
        found = found or _rounded(nano, NANO_PER_UNIT)
    return found


def _rounded(nano: int, size: int) -> int:
    return min(-(-nano // size), MOST)


@lru_cache(maxsize=8192)
def _nano(value: str | float) -> int:
    if not isinstance(value, str) or len(value) > LONGEST_REMEMBERED:
        raise _Unusual
    nano = parse_quantity(value)
    if nano < 0:
        raise _Unusual
    return nano


@lru_cache(maxsize=8192)
def _whole(value: str | float) -> int:
    nano = _nano(value)
    if nano % NANO_PER_UNIT:
        raise _Unusual
    return nano
