"""Secrets of one namespace, by name: read, made, and changed only where nobody else has changed them meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from kubesteer.clients.kubernetes.api import CONFLICT, MERGE_PATCH, NOT_FOUND, ApiRefused, ApiServer
from kubesteer.clients.kubernetes.objects import Metadata, Part
from kubesteer.clients.kubernetes.one_object import object_at
from kubesteer.model.secrets import SecretWrite, StoredSecret

MANAGED_BY = {"app.kubernetes.io/managed-by": "kubesteer-keeper"}
"""The label of Secrets that the keeper made; it changes no other."""
_LABELS = {
    "app.kubernetes.io/name": "kubesteer-certificates",
    "app.kubernetes.io/part-of": "kubesteer",
    **MANAGED_BY,
}
_BY = "?fieldManager=kubesteer-keeper"


class _Secret(Part):
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    data: dict[str, bytes] | None = None


class Secrets:
    """Every call raises ClusterUnavailable when the API server does not do as asked."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"

    async def read(self, names: Iterable[str]) -> dict[str, StoredSecret]:
        """Those of these Secrets that there are. One request each: a list could not be granted by name."""
        found = {name: await self._get(name) for name in names}
        return {name: secret for name, secret in found.items() if secret is not None}

    async def write(self, change: SecretWrite) -> bool:
        """False, and nothing is changed, where somebody else was faster."""
        metadata: dict[str, Any] = {"annotations": change.notes}
        body: dict[str, Any] = {"metadata": metadata, "data": _encoded(change.data)}
        try:
            if change.over is None:
                metadata |= {"name": change.name, "labels": _LABELS}
                body |= {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
                await self._api.post(self._path + _BY, msgspec.json.encode(body))
            else:
                # A patch that names a version is refused where another is stored.
                metadata["resourceVersion"] = change.over.version
                path = f"{self._path}/{quote(change.name, safe='')}{_BY}"
                await self._api.patch(path, msgspec.json.encode(body), content_type=MERGE_PATCH)
        except ApiRefused as exc:
            if exc.status in {CONFLICT, NOT_FOUND}:
                return False
            raise
        return True

    async def _get(self, name: str) -> StoredSecret | None:
        path = f"{self._path}/{quote(name, safe='')}"
        secret = await object_at(self._api, path, _Secret, called="Secret")
        if secret is None:
            return None
        metadata = secret.metadata
        return StoredSecret(
            name=name,
            version=metadata.resource_version or "",
            is_ours=MANAGED_BY.items() <= (metadata.labels or {}).items(),
            data=secret.data or {},
            notes=metadata.annotations or {},
        )


def _encoded(data: Mapping[str, bytes | None]) -> dict[str, str | None]:
    return {name: None if value is None else base64.b64encode(value).decode() for name, value in data.items()}
