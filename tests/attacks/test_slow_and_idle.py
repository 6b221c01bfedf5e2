"""Connections that cost the attacker nothing: silent, dripping, never reading. The scheduler's own is served meanwhile."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.target import (
    ANSWER,
    GOOD,
    POD,
    Target,
    idle,
    many_open_files,
    post,
    send_until_refused,
    until_closed,
)
from tests.certificates import Authority
from tests.waiting import wait_until

LIMITS = {"connections": 500, "header_timeout_s": 2, "body_timeout_s": 2}
KEPT = post(GOOD).replace(b"Connection: close", b"Connection: keep-alive")
OWN_FILES = 60
"""Of an extender: sockets, pipes, libraries."""


def served(connection: socket.socket) -> bool:
    connection.sendall(KEPT)
    received = b""
    while ANSWER not in received:
        part = connection.recv(1 << 16)
        if not part:
            return False
        received += part
    return True


@pytest.fixture
def files() -> Iterator[int]:
    with many_open_files() as most:
        yield most


def test_ten_thousand_idle_connections_take_neither_files_nor_memory_nor_the_schedulers_own(files: int) -> None:
    with Target({"limits": LIMITS}) as target, target.connect() as schedulers:
        assert served(schedulers)
        with target.growing_at_most(60), idle(target.port, min(10_000, files)) as flood:
            assert len(flood) == min(10_000, files)
            assert target.open_files() <= LIMITS["connections"] + OWN_FILES
            assert target.is_ready()
            assert served(schedulers)
            wait_until(target.answers)  # the silent are closed after header_timeout_s
            wait_until(lambda: target.open_files() <= OWN_FILES)
            assert served(schedulers)


def test_ten_thousand_connections_that_never_shake_hands_take_no_more(files: int, tmp_path: Path) -> None:
    # Client certificates are no guard here: they come at the end of the handshake.
    authority = Authority(tmp_path, "authority")
    cert_file, key_file = map(str, authority.issue("extender"))
    tls = {"cert_file": cert_file, "key_file": key_file, "client_ca_file": str(authority.ca_file)}
    context = authority.client(authority.issue("scheduler"))
    with Target({"limits": LIMITS, "tls": tls}) as target:
        assert target.answers(context)
        with target.growing_at_most(100), idle(target.port, min(10_000, files)):
            wait_until(lambda: target.open_files() <= LIMITS["connections"] + OWN_FILES)
            assert target.is_ready()
            wait_until(lambda: target.answers(context))
            wait_until(lambda: target.open_files() <= OWN_FILES)


def test_connections_over_tls_that_are_closed_make_room_for_others(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert_file, key_file = map(str, authority.issue("extender"))
    tls = {"cert_file": cert_file, "key_file": key_file}
    with Target({"limits": {"connections": 10}, "tls": tls}) as target:
        assert all(target.answers(authority.client()) for _ in range(50))


def test_an_extender_that_was_granted_few_files_takes_what_it_may_have(files: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    target = Target({"limits": LIMITS})
    try:
        target.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with target.process_until_end(), idle(target.port, min(600, files)):
        wait_until(lambda: target.open_files() > 300)
        assert target.is_ready()  # with 200 files no probe came through, and the kubelet would have ended it


def test_heads_and_bodies_that_drip_are_all_cut_off_and_others_are_served_meanwhile() -> None:
    head, body = post(GOOD).split(b"\r\n\r\n")
    starts = [b"POST /filter HTTP/1.1\r\n", head + b"\r\n\r\n" + body[:10]]
    with Target({"limits": LIMITS}) as target, idle(target.port, 200) as dripping:
        for i, connection in enumerate(dripping):
            connection.sendall(starts[i % 2])
        drips, still_open = (b"X-Drip: y\r\n", b" "), set(range(200))
        rounds = 0
        while still_open:
            for i in list(still_open):
                try:
                    dripping[i].sendall(drips[i % 2])
                except ConnectionError:
                    still_open.discard(i)
            assert target.answers()
            rounds += 1
            time.sleep(0.2)
        assert rounds > 1
        wait_until(lambda: target.open_files() <= OWN_FILES)


def test_a_client_that_asks_and_asks_and_reads_no_answer_does_not_fill_the_memory(target: Target) -> None:
    names = b'{"Pod":%b,"NodeNames":[%b]}' % (POD, b",".join([b'"node-1"'] * 5000))
    many = post(names).replace(b"Connection: close", b"Connection: keep-alive")
    with target.growing_at_most(60), target.connect() as deaf:
        deaf.settimeout(1)
        with pytest.raises(TimeoutError):  # it is no longer read from
            send_until_refused(deaf, lambda: many, most_bytes=500_000_000)
        assert target.answers()


def test_a_thousand_requests_in_one_go_are_answered_one_after_the_other(target: Target) -> None:
    with target.growing_at_most(60), target.connect() as connection:
        connection.sendall(KEPT * 1000 + post(GOOD))
        assert until_closed(connection).count(ANSWER) == 1001
