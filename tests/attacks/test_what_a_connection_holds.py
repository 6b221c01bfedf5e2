"""Requests sent ahead, answers that nobody reads, upgrades, slots: what one connection holds, and what all hold together."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.attacks.target import ANSWER, GOOD, POD, Target, idle, post, send_until_refused, until_closed
from tests.attacks.test_slow_and_idle import KEPT, OWN_FILES, served
from tests.certificates import Authority
from tests.waiting import let_time_pass, wait_until

SHORT = b"GET / HTTP/1.1\r\n\r\n"
MANY_NAMES = b'{"Pod":%b,"NodeNames":[%b]}' % (POD, b",".join(b'"nobody-%038d"' % i for i in range(80_000)))
"""3.8 MB; the answer has a reason for each: more than the kernel keeps for a client that does not read."""


@pytest.mark.parametrize("ops", [False, True], ids=["verbs", "ops"])
def test_requests_sent_ahead_without_end_wait_outside(target: Target, ops: bool) -> None:
    # 18 bytes each, a thousand at a time; once 980,000 of them were kept, each as 1.6 kB.
    port = target.ops_port if ops else target.port
    with target.growing_at_most(40), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(2)
        with contextlib.suppress(TimeoutError):
            send_until_refused(connection, lambda: SHORT * 1000, most_bytes=100_000 * len(SHORT))
        assert target.answers()


def test_requests_sent_ahead_over_tls_wait_outside_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert_file, key_file = map(str, authority.issue("extender"))
    with Target({"tls": {"cert_file": cert_file, "key_file": key_file}, "ops": {"tls": True}}) as target:
        plain = socket.create_connection(("127.0.0.1", target.ops_port))
        context = authority.client()
        with target.growing_at_most(40), context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.settimeout(2)
            with contextlib.suppress(TimeoutError):
                send_until_refused(connection, lambda: SHORT * 1000, most_bytes=100_000 * len(SHORT))
            assert target.is_ready()


def test_a_body_between_requests_sent_ahead_is_the_body_of_its_own(target: Target) -> None:
    chunked = b"POST /filter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(GOOD),
        GOOD,
    )
    whole = (KEPT + chunked) * 20 + post(GOOD)
    for size in (len(whole), 1000, 97):
        with target.connect() as connection:
            for start in range(0, len(whole), size):
                connection.sendall(whole[start : start + size])
            assert until_closed(connection).count(ANSWER) == 41


@pytest.mark.parametrize("path", [b"/filter", b"/explain"])
def test_answers_that_nobody_reads_are_thrown_away_with_their_connections(path: bytes) -> None:
    with Target({"limits": {"answer_timeout_s": 1, "connections": 200, "candidates": 100_000}}) as target:
        port = target.ops_port if path == b"/explain" else target.port
        asked = post(MANY_NAMES, path=path).replace(b"Connection: close", b"Connection: keep-alive")
        with target.growing_at_most(350), contextlib.ExitStack() as deaf:
            for _ in range(10):
                connection = deaf.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.settimeout(10)
                with contextlib.suppress(OSError):
                    connection.sendall(asked)
            wait_until(lambda: target.open_files() <= OWN_FILES)
            assert target.answers()


def test_an_answer_that_is_the_last_is_thrown_away_too_when_nobody_reads_it() -> None:
    with Target({"limits": {"answer_timeout_s": 1, "candidates": 100_000}}) as target, contextlib.ExitStack() as stack:
        before = target.open_files()
        for _ in range(5):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", target.port))
            deaf.sendall(post(MANY_NAMES))
        wait_until(lambda: target.open_files() >= before + 3)
        wait_until(lambda: target.open_files() <= before)


UPGRADES = [b"h2c", b"websocket", b"TLS/1.3", b"h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]


@pytest.mark.parametrize("protocol", UPGRADES)
@pytest.mark.parametrize("pieces", ["one", "two"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_an_upgrade_that_is_not_taken_changes_nothing(
    target: Target, protocol: bytes, pieces: str, chunked: bool
) -> None:
    # RFC 9110, 7.8. The body is no second request, and the request after it is one.
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(GOOD)
    head = b"POST /filter HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n\r\n" % (protocol, length)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD) if chunked else GOOD
    with target.connect() as connection:
        if pieces == "one":
            connection.sendall(head + body + post(GOOD))
        else:
            connection.sendall(head)
            let_time_pass(0.05)
            connection.sendall(body + post(GOOD))
        said = until_closed(connection)
    assert (said.count(b"HTTP/1.1 200"), said.count(b"HTTP/1.1 "), said.count(ANSWER)) == (2, 2, 2)


def test_a_request_hidden_in_the_body_of_an_upgrade_is_not_run(target: Target) -> None:
    hidden = post(GOOD)
    head = b"POST /prioritize HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    with target.connect() as connection:
        connection.sendall(head % len(hidden))
        let_time_pass(0.05)
        connection.sendall(hidden)
        said = until_closed(connection)
    assert said.count(b"HTTP/1.1 ") == 1
    assert ANSWER not in said


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_that_asked_once_make_room_for_new_ones(tls: bool, tmp_path: Path) -> None:
    settings: dict[str, object] = {"limits": {"connections": 48}, "listen": {"grace_s": 1}}
    authority, context = Authority(tmp_path, "authority"), None
    if tls:
        cert_file, key_file = map(str, authority.issue("extender"))
        settings |= {"tls": {"cert_file": cert_file, "key_file": key_file}, "ops": {"tls": True}}
        context = authority.client()
    with Target(settings) as target, contextlib.ExitStack() as stack:

        def connect(port: int) -> socket.socket:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            return context.wrap_socket(connection, server_hostname="127.0.0.1") if context else connection

        schedulers = connect(target.port)
        assert all(served(schedulers) for _ in range(3))
        for _ in range(60):
            assert served(connect(target.port))
        for _ in range(60):
            probe = connect(target.ops_port)
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in probe.recv(4096)
        assert target.answers(context)
        assert target.is_ready()
        assert served(schedulers)  # it asked more often than they


def test_bodies_that_never_end_make_room_for_a_probe() -> None:
    settings = {"limits": {"connections": 40, "body_timeout_s": 60}}
    with Target(settings) as target, idle(target.ops_port, 40) as slow:
        for connection in slow:
            connection.sendall(b"POST /explain HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert target.is_ready()


def test_a_body_in_pieces_of_one_byte_is_not_taken(target: Target) -> None:
    # 65,536 chunks; each took the time of a call, and eight connections of them held up everybody for a second.
    chunks = b"POST /filter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 65_536
    with target.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(chunks)
        said = until_closed(connection)
    assert ANSWER not in said
    assert b"400" in said.partition(b"\r\n")[0]
