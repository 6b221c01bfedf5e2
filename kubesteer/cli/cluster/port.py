"""What the commands need of a cluster. kubectl is one; tests have another in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kubesteer.clients.kubectl.asking import Answer, Request
from kubesteer.model.api_objects import ApiKind, Ref, Thing


class Cluster(Protocol):
    """Every call may raise ClusterUnavailable, with the reason in the API server's or kubectl's words."""

    def client_version(self) -> str:
        """kubectl's, such as v1.37.2."""

    def server_version(self) -> str:
        """The API server's."""

    def where(self) -> tuple[str, str]:
        """The context's name, and the API server's address."""

    def kinds(self) -> list[ApiKind]:
        """What the API server serves."""

    def render(self, folder: Path) -> list[Thing]:
        """The objects of a kustomization."""

    def items(
        self, kinds: Sequence[str], *, selector: str = "", fields: str = "", namespace: str | None = None
    ) -> tuple[list[Thing], list[str]]:
        """Objects of these kinds; and what is to be said of kinds that could not be listed."""

    def get(self, kind: str, name: str, namespace: str | None = None) -> Thing | None:
        """One object, or None."""

    def apply(self, things: Sequence[Thing], *, dry_run: bool = False, force: bool = False) -> list[Thing]:
        """Server-side apply as kubesteer's field manager; the objects as they are then, or would be."""

    def create(self, things: Sequence[Thing]) -> list[Thing]:
        """New objects, or questions."""

    def delete(
        self, things: Sequence[Thing], *, timeout_s: float, foreground: bool = False, at_once: bool = False
    ) -> None:
        """Returns when they are gone, or with a timeout_s of 0 at once."""

    def patch(self, target: Ref, change: Sequence[Mapping[str, Any]], *, subresource: str = "") -> None:
        """A JSON patch."""

    def token(self, account: str, namespace: str, *, lasts_s: int) -> str:
        """A token of a ServiceAccount."""

    def ask(self, pod: str, namespace: str, port: int, request: Request) -> Answer:
        """What a port of a pod answers."""
