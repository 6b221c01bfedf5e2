"""How to reach an API server and who we are to it: from a pod's service account or from a kubeconfig.

Nothing is sent from here. The official client's loader (exec plugins, OIDC, merged files) is imported only when a
kubeconfig is read: it costs 0.8 s and 45 MB, which a pod with a service account need not pay.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from kubesteer.clients.trust import trusting
from kubesteer.model.errors import InvalidSettings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """An API server's address and the way to be let in.

    authorization: gives the header's value, None where a client certificate (or nothing) speaks for us.
    server_name: the name on the server's certificate where the address has another.
    """

    url: str
    authorization: Callable[[], Awaitable[str | None]]
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None


LoadAccess = Callable[[], Awaitable[Access]]
"""Reads the access anew each time it is called: certificates and tokens change."""


def in_cluster(environ: Mapping[str, str], *, directory: Path = SERVICE_ACCOUNT) -> LoadAccess:
    """As the service account of the pod we run in. The token file is read for every request: the kubelet rotates it.

    Loading raises InvalidSettings that names the missing variable or file.
    """

    async def load() -> Access:
        try:
            host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
        except KeyError as exc:
            raise InvalidSettings(f"{exc.args[0]} is not set: not inside a cluster; give a kubeconfig") from exc
        try:
            tls = _tls_context(str(directory / "ca.crt"))
        except OSError as exc:
            raise InvalidSettings(f"{directory / 'ca.crt'}: {exc}; mount the service account") from exc
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return Access(url, authorization=lambda: _token_in(directory / "token"), tls=tls)

    return load


def from_kubeconfig(path: str, *, context: str | None = None) -> LoadAccess:
    """As a user of a kubeconfig (several paths joined as in KUBECONFIG are merged), in its current or another context.

    Loading runs exec plugins and refreshes tokens. It raises InvalidSettings that names the path and what is wrong.
    """

    async def load() -> Access:
        from kubernetes.aio import client, config  # noqa: PLC0415 - only users of a kubeconfig pay for it

        settings = client.Configuration()
        if not _any_is_there(path):
            raise InvalidSettings(f"kubeconfig {path}: no such file")
        try:
            await config.load_kube_config(path, context, settings, persist_config=False)  # type: ignore[no-untyped-call]
            tls = None
            if settings.host.startswith("https"):
                tls = _tls_context(settings.ssl_ca_cert, settings.cert_file, settings.key_file)
                if not settings.verify_ssl:
                    tls.check_hostname = False
                    tls.verify_mode = ssl.CERT_NONE
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError) as exc:
            raise InvalidSettings(f"kubeconfig {path}: {exc}") from exc

        async def authorization() -> str | None:
            header: str | None = await settings.get_api_key_with_prefix("BearerToken")
            return header.strip() if header else None

        return Access(
            settings.host.rstrip("/"),
            authorization,
            tls=tls,
            server_name=settings.tls_server_name,
            proxy=settings.proxy,
        )

    return load


def _any_is_there(paths: str) -> bool:
    return any(Path(each).expanduser().exists() for each in paths.split(os.pathsep) if each)


def _tls_context(ca_file: str | None, cert_file: str | None = None, key_file: str | None = None) -> ssl.SSLContext:
    context = trusting(ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context


async def _token_in(file: Path) -> str:
    try:
        token = await asyncio.to_thread(file.read_text)
    except OSError as exc:
        raise InvalidSettings(f"service account token {file}: {exc}; mount the service account") from exc
    return f"Bearer {token.strip()}"
