"""Bodies that are larger than they look, or than they may be: refused early, and the pod's memory limit is never near.

The manifest grants the extender 768 MiB; it begins with about 80 MB.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.target import (
    GOOD,
    POD,
    Target,
    answered,
    idle,
    post,
    send_until_refused,
    status,
    until_closed,
)

LARGEST = 60_000_000
"""Just below limits.nodes_body_bytes, so that the whole of it is taken in."""
NAMES_LIMIT = 4 << 20
MOST_NODES = 100_000
MOST_MB = 550
GIGABYTE = 1_000_000_000


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """It has time: however slowly a busy machine sends, it is the size that a body is refused for."""
    with Target({"limits": {"body_timeout_s": 120, "candidates": 100_000}}) as running:
        yield running
        assert running.process.running, running.process.log_tail()


@pytest.mark.parametrize("port", ["verbs", "ops"])
def test_a_gigabyte_in_chunks_is_refused_at_the_limit_and_held_no_longer(target: Target, port: str) -> None:
    to, path = (target.port, b"/filter") if port == "verbs" else (target.ops_port, b"/explain")
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    with target.growing_at_most(160):
        with socket.create_connection(("127.0.0.1", to), timeout=20) as connection:
            connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path)
            sent = send_until_refused(connection, lambda: chunk, most_bytes=GIGABYTE)
        assert sent < 100_000_000
    with target.growing_at_most(10):  # what was held for it is free again, for the same once more
        assert target.answers()


@pytest.mark.parametrize("head", [b"POST /nowhere", b"GET /filter", b"PUT /filter", b"POST /filter/"])
def test_a_gigabyte_for_what_takes_no_body_is_not_kept(target: Target, head: bytes) -> None:
    with target.growing_at_most(20), target.connect() as connection:
        connection.sendall(b"%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (head, GIGABYTE))
        send_until_refused(connection, lambda: b" " * (1 << 20), most_bytes=300_000_000)
        assert target.answers()


def test_a_declared_gigabyte_is_answered_before_a_byte_of_it_is_sent(target: Target) -> None:
    answer = target.shoot(b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
    assert status(answer) == 413


def test_large_bodies_at_once_are_held_to_the_memory_of_two() -> None:
    # 30 times 50 MB, none of them whole: those that are let in end by body_timeout_s.
    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
            for _ in range(49):
                connection.sendall(b" " * 1_000_000)
            statuses.append(status(until_closed(connection)))

    statuses: list[int] = []
    with (
        Target({"limits": {"body_timeout_s": 2}}) as target,
        target.growing_at_most(MOST_MB),
        idle(target.port, 30) as connections,
    ):
        threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(statuses) <= {413, 408}


SWELLING: dict[str, tuple[int, Callable[[], bytes]]] = {
    "nodes that are numbers": (413, lambda: _nodes(b"0,", b"0")),
    "nodes of nothing but a name": (413, lambda: _nodes(b'{"metadata":{"name":"a"}},', b"0")),
    "nodes between spaces": (413, lambda: _nodes(b"0," + b" " * 16, b"0")),
    "names past their limit": (413, lambda: _names(b'"ab",', LARGEST)),
    "a pod past a pod's size": (413, lambda: _containers(LARGEST)),
    "a million keys": (413, lambda: b"{%b}" % b",".join(b'"%x":0' % i for i in range(LARGEST // 11))),
    "a million keys that are no arguments": (
        200,
        lambda: b"{%b}" % b",".join(b'"%x":0' % i for i in range(NAMES_LIMIT // 11)),
    ),
    "names at the limit of bytes": (413, lambda: _names(b'"ab",', NAMES_LIMIT - 2000)),
    "a pod at its size": (200, lambda: _containers(NAMES_LIMIT - 2000)),
    "the same key 200,000 times": (200, lambda: b'{"Pod":%b%b}' % (POD, b',"NodeNames":["a"]' * 200_000)),
    "the same label 300,000 times": (200, lambda: _pod(b'"labels":{%b"app":"b"}' % (b'"app":"a",' * 300_000))),
    "nesting in NodeNames": (200, lambda: b'{"Pod":%b,"NodeNames":%b' % (POD, b"[" * LARGEST)),
    "nesting in what nobody reads": (200, lambda: b'{"Pod":%b,"X":%b' % (POD, b'{"a":' * (LARGEST // 5))),
    "nesting in a node": (200, lambda: b'{"Pod":%b,"Nodes":{"items":[%b' % (POD, b'{"a":[' * (LARGEST // 6))),
    "nesting in a pod": (200, lambda: _pod(b'"managedFields":' + b"[" * 1_000_000)),
    "a number of 60,000,000 digits": (413, lambda: b'{"Pod":%b,"NodeNames":[%b]}' % (POD, b"9" * LARGEST)),
    "an exponent of 1,000,000 digits": (
        200,
        lambda: _pod(b'"name":"p"},"spec":{"containers":[{"resources":{"requests":{"cpu":1e%b}}}]' % (b"9" * 1_000_000)),
    ),
    "a number of 60,000,000 digits that nobody reads": (
        413,
        lambda: b'{"X":%b,"Pod":%b,"NodeNames":["node-1"]}' % (b"9" * LARGEST, POD),
    ),
}  # fmt: skip


def _nodes(one: bytes, last: bytes) -> bytes:
    return b'{"Pod":%b,"Nodes":{"items":[%b%b]}}' % (POD, one * (LARGEST // len(one)), last)


def _names(one: bytes, size: int) -> bytes:
    return b'{"Pod":%b,"NodeNames":[%b"a"]}' % (POD, one * (size // len(one)))


def _containers(size: int) -> bytes:
    return b'{"NodeNames":["a"],"Pod":{"metadata":{"name":"p"},"spec":{"containers":[%b{}]}}}' % (b"{}," * (size // 3))


def _pod(metadata: bytes) -> bytes:
    return b'{"Pod":{"metadata":{"name":"p",%b},"spec":{}},"NodeNames":["node-1"]}' % metadata


@pytest.mark.parametrize(("wanted", "body"), SWELLING.values(), ids=SWELLING)
def test_no_body_swells_to_more_than_the_pod_may_have(target: Target, wanted: int, body: Callable[[], bytes]) -> None:
    shot = post(body())
    with target.growing_at_most(MOST_MB):
        answer = target.shoot(shot)
    assert status(answer) == wanted


def test_after_all_that_nothing_of_it_is_kept(target: Target) -> None:
    # The reader keeps the last pod and the last names; once those were of a body that it had refused, 960 MB.
    target.shoot(post(_names(b'"ab",', LARGEST)))
    target.shoot(post(_containers(LARGEST)))
    assert target.answers()
    assert target.rss_mb() < 300


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"x-gzip"])
def test_a_compressed_body_is_never_unpacked(target: Target, encoding: bytes) -> None:
    bomb = gzip.compress(b" " * 20_000_000, compresslevel=1) * 50 + gzip.compress(GOOD)  # one gzip file: a gigabyte
    with target.growing_at_most(30):
        answer = target.shoot(post(bomb, b"Content-Encoding: " + encoding))
    assert status(answer) == 200
    assert "not JSON" in answered(answer)["Error"]


def test_a_hundred_thousand_names_are_judged_and_one_more_is_not(target: Target) -> None:
    def with_names(count: int) -> bytes:
        return target.shoot(post(b'{"Pod":%b,"NodeNames":[%b]}' % (POD, b",".join([b'"node-1"'] * count))))

    assert len(answered(with_names(MOST_NODES))["NodeNames"]) == MOST_NODES
    assert status(with_names(MOST_NODES + 1)) == 413


@pytest.fixture
def within_limits() -> Iterator[Target]:
    with Target({"limits": {"names_body_bytes": 8192}}) as running:
        yield running


def test_full_nodes_as_real_ones_are_still_taken_past_the_limit_for_names(within_limits: Target) -> None:
    node = {"metadata": {"name": "node-1", "annotations": {"a": "x" * 6000}}, "status": {"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "110"}}}  # fmt: skip
    body = json.dumps({"Pod": json.loads(POD), "Nodes": {"items": [node] * 100}}).encode()
    answer = answered(within_limits.shoot(post(body)))
    assert (len(answer["Nodes"]["items"]), answer["Error"]) == (100, "")
