"""A small client for any Kubernetes API: objects are the dictionaries of their JSON.

Only HTTP lives here. It is the tests' own eye on the cluster, so it shares nothing with kubesteer's clients.
"""

from __future__ import annotations

import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Object = dict[str, Any]


class ApiError(Exception):
    """The API server's answer was not a success."""

    def __init__(self, action: str, status: int, text: str) -> None:
        super().__init__(f"{action}: {status} {text}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server lists it, such as `pods`."""

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (f"{self.root}{middle}/{self.plural}", name, subresource) if part)


class Client:
    """Create, get, list, change, delete and watch. Safe to use from several threads."""

    def __init__(self, url: str, token: str, ca_file: Path) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=str(ca_file)),
            timeout=30.0,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )
        self._resources: dict[tuple[str, str], Resource] = {}

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """Send JSON and return the JSON answer (the text, if it is none). Raises ApiError unless the status is 2xx."""
        content = None if body is None else json.dumps(body).encode()
        answer = self._http.request(
            method, path, content=content, params=params, headers={"Content-Type": content_type}
        )
        if not answer.is_success:
            raise ApiError(f"{method} {path}", answer.status_code, answer.text)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.json() if is_json else answer.text

    def is_ready(self) -> bool:
        """Whether the API server answers, with all its checks passed."""
        try:
            return bool(self.request("GET", "/readyz") == "ok")
        except (ApiError, httpx.TransportError):
            return False

    def resource(self, kind: str, api_version: str = "v1") -> Resource:
        """Look a kind up in the API server's own list."""
        if (api_version, kind) not in self._resources:
            root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            for entry in self.request("GET", root)["resources"]:
                if "/" not in entry["name"]:
                    found = Resource(root, entry["name"], entry["namespaced"])
                    self._resources[api_version, entry["kind"]] = found
        try:
            return self._resources[api_version, kind]
        except KeyError:
            raise ApiError(f"find {kind}", 404, f"the API server knows no {kind} in {api_version}") from None

    def create(self, thing: Object) -> Object:
        """POST an object that names its apiVersion and kind; the namespace is `default` unless it says another."""
        answer: Object = self.request("POST", self._path_of(thing), thing)
        return answer

    def create_all(self, things: Iterable[Object], *, workers: int = 16) -> list[Object]:
        """Create many, several at a time; the answers come in the order of `things`."""
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self.create, things))

    def apply(self, thing: Object, *, manager: str = "e2e") -> Object:
        """Server-side apply: create the object, or make it so."""
        answer: Object = self.request(
            "PATCH",
            f"{self._path_of(thing)}/{thing['metadata']['name']}",
            thing,
            params={"fieldManager": manager, "force": "true"},
            content_type="application/apply-patch+yaml",
        )
        return answer

    def get(self, kind: str, name: str, *, namespace: str = "default", api_version: str = "v1") -> Object:
        answer: Object = self.request("GET", self.resource(kind, api_version).path(namespace, name))
        return answer

    def list_all(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        api_version: str = "v1",
        params: Mapping[str, str] | None = None,
    ) -> list[Object]:
        """List a kind, in all namespaces unless one is given. `params` may hold labelSelector and fieldSelector."""
        answer = self.request("GET", self.resource(kind, api_version).path(namespace), params=params)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer["items"]]

    def patch(
        self,
        kind: str,
        name: str,
        changes: Object,
        *,
        namespace: str = "default",
        api_version: str = "v1",
        subresource: str = "",
    ) -> Object:
        """Merge `changes` (JSON merge patch) into the object, or its subresource such as `status`."""
        path = self.resource(kind, api_version).path(namespace, name, subresource)
        answer: Object = self.request("PATCH", path, changes, content_type="application/merge-patch+json")
        return answer

    def delete(
        self,
        kind: str,
        name: str,
        *,
        namespace: str = "default",
        api_version: str = "v1",
        grace_period_s: int | None = 0,
    ) -> None:
        """Delete one object, at once unless `grace_period_s` is None (its own) or more than 0."""
        options = {} if grace_period_s is None else {"gracePeriodSeconds": grace_period_s}
        self.request("DELETE", self.resource(kind, api_version).path(namespace, name), options)

    def watch(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        api_version: str = "v1",
        since: str | None = None,
        for_s: float = 60.0,
    ) -> Iterator[Object]:
        """Yield watch events (`type`, `object`) until the server ends the watch after `for_s`.

        `since` is a resourceVersion; without it every existing object comes first as ADDED.
        """
        params = {"watch": "true", "timeoutSeconds": str(max(1, int(for_s)))}
        if since is not None:
            params["resourceVersion"] = since
        path = self.resource(kind, api_version).path(namespace)
        with self._http.stream("GET", path, params=params, timeout=httpx.Timeout(10.0, read=for_s + 10.0)) as answer:
            if not answer.is_success:
                answer.read()
                raise ApiError(f"watch {path}", answer.status_code, answer.text)
            for line in answer.iter_lines():
                yield json.loads(line)

    def _path_of(self, thing: Object) -> str:
        resource = self.resource(thing["kind"], thing["apiVersion"])
        return resource.path(thing["metadata"].get("namespace", "default"))
