"""The two HTTP servers of one event loop: guarded heads, TLS that is reread, a drain on SIGTERM. No routes."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import weakref
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kubesteer.model.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from structlog.typing import FilteringBoundLogger

    from extender.settings import Listen, Settings, Tls


Signatures = list[tuple[int, int, int] | None]
_BACKLOG = 2048
"""Connections that may wait to be accepted."""
_MOST_HEAD_BYTES = 64 << 10
_MOST_HEADERS = 100
"""A head may have this much; kube-scheduler sends six headers."""


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, which closes connections whose head does not come in time or does not end (slowloris).

    At most `most_connections` stay open; new ones beyond are closed, so that a flood does not take those there are.
    """

    header_timeout_s: float
    most_connections: int
    sends_away: bool = False
    """Each answer ends its connection, and says so: a client hears that it has to go elsewhere before it sends more."""
    tls: FreshTls | None = None
    oldest_s: float = 3600.0
    """So old a connection ends with its next answer: a certificate is looked at only when one begins."""
    _begun_s = 0.0
    _clients_ca = b""
    _head_timer: asyncio.TimerHandle | None = None
    _bytes_without_use = 0
    """Since a head was complete or a piece of a body came: heads, trailers, and what stands between chunks."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection, after the TLS handshake."""
        super().connection_made(transport)
        self._begun_s = self.loop.time()
        wrapped = transport.get_extra_info("ssl_object")
        if wrapped is not None:
            self._clients_ca = wrapped.context.clients_ca
        if len(self.connections) > self.most_connections:
            transport.close()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client; what they complete is told by the calls below, from within."""
        self._bytes_without_use += len(data)
        super().data_received(data)
        if self._bytes_without_use > _MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request head is over {_MOST_HEAD_BYTES} bytes.")
        # Not at the parser's first token: it says nothing of blank lines, which end uvicorn's keep-alive timer.
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer. Raises ValueError past the most, of which the parser makes a 400."""
        if len(self.headers) >= _MOST_HEADERS:
            raise ValueError(f"more than {_MOST_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget_timer()
        self._bytes_without_use = 0
        super().on_headers_complete()
        if self.cycle is not None and (self.sends_away or self._has_to_prove_itself_again()):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._bytes_without_use = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._forget_timer()
        super().connection_lost(exc)

    def _has_to_prove_itself_again(self) -> bool:
        """Whether its client was let in too long ago, or by an authority that may be trusted no more."""
        is_old = self.loop.time() - self._begun_s > self.oldest_s
        return is_old or (self.tls is not None and self._clients_ca != self.tls.newest.clients_ca)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def guarded_protocol(header_timeout_s: float, connections: int) -> type[GuardedProtocol]:
    """The protocol with these limits: uvicorn makes the connections' protocols itself, from a class."""
    return type("Guarded", (GuardedProtocol,), {"header_timeout_s": header_timeout_s, "most_connections": connections})


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process and tells when it listens."""

    protocol: type[GuardedProtocol]
    """Of this server's connections alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has one handler for both servers."""
        yield

    async def wait_started(self, serving: asyncio.Task[None]) -> None:
        """Until it listens; raises what stopped it otherwise."""
        while not self.started:
            if serving.done():
                serving.result()
                raise OSError("the server stopped before it listened")
            await asyncio.sleep(0.01)


def event_loop(handshake_timeout_s: float) -> asyncio.AbstractEventLoop:
    """uvloop, whose servers wait this long for a TLS handshake; its own 60 s let the silent stay."""

    class Loop(uvloop.Loop):
        async def create_server(self, *arguments: Any, **options: Any) -> Any:
            if options.get("ssl") is not None:
                options.setdefault("ssl_handshake_timeout", handshake_timeout_s)
            return await super().create_server(*arguments, **options)

    return Loop()


def allow_open_files() -> None:
    """As many as this process may have. Many systems grant 1,024 at first, which connections alone may take."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bind(group: str, host: str, port: int) -> socket.socket:
    """A listening socket; group is the settings group that named it. Raises InvalidSettings where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        rule = f"set {group}.host and {group}.port to an address of this machine that is free"
        raise InvalidSettings(f"{group}: {host}:{port}: {exc.strerror}; {rule}") from exc


def verbs_server(app: FastAPI, settings: Settings) -> Server:
    """The server that kube-scheduler calls."""
    listen = settings.listen
    return _server(app, settings, keep_alive_s=listen.keep_alive_s, grace_s=round(listen.grace_s))


def ops_server(app: FastAPI, settings: Settings) -> Server:
    """The server for people, probes and Prometheus."""
    return _server(app, settings, keep_alive_s=30, grace_s=1)


def _server(app: FastAPI, settings: Settings, *, keep_alive_s: int, grace_s: int) -> Server:
    """A server for a socket that is bound already; where it listens is the socket's affair."""
    limits = settings.limits
    protocol = guarded_protocol(limits.header_timeout_s, limits.connections)
    server = Server(
        uvicorn.Config(
            app,
            loop="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            log_config=None,
            backlog=_BACKLOG,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=grace_s,
            http=protocol,
        )
    )
    server.protocol = protocol
    return server


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
    _open: weakref.WeakSet[ssl.SSLObject]

    def wrap_bio(self, *buffers: Any, **options: Any) -> ssl.SSLObject:
        """What the event loop calls for each connection. Raises SSLError, which closes it, where there are too many."""
        if len(self._open) >= self.connections:
            raise ssl.SSLError("too many connections")
        wrapped = self.newest.wrap_bio(*buffers, **options)
        self._open.add(wrapped)
        return wrapped


def fresh_tls(tls: Tls, *, connections: int) -> FreshTls:
    """The verbs' TLS, for keep_tls_fresh to keep. Raises InvalidSettings where a file cannot be used."""
    fresh = FreshTls(ssl.PROTOCOL_TLS_SERVER)
    fresh.read = _signatures(tls)
    fresh.newest, fresh.connections, fresh._open = _tls_context(tls), connections, weakref.WeakSet()  # noqa: SLF001
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


async def drain(verbs: Server, ops: Server, listen: Listen) -> None:
    """Stop in the order that loses no request: readiness is already off; answer on for a while, then finish.

    kube-scheduler sends one request after the other over one connection. Ended between two of them, it would lose the
    one that is on its way, so the last answer has to tell.
    """
    verbs.protocol.sends_away = True
    await asyncio.sleep(listen.drain_s)
    verbs.should_exit = True
    ops.should_exit = True
