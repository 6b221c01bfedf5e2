"""One HTTP connection, guarded: heads, bodies and answers come and go in time, in order and in bounds. No routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from extender.server.room import Room
    from extender.server.tls import FreshTls

_MOST_HEAD_BYTES = 64 << 10
_MOST_HEADERS = 100
"""A head may have this much; kube-scheduler sends six headers."""
_HEAD_END = b"\r\n\r\n"
_FREE_PIECES = 1000
_PIECE_BYTES = 1024
"""A body may come in so many pieces of any size; past that, a piece has this many bytes in the mean."""
IS_WHOLE = "kubesteer.is_whole"
"""In the scope of a request: tells whether its body has come whole, so that no reader waits for it."""
LAST_WORD_S = 1.0
"""At the end of a stop, a connection that was just made may still ask for so long."""


class _Flow(FlowControl):
    """Uvicorn lets the client send on whenever an answer is out; not while what it sent ahead still waits."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.is_ahead = False

    def resume_reading(self) -> None:
        if not self.is_ahead:
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, whose clients cannot make it wait or keep more than there is room for.

    Requests are parsed one after the other: what a client sends ahead waits as bytes, and no more is read meanwhile.
    """

    flow: _Flow
    header_timeout_s: float
    answer_timeout_s: float
    room: Room
    sends_away: bool = False
    """Each answer ends its connection, and says so: a client hears that it has to go elsewhere before it sends more."""
    tls: FreshTls | None = None
    oldest_s: float = 3600.0
    """So old a connection ends with its next answer: a certificate is looked at only when one begins."""
    answers = 0
    used_at_s = 0.0
    _begun_s = 0.0
    _clients_ca = b""
    _head_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None
    _bytes_without_use = 0
    """Since a head was complete or a piece of a body came: heads, trailers, and what stands between chunks."""
    _ahead: bytes = b""
    _body_left: int | None = 0
    """Of the body that is being read; None in chunks."""
    _pieces = 0
    _body_bytes = 0
    _is_upgrade = False
    """The head that was just read asks for another protocol; its parser takes no body, so another one does."""
    _is_replaying = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection, after the TLS handshake."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._begun_s = self.used_at_s = self.loop.time()
        wrapped = transport.get_extra_info("ssl_object")
        if wrapped is not None:
            self._clients_ca = wrapped.context.clients_ca
            if self.tls is not None:
                self.tls.has_shaken(wrapped)
        if self.room.enter(self):
            self._await_head()
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client; what they complete is told by the calls below, from within."""
        self._unset_keepalive_if_required()
        if self._ahead:
            self._keep_ahead(self._ahead + data)
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """As far as the end of a request that has to be answered first."""
        view, at = memoryview(data), 0
        while at < len(data) and not self.transport.is_closing():
            if self._has_to_answer_first():
                self._keep_ahead(data[at:])
                return
            at = self._parse_piece(data, view, at)
        # Not at the parser's first token: it says nothing of blank lines, which end uvicorn's keep-alive timer.
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def _parse_piece(self, data: bytes, view: memoryview, at: int) -> int:
        """One head, or a piece of one body, so that two requests are never begun at once. Returns where it ends."""
        if self._body_left:
            end = min(len(data), at + self._body_left)
            self._body_left -= end - at
        else:
            found = data.find(_HEAD_END, at if self._body_left == 0 else at + _PIECE_BYTES)
            end = len(data) if found < 0 else found + len(_HEAD_END)
        self._bytes_without_use += end - at
        try:
            self.parser.feed_data(view[at:end])
        except httptools.HttpParserUpgrade as exc:
            end = at + exc.args[0]
            self._take_no_upgrade()
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        if self._bytes_without_use > _MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request head is over {_MOST_HEAD_BYTES} bytes.")
        return end

    def _has_to_answer_first(self) -> bool:
        cycle = self.cycle
        return self.flow.write_paused or (cycle is not None and not cycle.more_body and not cycle.response_complete)

    def _keep_ahead(self, data: bytes) -> None:
        self.room.ahead_bytes += len(data) - len(self._ahead)
        self._ahead = data
        self.flow.is_ahead = bool(data)
        if data:
            self.flow.pause_reading()
            if self.room.ahead_bytes > self.room.most_ahead_bytes:
                self.cut()

    def _go_on(self) -> None:
        """With what was sent ahead, once nothing stands before it."""
        if self._ahead and not self._has_to_answer_first() and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            data = self._ahead
            self._keep_ahead(b"")
            self._parse(data)
            if not self._ahead:
                self.flow.resume_reading()

    def _take_no_upgrade(self) -> None:
        """RFC 9110, 7.8: an upgrade that is not taken changes nothing, so the body is a body.

        The parser takes what follows for the other protocol. So another one is told of a body of that length.
        """
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        lengths = [
            b"%b: %b\r\n" % header for header in self.headers if header[0] in {b"content-length", b"transfer-encoding"}
        ]
        self._is_replaying = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lengths))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if not self._is_replaying:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        if not self._is_replaying:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer. Raises ValueError past the most, of which the parser makes a 400."""
        if self._is_replaying:
            return
        if len(self.headers) >= _MOST_HEADERS:
            raise ValueError(f"more than {_MOST_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there. Raises ValueError for a tunnel, of which the parser makes a 400."""
        if self._is_replaying:
            self._is_replaying = False
            return
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no tunnels")
        self._forget_head_timer()
        self.room.speaks(self)
        self.used_at_s = self.loop.time()
        self._bytes_without_use = self._pieces = self._body_bytes = 0
        self._is_upgrade = self.parser.should_upgrade()
        self._body_left = _body_left(self.headers)
        self.scope[IS_WHOLE] = self._is_whole  # type: ignore[literal-required]
        super().on_headers_complete()
        if self.cycle is not None and (self.sends_away or self._has_to_prove_itself_again()):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of a body. Raises ValueError where pieces are so many and small that they keep others waiting."""
        self._bytes_without_use = 0
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > _FREE_PIECES + self._body_bytes // _PIECE_BYTES:
            raise ValueError("body comes in too many pieces")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        if not self._is_upgrade:
            self._body_left = 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The last byte of an answer was written, or waits to be read."""
        self.answers += 1
        self.used_at_s = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reading()
        else:
            self._go_on()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._await_reading()
        self.room.wait(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read its answers."""
        super().resume_writing()
        self.room.read(self)
        if self._answer_timer is not None and not self.transport.is_closing():
            self._answer_timer.cancel()
            self._answer_timer = None
        self._go_on()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that cannot be read, and ends its connection."""
        super().send_400_response(msg)
        self._await_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Idle for too long."""
        super().timeout_keep_alive_handler()
        self._await_reading()

    def shutdown(self) -> None:
        """The server ends. A connection that was just made has its request on the way."""
        if self.cycle is None and self._head_timer is not None:
            self.loop.call_later(LAST_WORD_S, self._end_if_silent)
        else:
            super().shutdown()
            self._await_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._forget_head_timer()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
        self._keep_ahead(b"")
        self.room.leave(self)
        super().connection_lost(exc)

    def _is_whole(self) -> bool:
        return self.cycle is not None and not self.cycle.more_body

    def is_idle(self) -> bool:
        """Nothing is asked of it or by it."""
        return (self.cycle is None or self.cycle.response_complete) and not self._ahead

    def is_sending(self) -> bool:
        """Its request has not come whole."""
        return self.cycle is not None and self.cycle.more_body

    def cut(self) -> None:
        """Closed now, whatever is under way."""
        self.transport.abort()

    def _has_to_prove_itself_again(self) -> bool:
        """Whether its client was let in too long ago, or by an authority that may be trusted no more."""
        is_old = self.loop.time() - self._begun_s > self.oldest_s
        return is_old or (self.tls is not None and self._clients_ca != self.tls.newest.clients_ca)

    def _end_if_silent(self) -> None:
        if self.cycle is None and self.transport is not None:
            self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _await_reading(self) -> None:
        """Drops the answers that are still unread, with the connection: closing would wait for them without end."""
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.answer_timeout_s, self.cut)

    def _forget_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _body_left(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Bytes of the body that these headers, which the parser has taken, announce; None in chunks."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            return int(value)
    return 0


def guarded_protocol(room: Room, **limits: Any) -> type[GuardedProtocol]:
    """The protocol with these limits: uvicorn makes the connections' protocols itself, from a class."""
    return type("Guarded", (GuardedProtocol,), {"room": room, **limits})
