"""Starts the two servers and ends them: sockets, loop, limits of each, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from extender.server.protocol import LAST_WORD_S, GuardedProtocol, guarded_protocol
from extender.server.room import Room
from kubesteer.model.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from extender.server.tls import FreshTls
    from extender.settings import Listen, Settings


_BACKLOG = 2048
"""Connections that may wait to be accepted."""
_MOST_AHEAD_BYTES = 32 << 20
"""Of requests that clients send before they have their answer."""
_HANDSHAKES = 16
"""One in so many connections over TLS is kept for those that are not let in yet."""


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, tells when it listens, and ends without a lost request."""

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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Connections that the kernel has made and nothing accepted yet are answered too; closing would reset them."""
        self.protocol.sends_away = True
        listening = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        made = []
        for listener in listening:
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    made.append(listener.accept()[0])
            listener.close()
        await asyncio.gather(*(self._take(one) for one in made), return_exceptions=True)
        await self._handshakes_over()
        await super().shutdown(sockets)

    def use(self, tls: FreshTls) -> None:
        """Before it starts: connections are over this TLS."""
        self.config.load()
        self.config.ssl = self.protocol.tls = tls
        tls.let_in = self.protocol.room.connections

    async def _handshakes_over(self) -> None:
        """Those under way may end, for a while: each has a request behind it."""
        until_s = asyncio.get_running_loop().time() + LAST_WORD_S
        tls = self.protocol.tls
        while tls is not None and tls.are_shaking() and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _take(self, made: socket.socket) -> None:
        def protocol() -> GuardedProtocol:
            return self.protocol(self.config, self.server_state, self.lifespan.state)

        await asyncio.get_running_loop().connect_accepted_socket(protocol, made, ssl=self.config.ssl)


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


def verbs_server(app: ASGIApp, settings: Settings) -> Server:
    """The server that kube-scheduler calls."""
    listen, has_tls = settings.listen, settings.tls.cert_file is not None
    return _server(app, settings, keep_alive_s=listen.keep_alive_s, grace_s=round(listen.grace_s), has_tls=has_tls)


def ops_server(app: ASGIApp, settings: Settings) -> Server:
    """The server for people, probes and Prometheus."""
    return _server(app, settings, keep_alive_s=30, grace_s=1, has_tls=settings.ops.tls)


def _server(app: ASGIApp, settings: Settings, *, keep_alive_s: int, grace_s: int, has_tls: bool) -> Server:
    """A server for a socket that is bound already; where it listens is the socket's affair."""
    limits = settings.limits
    room = Room(
        most_connections=limits.connections - (limits.connections // _HANDSHAKES if has_tls else 0),
        most_unread_bytes=2 * limits.nodes_body_bytes,
        most_ahead_bytes=_MOST_AHEAD_BYTES,
    )
    protocol = guarded_protocol(
        room, header_timeout_s=limits.header_timeout_s, answer_timeout_s=limits.answer_timeout_s
    )
    server = Server(
        uvicorn.Config(
            app,
            loop="none",
            lifespan="off",
            interface="asgi3",
            ws="none",
            proxy_headers=False,
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


async def drain(verbs: Server, ops: Server, listen: Listen) -> None:
    """Stop in the order that loses no request: readiness is already off; answer on for a while, then finish.

    kube-scheduler sends one request after the other over one connection. Ended between two of them, it would lose the
    one that is on its way, so the last answer has to tell.
    """
    verbs.protocol.sends_away = True
    await asyncio.sleep(listen.drain_s)
    verbs.should_exit = True
    ops.should_exit = True
