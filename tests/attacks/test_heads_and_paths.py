"""Heads that are made to be read in two ways, and paths that mean another place: answered plainly or turned away."""

from __future__ import annotations

import pytest

from tests.attacks.target import ANSWER, GOOD, Target, answered, post, send_until_refused, status, until_closed

TWO_WAYS = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 30\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length with a sign": b"Content-Length: +5\r\n\r\nhello",
    "a length of 5,000 digits": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks and then something": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk past 64 bits": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a folded line": b"X: a\r\n Content-Length: 5\r\n\r\n",
    "a NUL": b"X: a\x00b\r\n\r\n",
    "a carriage return alone": b"X: a\rContent-Length: 5\r\n\r\n",
    "a header without a name": b": a\r\n\r\n",
    "a header of control characters": b"\x01\x02: a\r\n\r\n",
}


@pytest.mark.parametrize("rest", TWO_WAYS.values(), ids=TWO_WAYS)
def test_a_head_that_can_be_read_in_two_ways_is_turned_away_and_nothing_after_it_is_read(
    target: Target, rest: bytes
) -> None:
    answer = target.shoot(b"POST /filter HTTP/1.1\r\nHost: x\r\n" + rest)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 400
    assert ANSWER not in answer


@pytest.mark.parametrize(
    "path",
    [b"//filter", b"/filter/../filter", b"/./filter", b"/x/../filter", b"/x%2f..%2ffilter", b"/%2e/filter", b"/FILTER",
     b"/filter%00", b"/filter;x", b"/filter%zz", b"/filter%c0%af", b"/filter%0d%0aSet-Cookie:%20a=b", b"/..%5cfilter",
     b"/metrics", b"/explain", b"/docs", b"/openapi.json.bak", b"/" + b"a" * 20_000],
)  # fmt: skip
def test_a_path_that_is_no_verb_is_none_and_the_answer_does_not_repeat_it(target: Target, path: bytes) -> None:
    answer = target.shoot(post(GOOD, path=path))
    assert status(answer) == 404
    told = answered(answer)
    assert told == answered(target.shoot(post(GOOD, path=b"/nowhere"))), "the same, whatever the path"
    assert told["error"].startswith("POST is no verb here; POST /filter and /prioritize")
    assert b"Set-Cookie" not in answer


@pytest.mark.parametrize("path", [b"/%66ilter", b"/filter?verb=prioritize", b"http://elsewhere/filter"])
def test_a_path_that_spells_the_verb_otherwise_is_the_verb(target: Target, path: bytes) -> None:
    assert ANSWER in target.shoot(post(GOOD, path=path))


@pytest.mark.parametrize("host", [b"evil.example", b"[", b"a b", b"x/y?z#", b"@evil", b"\xff\xfe", b":99999999"])
@pytest.mark.parametrize("path", [b"/filter/", b"/healthz/"])
def test_no_host_that_a_client_names_is_where_an_answer_sends_it(target: Target, host: bytes, path: bytes) -> None:
    asked = b"POST %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % (path, host)
    for ops in (False, True):
        answer = target.shoot(asked, ops=ops)
        assert status(answer) in {400, 404, 405}
        assert b"location" not in answer.lower()


@pytest.mark.parametrize(
    "path",
    [b"/static-offline-docs/../../../../../etc/passwd", b"/static-offline-docs/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
     b"/static-offline-docs/..%2f..%2f..%2f..%2fetc/passwd", b"/static-offline-docs//etc/passwd",
     b"/static-offline-docs/..\\..\\etc\\passwd", b"/static-offline-docs/%00"],
)  # fmt: skip
def test_no_path_leads_out_of_the_documentations_files(target: Target, path: bytes) -> None:
    there = target.shoot(
        b"GET /static-offline-docs/swagger-ui.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ops=True
    )
    assert status(there) == 200  # so that the folder is where this test believes it to be
    answer = target.shoot(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path, ops=True)
    assert status(answer) in {400, 404}
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "headers",
    [(b"X-HTTP-Method-Override: DELETE",), (b"X-Original-URL: /metrics", b"X-Rewrite-URL: /metrics"),
     (b"X-Forwarded-Prefix: /x", b"X-Forwarded-Proto: https"), (b"Expect: 100-continue",), (b"Upgrade: h2c",),
     (b"Range: bytes=0-0",), (b"Accept-Encoding: gzip",), (b"Content-Type: text/plain; charset=utf-7",),
     (b"Cookie: " + b"a=b; " * 5000,)],
)  # fmt: skip
def test_no_header_changes_what_a_verb_decides(target: Target, headers: tuple[bytes, ...]) -> None:
    plain = answered(target.shoot(post(GOOD)))
    answer = target.shoot(post(GOOD, *headers)).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answered(answer) == plain


@pytest.mark.parametrize(
    "verb", [b"TRACE", b"CONNECT", b"DELETE", b"PUT", b"PROPFIND", b"M-SEARCH", b"BREW", b"G\x00T"]
)
def test_other_methods_are_refused_and_echo_nothing(target: Target, verb: bytes) -> None:
    answer = target.shoot(verb + b" /filter HTTP/1.1\r\nHost: x\r\nX-Secret: s3cret\r\nConnection: close\r\n\r\n")
    assert status(answer) in {400, 405}
    assert b"s3cret" not in answer


PIECES = {
    "one header without end": (b"POST /filter HTTP/1.1\r\nX: ", lambda: b"a" * 50_000),
    "headers without end": (b"POST /filter HTTP/1.1\r\n", lambda: b"a: b\r\n" * 8000),
    "a path without end": (b"GET /", lambda: b"a" * 50_000),
    "trailers without end": (
        b"POST /filter HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        lambda: b"a: b\r\n" * 8000,
    ),
    "a trailer without end": (
        b"POST /filter HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        lambda: b"a" * 50_000,
    ),
    "a chunk's extension without end": (
        b"POST /filter HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
        lambda: b"a" * 50_000,
    ),
}


@pytest.mark.parametrize(("start", "piece"), PIECES.values(), ids=PIECES)
def test_a_head_without_end_is_cut_off_long_before_it_fills_the_memory(target: Target, start: bytes, piece) -> None:
    # Once 192 MB of headers came in before the time for a head was up, and took 3.6 GB.
    with target.growing_at_most(20), target.connect() as connection:
        connection.sendall(start)
        sent = send_until_refused(connection, piece, most_bytes=200_000_000)
        said = until_closed(connection)
    assert sent < 20_000_000
    assert ANSWER not in said


def test_a_hundred_headers_are_read_and_more_are_not(target: Target) -> None:
    def with_headers(count: int) -> bytes:
        return target.shoot(post(GOOD, *(b"X-%d: y" % i for i in range(count - 3))))  # post() sends three

    assert ANSWER in with_headers(100)
    assert status(with_headers(101)) == 400
