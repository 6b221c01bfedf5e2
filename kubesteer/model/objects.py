"""The part of Kubernetes API objects that counts for placement, as Protocols.

Whatever decodes an object (the clients do) satisfies them by its attributes alone; the rules that read them are in
requests.py and cluster.py. No parsing of bytes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

Quantities = Mapping[str, str | int | float]
"""Resource name to quantity as the object has it: text, or a bare number as a person writes it in YAML."""


class Resources(Protocol):
    """`resources` of a container, of a pod, or in a status."""

    @property
    def requests(self) -> Quantities | None: ...
    @property
    def limits(self) -> Quantities | None: ...


class Container(Protocol):
    """A container or init container."""

    @property
    def name(self) -> str: ...
    @property
    def resources(self) -> Resources | None: ...
    @property
    def restart_policy(self) -> str | None: ...


class ContainerStatus(Protocol):
    """What the kubelet says of one container's resources."""

    @property
    def name(self) -> str: ...
    @property
    def allocated_resources(self) -> Quantities | None: ...
    @property
    def resources(self) -> Resources | None: ...


class Condition(Protocol):
    """A condition of a pod or node, as far as both are read."""

    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...


class PodCondition(Condition, Protocol):
    """A condition of a pod: why and since when."""

    @property
    def reason(self) -> str | None: ...
    @property
    def message(self) -> str | None: ...
    @property
    def last_transition_time(self) -> object: ...


class Toleration(Protocol):
    """A toleration of a pod."""

    @property
    def key(self) -> str | None: ...
    @property
    def operator(self) -> str | None: ...
    @property
    def effect(self) -> str | None: ...


class OwnerReference(Protocol):
    """The owner of an object."""

    @property
    def name(self) -> str: ...
    @property
    def controller(self) -> bool | None: ...


class Metadata(Protocol):
    """`metadata` of a pod or node."""

    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str | None: ...
    @property
    def uid(self) -> str | None: ...
    @property
    def resource_version(self) -> str | None: ...
    @property
    def labels(self) -> Mapping[str, str] | None: ...
    @property
    def annotations(self) -> Mapping[str, str] | None: ...
    @property
    def owner_references(self) -> Sequence[OwnerReference] | None: ...


class PodSpec(Protocol):
    """`spec` of a pod."""

    @property
    def containers(self) -> Sequence[Container] | None: ...
    @property
    def init_containers(self) -> Sequence[Container] | None: ...
    @property
    def overhead(self) -> Quantities | None: ...
    @property
    def resources(self) -> Resources | None: ...
    @property
    def node_name(self) -> str | None: ...
    @property
    def host_network(self) -> bool | None: ...
    @property
    def scheduler_name(self) -> str | None: ...
    @property
    def priority(self) -> int | None: ...
    @property
    def tolerations(self) -> Sequence[Toleration] | None: ...


class PodStatus(Protocol):
    """`status` of a pod."""

    @property
    def phase(self) -> str | None: ...
    @property
    def nominated_node_name(self) -> str | None: ...
    @property
    def conditions(self) -> Sequence[PodCondition] | None: ...
    @property
    def container_statuses(self) -> Sequence[ContainerStatus] | None: ...
    @property
    def init_container_statuses(self) -> Sequence[ContainerStatus] | None: ...
    @property
    def allocated_resources(self) -> Quantities | None: ...
    @property
    def resources(self) -> Resources | None: ...


class Pod(Protocol):
    """A pod as the API has it."""

    @property
    def metadata(self) -> Metadata: ...
    @property
    def spec(self) -> PodSpec: ...
    @property
    def status(self) -> PodStatus | None: ...


class NodeInfo(Protocol):
    """`status.nodeInfo` of a node."""

    @property
    def boot_id(self) -> str: ...
    @property
    def kubelet_version(self) -> str: ...


class NodeSpec(Protocol):
    """`spec` of a node."""

    @property
    def unschedulable(self) -> bool | None: ...


class NodeStatus(Protocol):
    """`status` of a node."""

    @property
    def allocatable(self) -> Quantities | None: ...
    @property
    def conditions(self) -> Sequence[Condition] | None: ...
    @property
    def node_info(self) -> NodeInfo | None: ...


class Node(Protocol):
    """A node as the API has it."""

    @property
    def metadata(self) -> Metadata: ...
    @property
    def spec(self) -> NodeSpec | None: ...
    @property
    def status(self) -> NodeStatus | None: ...
