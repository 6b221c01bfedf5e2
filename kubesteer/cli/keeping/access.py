"""Keeps etcd's users and roles as they must be, with root's certificate out of its Secret."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from kubesteer.cli.keeping.settings import Etcd
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.clients.rewards.etcd_access import (
    EtcdAccess,
    agent_role,
    agents_role,
    extender_role,
    root_role,
)
from kubesteer.clients.rewards.etcd_options import EtcdOptions
from kubesteer.model.errors import StoreUnavailable

_FILES = ("ca.crt", "tls.crt", "tls.key")


class AccessKeeper:
    """nodes: the names of all nodes; it raises ClusterUnavailable until they are known. folder: for root's files."""

    def __init__(self, settings: Etcd, secrets: Secrets, nodes: Callable[[], Collection[str]], folder: Path) -> None:
        self._settings = settings
        self._secrets = secrets
        self._nodes = nodes
        self._folder = folder
        self._version = ""
        self._access: EtcdAccess | None = None

    async def step(self) -> list[str]:
        """One round; what was done, in words. Raises ClusterUnavailable, StoreUnavailable."""
        prefix = self._settings.prefix
        always = [root_role(), extender_role(prefix)]
        others = {}
        if self._settings.per_node:
            others = {role.name: role for role in (agent_role(prefix, node) for node in self._nodes())}
        else:
            always.append(agents_role(prefix))
        return await (await self._open()).mend(always, others, looks=self._settings.looks)

    async def admit(self, node: str) -> None:
        """Makes the user and the role of one node's agent. Raises ClusterUnavailable, StoreUnavailable."""
        await (await self._open()).grant(agent_role(self._settings.prefix, node))

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
