"""Events on pods, as `kubectl describe pod` shows them. What is worth one, and how often, its caller decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import ApiServer

_LONGEST_MESSAGE_B = 1024
"""The API server refuses more."""


@dataclass(frozen=True, slots=True)
class PodReference:
    """The pod that an event is about."""

    namespace: str
    name: str
    uid: str


async def create_event(
    api: ApiServer,
    pod: PodReference,
    *,
    reason: str,
    message: str,
    now: datetime,
    kind: Literal["Warning", "Normal"] = "Warning",
    component: str = "kubesteer",
) -> None:
    """Put an event on a pod; a message that is too long is cut. `now` needs a time zone.

    Raises ClusterUnavailable when the API server does not take it (403: the service account needs `create` on events).
    """
    time = now.isoformat(timespec="seconds")
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": pod.namespace, "generateName": f"{pod.name}."},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message.encode()[:_LONGEST_MESSAGE_B].decode(errors="ignore"),
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    await api.post(f"/api/v1/namespaces/{quote(pod.namespace, safe='')}/events", msgspec.json.encode(body))
