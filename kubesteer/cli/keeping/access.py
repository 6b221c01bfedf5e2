"""Keeps etcd's users and roles as they must be, with root's certificate out of its Secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from kubesteer.cli.keeping.settings import Etcd
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.clients.rewards.etcd_access import (
    EtcdAccess,
    Nodes,
    agent_role,
    agents_role,
    extender_role,
    root_role,
)
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.errors import StoreUnavailable, Unavailable

_FILES = ("ca.crt", "tls.crt", "tls.key")


class AccessKeeper:
    """nodes: all Nodes' uids by name; it raises ClusterUnavailable until they are known. folder: for root's files."""

    def __init__(
        self,
        settings: Etcd,
        secrets: Secrets,
        nodes: Callable[[], Mapping[str, str]],
        folder: Path,
        now: Callable[[], datetime],
    ) -> None:
        self._settings, self._secrets, self._nodes, self._folder, self._now = settings, secrets, nodes, folder, now
        self._version = ""
        self._access: EtcdAccess | None = None

    async def step(self) -> StepResult:
        """One round."""
        try:
            return StepResult(await self._mend())
        except Unavailable as exc:
            return StepResult(self._access.told() if self._access is not None else (), exc)

    async def _mend(self) -> list[str]:
        """Raises ClusterUnavailable, StoreUnavailable."""
        prefix, looks = self._settings.prefix, self._settings.looks
        always = [root_role(), extender_role(prefix)]
        if not self._settings.per_node:
            return await (await self._open()).mend([*always, agents_role(prefix)], {}, looks=looks)
        nodes = self._nodes()
        others = {role.name: role for role in (agent_role(prefix, *node) for node in nodes.items())}
        there = Nodes(nodes, timedelta(days=self._settings.forget_days), self._now())
        return await (await self._open()).mend(always, others, looks=looks, nodes=there)

    async def admit(self, node: str, uid: str) -> None:
        """Makes the user and the role of one node's agent. Raises ClusterUnavailable, StoreUnavailable."""
        await (await self._open()).grant(agent_role(self._settings.prefix, node, uid))

    async def close(self) -> None:
        """Lets go of etcd."""
        access, self._access = self._access, None
        if access is not None:
            await access.close()

    async def _open(self) -> EtcdAccess:
        """As root, with the certificate that is in the Secret now."""
        name = self._settings.secret
        secret = (await self._secrets.read([name])).get(name)
        if secret is None or not all(secret.data.get(file) for file in _FILES):
            raise StoreUnavailable(f"Secret {name} is not there yet, or has no {', '.join(_FILES)}")
        if self._access is None or secret.version != self._version:
            await self.close()
            for file in _FILES:
                path = self._folder / file
                path.touch(mode=0o600)
                path.write_bytes(secret.data[file])
            ca, cert, key = (self._folder / file for file in _FILES)
            endpoints = tuple(self._settings.endpoints)
            options = EtcdOptions(
                endpoints=endpoints, prefix=self._settings.prefix, ca_file=ca, cert_file=cert, key_file=key
            )
            self._access, self._version = EtcdAccess(options), secret.version
        return self._access
