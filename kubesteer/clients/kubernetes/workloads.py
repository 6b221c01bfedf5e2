"""Deployments and StatefulSets: whether all their pods are new and ready, and new pods for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import MERGE_PATCH, ApiServer
from kubesteer.clients.kubernetes.objects import Part
from kubesteer.clients.kubernetes.one_object import object_at

Kind = Literal["Deployment", "StatefulSet"]
_PLURAL: Mapping[Kind, str] = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


class _Metadata(Part):
    generation: int = 0
    annotations: dict[str, str] | None = None


class _Template(Part):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Spec(Part):
    template: _Template = msgspec.field(default_factory=_Template)
    replicas: int = 1


class _Status(Part):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""


class _Workload(Part):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


@dataclass(frozen=True, slots=True)
class Workload:
    """annotations: of its pods. is_settled: all its pods are made from that template, and ready."""

    annotations: Mapping[str, str]
    is_settled: bool


class Workloads:
    """Those of one namespace. Every call raises ClusterUnavailable when the API server does not do as asked."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/apps/v1/namespaces/{quote(namespace, safe='')}"

    async def look(self, kind: Kind, name: str) -> Workload | None:
        """One workload; None where there is none."""
        path = self._path_of(kind, name)
        found = await object_at(self._api, path, _Workload, called=kind)
        if found is None:
            return None
        status, replicas = found.status, found.spec.replicas
        counts = {status.replicas, status.updated_replicas, status.ready_replicas}
        is_seen = status.observed_generation >= found.metadata.generation
        # A StatefulSet counts no updated pods once all of them are of one revision.
        is_new = counts == {replicas} or (
            kind == "StatefulSet"
            and status.current_revision == status.update_revision
            and {status.replicas, status.ready_replicas} == {replicas}
        )
        return Workload(found.spec.template.metadata.annotations or {}, is_seen and is_new)

    async def annotate_pods(self, kind: Kind, name: str, annotations: Mapping[str, str]) -> None:
        """Puts annotations on its pods' template; where they are new, so are the pods, one after the other."""
        body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        path = f"{self._path_of(kind, name)}?fieldManager=kubesteer-keeper"
        await self._api.patch(path, msgspec.json.encode(body), content_type=MERGE_PATCH)

    def _path_of(self, kind: Kind, name: str) -> str:
        return f"{self._path}/{_PLURAL[kind]}/{quote(name, safe='')}"
