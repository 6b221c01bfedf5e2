"""The network resources that kubesteer places by: one for each direction of traffic.

Only names and numbers live here; who reads them from an object is in requests.py and cluster.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkResource:
    """One direction of network traffic, and how pods ask for it.

    resource_names: extended resources in bit/s, the first that a pod asks for counts. A node's capacity is the first
        of them that the node publishes.
    annotation: the bandwidth annotation of the CNI plugins, in bit/s, read where no extended resource is asked for.
    overcommit: factor on the capacity for SLOs asked for by annotation. An amount asked for as an extended resource is
        counted by kube-scheduler and the kubelet too, so its overcommit belongs where the capacity is published.
    """

    direction: str
    resource_names: tuple[str, ...]
    annotation: str
    overcommit: float = 1.0


EGRESS = NetworkResource("egress", ("kubesteer.io/egress-bps", "example.com/SLO"), "kubernetes.io/egress-bandwidth")
INGRESS = NetworkResource("ingress", ("kubesteer.io/ingress-bps",), "kubernetes.io/ingress-bandwidth")
DEFAULT_NETWORK = (EGRESS, INGRESS)
