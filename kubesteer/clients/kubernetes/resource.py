"""Nodes and pods as resources of the API: where they are listed, how they are decoded, where they go.

No I/O: bytes come in, summaries go to the sink.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import msgspec

from kubesteer.clients.kubernetes.mistyped import told
from kubesteer.clients.kubernetes.objects import (
    Added,
    Bookmark,
    Deleted,
    Failure,
    Listed,
    ListMeta,
    Metadata,
    Modified,
    Named,
    Node,
    ObjectT,
    Page,
    Pod,
    RawList,
)
from kubesteer.clients.kubernetes.port import ClusterSink
from kubesteer.clients.kubernetes.unreadable import UNREADABLE, metadata_of, page_of
from kubesteer.model.cluster import summarise_node, summarise_pod
from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.network import NetworkResource

NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
_LIVE = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
"""The selector of kube-scheduler itself: both then count the same pods, and finished ones are not even sent. One that
finishes arrives as DELETED."""

_CONTINUE = re.compile(rb'"continue":"([^"\\]+)"')
_REPLACED = "\ufffd"
"""Stands for bytes that are no UTF-8."""
_HEAD_B = 8192
"""The API server writes a list's metadata first, and it is short."""


LONGEST_LINE_B = 16 * 1024 * 1024
"""etcd takes no object above 1.5 MiB, and its JSON is a few times that at most."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[ObjectT]):
    """One kind of object.

    put: summarise and store, and tell what on the object cannot be used all the same; raises InvalidQuantity for one
        that cannot be stored. key: what `delete` takes.
    listed, heard: told of a whole list and of a watch that has been applied, as ClusterSink defines them.
    """

    kind: str
    path: str
    selector: Mapping[str, str]
    page: msgspec.json.Decoder[Page[ObjectT]]
    item: msgspec.json.Decoder[ObjectT]
    event: msgspec.json.Decoder[Added[ObjectT] | Modified[ObjectT] | Deleted | Bookmark | Failure]
    key: Callable[[Metadata], str]
    put: Callable[[ObjectT], str | None]
    delete: Callable[[str], None]
    listed: Callable[[Collection[str], float], None] | None = None
    heard: Callable[[float], None] | None = None


def resource(
    of: type[ObjectT],
    path: str,
    *,
    kind: str,
    put: Callable[[ObjectT], str | None],
    delete: Callable[[str], None],
    key: Callable[[Metadata], str],
    selector: Mapping[str, str] | None = None,
    listed: Callable[[Collection[str], float], None] | None = None,
    heard: Callable[[float], None] | None = None,
) -> Resource[ObjectT]:
    """Objects of the struct `of`, under this path."""
    return Resource(
        kind=kind,
        path=path,
        selector=selector or {},
        page=msgspec.json.Decoder(Page[of]),  # type: ignore[valid-type]
        item=msgspec.json.Decoder(of),
        event=msgspec.json.Decoder(Added[of] | Modified[of] | Deleted | Bookmark | Failure),  # type: ignore[valid-type]
        key=key,
        put=put,
        delete=delete,
        listed=listed,
        heard=heard,
    )


def nodes_into(sink: ClusterSink, network: Sequence[NetworkResource]) -> Resource[Node]:
    """Nodes, by name."""

    def put(node: Node) -> str | None:
        summary = summarise_node(node, network)
        sink.put_node(summary)
        return summary.fault

    return resource(
        Node,
        NODES,
        kind="Node",
        put=put,
        delete=sink.delete_node,
        key=by_name,
    )


def pods_into(sink: ClusterSink, network: Sequence[NetworkResource]) -> Resource[Pod]:
    """Pods that have not ended, by uid."""
    return resource(
        Pod,
        PODS,
        kind="Pod",
        put=lambda pod: sink.put_pod(summarise_pod(pod, network)),
        delete=sink.delete_pod,
        key=by_uid,
        selector=_LIVE,
        listed=sink.pods_listed,
        heard=sink.pods_heard,
    )


def by_name(metadata: Metadata) -> str:
    """The key of what has no namespace."""
    return metadata.name


def by_uid(metadata: Metadata) -> str:
    """The key of what may be deleted and made again under its name."""
    return metadata.uid or full_name(metadata)


def full_name(metadata: Metadata) -> str:
    """namespace/name, or the name of what has no namespace."""
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name


def named(raw: bytes | msgspec.Raw) -> Metadata:
    """The metadata of an object that may be of any shape; empty where even that cannot be read."""
    try:
        return msgspec.json.decode(raw, type=Named).metadata
    except UNREADABLE:
        return metadata_of(bytes(raw))


def continue_token(body: bytes) -> str:
    """Where the next page begins, empty on the last page; read before the page is decoded, and far cheaper."""
    end = body.find(b'"items"', 0, _HEAD_B)
    if end < 0:
        return msgspec.json.decode(body, type=Listed).metadata.continue_
    found = _CONTINUE.search(body, 0, end)
    return found[1].decode() if found else ""


def listed_version(body: bytes) -> str:
    """The version at which a list was made, whatever it holds."""
    return msgspec.json.decode(body, type=Listed).metadata.resource_version


def decode_page(
    body: bytes, resource: Resource[ObjectT]
) -> tuple[ListMeta, Sequence[ObjectT], Mapping[str, tuple[str, str]]]:
    """A page's metadata, its objects, and (name, why) by key of those that cannot be decoded.

    The key is empty where not even that can be told.

    Raises one of UNREADABLE for a body that is no list.
    """
    try:
        page = resource.page.decode(body)
    except UNREADABLE:
        return _decode_one_by_one(body, resource)
    return page.metadata, page.items or (), {}


def _decode_one_by_one(
    body: bytes, resource: Resource[ObjectT]
) -> tuple[ListMeta, Sequence[ObjectT], Mapping[str, tuple[str, str]]]:
    metadata, raws = _raw_page(body)
    items: list[ObjectT] = []
    odd: dict[str, tuple[str, str]] = {}
    for raw in raws:
        try:
            items.append(resource.item.decode(raw))
        except UNREADABLE as exc:
            found = named(raw)
            key = resource.key(found)
            is_certain = found.uid and found.name and _REPLACED not in key
            odd[key if is_certain else ""] = (full_name(found), told(exc, raw))
    return metadata, items, odd


def _raw_page(body: bytes) -> tuple[ListMeta, Sequence[bytes | msgspec.Raw]]:
    try:
        page = msgspec.json.decode(body, type=RawList)
    except UNREADABLE:
        scanned = page_of(body)
        if scanned is None:
            raise
        return scanned
    return page.metadata, page.items or ()


class LineTooLong(ClusterUnavailable):
    """No object is as long as this line of a watch."""


class LineSplitter:
    """Whole lines out of chunks that end anywhere; a last half waits for its end, up to LONGEST_LINE_B."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._waiting_b = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. Raises LineTooLong."""
        whole = chunk.split(b"\n")
        rest = whole.pop()
        self._waiting_b += len(whole[0] if whole else rest)
        if self._waiting_b > LONGEST_LINE_B:
            raise LineTooLong(f"a line of the watch is longer than {LONGEST_LINE_B} bytes")
        if whole and self._parts:
            whole[0] = b"".join((*self._parts, whole[0]))
            self._parts.clear()
        if whole:
            self._waiting_b = len(rest)
        if rest:
            self._parts.append(rest)
        return whole

    @property
    def is_empty(self) -> bool:
        """No half line waits for its end."""
        return not self._parts
