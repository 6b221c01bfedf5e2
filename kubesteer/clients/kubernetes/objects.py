"""API objects as they are decoded: only the fields that placement reads, so that decoding stays cheap.

No rule lives here; kubesteer.model reads these through its Protocols. How a pod ran is in pod_runs.py.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec


class Part(msgspec.Struct, rename="camel", gc=False):
    """A part of an API object; unknown fields are passed over."""


Amounts = dict[str, str | int | float]


class Resources(Part):
    """Requests and limits."""

    requests: Amounts | None = None
    limits: Amounts | None = None


class Container(Part):
    """A container or init container."""

    name: str = ""
    resources: Resources | None = None
    restart_policy: str | None = None


class ContainerStatus(Part):
    """The resources that a container runs with."""

    name: str = ""
    allocated_resources: Amounts | None = None
    resources: Resources | None = None


class Condition(Part):
    """A condition of a node."""

    type: str = ""
    status: str = ""


class PodCondition(Condition):
    """A condition of a pod."""

    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class Toleration(Part):
    """A toleration of a pod."""

    key: str | None = None
    operator: str | None = None
    effect: str | None = None


class OwnerReference(Part):
    """The owner of an object."""

    name: str = ""
    kind: str = ""
    controller: bool | None = None


class Metadata(Part):
    """Names, labels, annotations, owners."""

    name: str = ""
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class Object(Part):
    """Anything that the API lists and watches."""

    metadata: Metadata


class PodSpec(Part):
    """What a pod asks for."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    overhead: Amounts | None = None
    resources: Resources | None = None
    node_name: str | None = None
    host_network: bool | None = None
    scheduler_name: str | None = None
    priority: int | None = None
    tolerations: list[Toleration] | None = None


class PodStatus(Part):
    """How a pod does."""

    phase: str | None = None
    nominated_node_name: str | None = None
    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    allocated_resources: Amounts | None = None
    resources: Resources | None = None


class Pod(Object):
    """A pod."""

    spec: PodSpec
    status: PodStatus | None = None


class NodeInfo(Part):
    """What runs on a node since when."""

    boot_id: str = msgspec.field(default="", name="bootID")
    kubelet_version: str = ""


class NodeSpec(Part):
    """What somebody wants of a node."""

    unschedulable: bool | None = None


class NodeStatus(Part):
    """What a node has."""

    allocatable: Amounts | None = None
    capacity: Amounts | None = None
    conditions: list[Condition] | None = None
    node_info: NodeInfo | None = None


class Node(Object):
    """A node."""

    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class ListMeta(Part):
    """Where a list ends and where its next page begins."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


ObjectT = TypeVar("ObjectT", bound=Object)


class Page(Part, Generic[ObjectT]):
    """One page of a list."""

    items: list[ObjectT] | None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class WatchEvent(Part):
    """One line of a watch; the object is decoded by its type."""

    type: str
    object: msgspec.Raw


class Status(Part):
    """The API's answer when something is wrong."""

    code: int = 0
    reason: str | None = None
    message: str | None = None
    details: Any = None


class Named(Part):
    """Any object, for its name and version alone."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class RawList(Part):
    """One page whose objects are decoded one by one."""

    items: list[msgspec.Raw] | None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class Listed(Part):
    """A page without its objects."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class Added(Part, Generic[ObjectT], tag_field="type", tag="ADDED"):
    """A watch saw a new object."""

    object: ObjectT


class Modified(Part, Generic[ObjectT], tag_field="type", tag="MODIFIED"):
    """A watch saw a change."""

    object: ObjectT


class Deleted(Part, tag_field="type", tag="DELETED"):
    """A watch saw the end of an object, or that it no longer matches the selector."""

    object: Named


class Bookmark(Part, tag_field="type", tag="BOOKMARK"):
    """Everything up to this version has been sent."""

    object: Named


class Failure(Part, tag_field="type", tag="ERROR"):
    """The watch cannot go on."""

    object: Status
