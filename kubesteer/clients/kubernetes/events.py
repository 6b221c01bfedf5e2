"""Events on pods and nodes, as `kubectl describe` shows them: written, and read for one pod.

What is worth one, and how often, its caller decides.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.objects import Part
from kubesteer.model.errors import ClusterUnavailable
from kubesteer.model.runs import EventSeen

_LONGEST_MESSAGE_B = 1024
"""The API server refuses more."""
_MOST_EVENTS = 100


@dataclass(frozen=True, slots=True)
class PodReference:
    """The pod that an event is about."""

    namespace: str
    name: str
    uid: str
    kind: ClassVar[str] = "Pod"


@dataclass(frozen=True, slots=True)
class NodeReference:
    """The node that an event is about. The API server wants events of what has no namespace in `default`."""

    name: str
    uid: str
    namespace: ClassVar[str] = "default"
    kind: ClassVar[str] = "Node"


class _Series(Part):
    last_observed_time: datetime | None = None


class _Source(Part):
    component: str | None = None


class _Event(Part):
    type: str | None = None
    reason: str | None = None
    message: str | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: _Series | None = None
    source: _Source | None = None
    reporting_component: str | None = None


class _Events(Part):
    items: list[_Event] | None = None


async def create_event(
    api: ApiServer,
    about: PodReference | NodeReference,
    *,
    reason: str,
    message: str,
    now: datetime,
    kind: Literal["Warning", "Normal"] = "Warning",
    component: str = "kubesteer",
) -> None:
    """Put an event on a pod or a node; a message that is too long is cut. `now` needs a time zone.

    Raises ClusterUnavailable when the API server does not take it (403: the service account needs `create` on events).
    """
    where = {"namespace": about.namespace} if isinstance(about, PodReference) else {}
    time = now.isoformat(timespec="seconds")
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": about.namespace, "generateName": f"{about.name}."},
        "involvedObject": {"apiVersion": "v1", "kind": about.kind, "name": about.name, "uid": about.uid, **where},
        "type": kind,
        "reason": reason,
        "message": message.encode()[:_LONGEST_MESSAGE_B].decode(errors="ignore"),
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    await api.post(_path(about.namespace), msgspec.json.encode(body))


async def pod_events(
    api: ApiServer, namespace: str, uid: str, *, by: Collection[str], but_not: str = ""
) -> list[EventSeen]:
    """The events about one pod that the API server still keeps (an hour, by default).

    by: components whose word counts; who may write Events may write them about any pod. but_not: one whose Events the
    server is not to send, so that a heap of them does not crowd the others out of the list.
    Raises ClusterUnavailable when it does not tell. Events have no index by node, and are not in the server's watch
    cache: ask for few pods, and seldom.
    """
    fields = f"involvedObject.uid={uid}" + (f",source!={but_not}" if but_not else "")
    selector = {"fieldSelector": fields, "limit": str(_MOST_EVENTS)}
    try:
        events = msgspec.json.decode(await api.get(_path(namespace), selector), type=_Events).items or ()
    except msgspec.MsgspecError as exc:
        raise ClusterUnavailable(f"{_path(namespace)}: the answer is no list of events: {exc}") from exc
    return [
        EventSeen(event.reason or "", event.message or "", time.timestamp(), event.type or "")
        for event in events
        if (time := _newest(event)) is not None and _is_by(event, by)
    ]


def _is_by(event: _Event, components: Collection[str]) -> bool:
    """Of the two fields older clients fill the one, newer ones the other, some both; they may not disagree."""
    named = {event.source.component if event.source else None, event.reporting_component} - {None, ""}
    return bool(named) and all(name in components for name in named)


def _newest(event: _Event) -> datetime | None:
    times = (event.last_timestamp, event.event_time, event.series.last_observed_time if event.series else None)
    return max((time for time in times if time is not None), default=None)


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
