"""TLS of a server: contexts that are read anew when their files change, and how many handshakes there may be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import weakref
from typing import TYPE_CHECKING, Any

from kubesteer.model.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from extender.settings import Tls


Signatures = list[tuple[int, int, int] | None]


class TlsContext(ssl.SSLContext):
    """TLS as the files said it when they were read."""

    clients_ca: bytes = b""
    """The certificates of the client authority, as they stood in its file."""


class FreshTls(ssl.SSLContext):
    """The context that the server holds: hands every new connection to the newest one that was read from the files.

    Files loaded into the same context again would not do: it would go on trusting the client CAs that it knew before.
    """

    newest: TlsContext
    read: Signatures
    """The files as they were when the newest was read."""
    connections: int
    """At most so many at once. The protocol's own count begins when the handshake is over, which a flood never is."""
    let_in: Collection[object] = ()
    """Those whose handshake is over and that are open."""
    _shaking: weakref.WeakSet[ssl.SSLObject]

    def wrap_bio(self, *buffers: Any, **options: Any) -> ssl.SSLObject:
        """The event loop calls this for each connection. Raises SSLError, which closes it, where there are too many."""
        if len(self._shaking) + len(self.let_in) >= self.connections:
            raise ssl.SSLError("too many connections")
        wrapped = self.newest.wrap_bio(*buffers, **options)
        self._shaking.add(wrapped)
        return wrapped

    def has_shaken(self, wrapped: ssl.SSLObject) -> None:
        """Its handshake is over."""
        self._shaking.discard(wrapped)

    def are_shaking(self) -> bool:
        """Whether a handshake is under way."""
        return bool(self._shaking)


def fresh_tls(tls: Tls, *, connections: int) -> FreshTls:
    """The verbs' TLS, for keep_tls_fresh to keep. Raises InvalidSettings where a file cannot be used."""
    fresh = FreshTls(ssl.PROTOCOL_TLS_SERVER)
    fresh.read = _signatures(tls)
    fresh.newest, fresh.connections, fresh._shaking = _tls_context(tls), connections, weakref.WeakSet()  # noqa: SLF001
    return fresh


def _tls_context(tls: Tls) -> TlsContext:
    """At least the version that the settings name, client certificates where there is a client CA."""
    context = TlsContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if tls.cert_file is not None:
        with _named(f"tls.cert_file {tls.cert_file}, tls.key_file {tls.key_file}", "a PEM certificate and its key"):
            context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file is not None:
        with _named(f"tls.client_ca_file {tls.client_ca_file}", "PEM certificates"):
            context.clients_ca = tls.client_ca_file.read_bytes()
            context.load_verify_locations(tls.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def _named(files: str, wanted: str) -> Iterator[None]:
    """OpenSSL does not say which file it could not use."""
    try:
        yield
    except OSError as exc:
        raise InvalidSettings(f"{files}: {exc.strerror or exc}; give {wanted} that can be read") from exc


async def keep_tls_fresh(fresh: FreshTls, tls: Tls, log: FilteringBoundLogger) -> None:
    """Reads the certificate files again when they change; new connections get the new ones.

    Old ones go on, but where the clients' authority changed: those end with their next answer.
    """
    while True:
        await asyncio.sleep(tls.reload_s)
        now = await asyncio.to_thread(_signatures, tls)
        if now == fresh.read:
            continue
        try:
            fresh.newest = _tls_context(tls)
        except InvalidSettings as exc:
            log.warning("certificate not usable, the last one stays", error=str(exc))
        else:
            fresh.read = now
            log.info("certificate reread", cert_file=str(tls.cert_file))


def _signatures(tls: Tls) -> Signatures:
    return [_signature(file) for file in (tls.cert_file, tls.key_file, tls.client_ca_file) if file is not None]


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
