"""How to reach an API server and who we are to it: from a pod's service account or from a kubeconfig.

Nothing is sent from here. The official client's loader (OIDC, files or data) is imported only when a
kubeconfig is read: it costs 0.8 s and 45 MB, which a pod with a service account need not pay.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from kubesteer.clients.kubernetes.exec_plugin import ask_plugin
from kubesteer.clients.kubernetes.kubeconfig import SelectedContext, chosen, header_value
from kubesteer.clients.trust import trusting
from kubesteer.model.errors import InvalidSettings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EARLY_S = 60.0
"""Credentials of a plugin are renewed so long before their end, or in the last tenth of a shorter life."""


@dataclass(frozen=True, slots=True)
class Access:
    """An API server's address and the way to be let in.

    authorization: gives the header's value, None where a client certificate (or nothing) speaks for us.
    server_name: the name on the server's certificate where the address has another.
    headers: further ones, of the user that we speak for. renew_at_s: the Unix time from which a new access is due.
    """

    url: str
    authorization: Callable[[], Awaitable[str | None]]
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    renew_at_s: float | None = None


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
        of_account = "service account token"
        return Access(url, authorization=lambda: _token_in(directory / "token", of_account), tls=tls)

    return load


def from_kubeconfig(
    path: str,
    *,
    context: str | None = None,
    plugin_timeout_s: float = 30.0,
    wall_clock: Callable[[], float] = time.time,
) -> LoadAccess:
    """As a user of a kubeconfig (several paths joined as in KUBECONFIG are merged), in its current or another context.

    Loading runs the exec plugin and refreshes tokens. It raises InvalidSettings that names the path and what is wrong.
    plugin_timeout_s: how long an exec plugin may take.
    """

    async def load() -> Access:
        from kubernetes.aio import config  # noqa: PLC0415 - only users of a kubeconfig pay for it

        if not _any_is_there(path):
            raise InvalidSettings(f"kubeconfig {path}: no such file")
        try:
            return await _as_user(chosen(path, context), plugin_timeout_s, wall_clock)
        except (AttributeError, TypeError) as exc:
            raise InvalidSettings(f"kubeconfig {path}: it has not the shape of a kubeconfig: {exc}") from exc
        except (
            InvalidSettings,
            config.ConfigException,
            yaml.YAMLError,
            aiohttp.ClientError,
            OSError,
            ValueError,
            LookupError,
        ) as exc:
            raise InvalidSettings(f"kubeconfig {path}: {exc}") from exc

    return load


async def _as_user(who: SelectedContext, plugin_timeout_s: float, wall_clock: Callable[[], float]) -> Access:
    from kubernetes.aio import client  # noqa: PLC0415 - as above
    from kubernetes.aio.config.kube_config import KubeConfigLoader  # noqa: PLC0415

    asked_at_s = wall_clock()
    given = None
    if who.plugin is not None:
        given = await ask_plugin(
            who.plugin,
            folder=who.folder,
            cluster=who.told_to_plugins(),
            environ=os.environ,
            timeout_s=plugin_timeout_s,
        )
    settings = client.Configuration()
    loader = KubeConfigLoader(who.merged, who.context, config_base_path=None)  # type: ignore[no-untyped-call]
    await loader.load_and_set(settings)  # type: ignore[no-untyped-call]
    tls = None
    if settings.host.startswith("https"):
        tls = _tls_context(settings.ssl_ca_cert, settings.cert_file, settings.key_file)
        if given is not None and given.certificate and given.key:
            _speak_for_us(tls, given.certificate, given.key)
        if not settings.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
    fixed: str | None = await settings.get_api_key_with_prefix("BearerToken")
    if given is not None and given.token:
        fixed = f"Bearer {given.token.strip()}"
    fixed = header_value(fixed, "the token") if fixed else None

    async def authorization() -> str | None:
        return fixed if who.token_file is None else await _token_in(who.token_file, "token")

    await authorization()
    return Access(
        settings.host.rstrip("/"),
        authorization,
        tls=tls,
        server_name=settings.tls_server_name,
        proxy=settings.proxy,
        headers=who.impersonate,
        renew_at_s=None if given is None else _renewal_s(asked_at_s, given.expires_at_s),
    )


def _renewal_s(now_s: float, expires_at_s: float | None) -> float | None:
    """A little before the end, so that no request is refused first."""
    return None if expires_at_s is None else expires_at_s - min(_EARLY_S, max(0.0, expires_at_s - now_s) / 10)


def _any_is_there(paths: str) -> bool:
    return any(Path(each).expanduser().exists() for each in paths.split(os.pathsep) if each)


def _tls_context(ca_file: str | None, cert_file: str | None = None, key_file: str | None = None) -> ssl.SSLContext:
    context = trusting(ca_file)
    if cert_file:
        # With a password, even an empty one, OpenSSL does not ask the terminal for it.
        context.load_cert_chain(cert_file, key_file, password="")
    return context


def _speak_for_us(tls: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python reads a key from files only; these are gone when it is read."""
    with tempfile.TemporaryDirectory() as folder:
        certificate_file, key_file = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate_file.write_text(certificate)
        key_file.write_text(key)
        tls.load_cert_chain(certificate_file, key_file, password="")


async def _token_in(file: Path, what: str) -> str:
    try:
        token = await asyncio.to_thread(file.read_text)
    except (OSError, UnicodeDecodeError) as exc:
        fix = "; mount the service account" if what != "token" else ""
        raise InvalidSettings(f"{what} {file}: {exc}{fix}") from exc
    return f"Bearer {header_value(token, f'{what} {file}')}"
