"""What the node table keeps of a pod: where it is or was sent to, and the numbers that count there. Only values."""

from __future__ import annotations

from dataclasses import dataclass

from kubesteer.model.requests import PodRequests


@dataclass(frozen=True, slots=True)
class PlacedPod:
    """One pod that is on a node: who it is, how much it matters, what it takes and how it asked for it."""

    row: int
    namespace: str
    name: str
    priority: int
    requests: PodRequests


@dataclass(frozen=True, slots=True)
class AssumedPod:
    """One pod that was sent to a node and is not seen there yet, and what it will take (see promised_amounts)."""

    row: int
    amounts: tuple[int, ...]


def promised_amounts(requests: PodRequests) -> tuple[int, ...]:
    """What a pod will take that is not on its node yet: CPU, memory, bit/s a direction, and a part of these again.

    That part is the bit/s a direction that kube-scheduler does not count, because an annotation asks for them. CPU and
    memory are non-zero requests, or a burst of pods that ask for nothing would leave no mark.
    """
    network = requests.network_bps
    unseen = (bps if annotated else 0 for bps, annotated in zip(network, requests.by_annotation, strict=True))
    return (requests.nonzero_cpu_m, requests.nonzero_memory_b, *network, *unseen)
