"""TLS of the verbs' port: versions, client certificates, and files that are read again when they change."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest

from extender.server.protocol import GuardedProtocol
from tests.builders import pod
from tests.certificates import HOUR, Authority
from tests.service.harness import Service, args, connected, http_post, on_free_ports, read_answer, running, service
from tests.waiting import WITHIN_S, until

BODY = json.dumps(args(pod(), ["node-1"])).encode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def tls_service(server: tuple[Path, Path], **more: Any) -> Service:
    tls = {"cert_file": server[0], "key_file": server[1], "reload_s": 0.05, **more}
    return service(**on_free_ports(tls=tls))


async def answered(port: int, context: ssl.SSLContext) -> bytes | None:
    """The serial number of the server's certificate where the call is answered with 200; None where TLS refuses it."""
    try:
        async with asyncio.timeout(WITHIN_S), connected(port, ssl=context) as (reader, writer):
            writer.write(http_post("filter", BODY))
            status, _, _ = await read_answer(reader)
            assert status == 200
            return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return None


async def eventually(port: int, context: ssl.SSLContext, wanted: Any) -> bytes | None:
    """The first answer that is as wanted."""
    got: bytes | None = None

    async def is_as_wanted() -> Any:
        nonlocal got
        got = await answered(port, context)
        return wanted(got)

    await until(is_as_wanted, every_s=0.02)
    return got


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("lowest", "version", "spoken"),
    [
        ("1.2", ssl.TLSVersion.TLSv1, False),
        ("1.2", ssl.TLSVersion.TLSv1_1, False),
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.2", ssl.TLSVersion.TLSv1_3, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_no_tls_below_the_lowest_version(
    authority: Authority, lowest: str, version: ssl.TLSVersion, spoken: bool
) -> None:
    async with running(tls_service(authority.issue("server"), min_version=lowest)) as (port, _):
        assert bool(await answered(port, only(authority.client(), version))) is spoken


async def test_plain_http_is_not_answered_on_the_tls_port(authority: Authority) -> None:
    async with running(tls_service(authority.issue("server"))) as (port, _):
        async with connected(port) as (reader, writer):
            writer.write(http_post("filter", BODY))
            async with asyncio.timeout(WITHIN_S):
                assert b"200" not in await reader.read()
        assert await answered(port, authority.client())


async def test_with_a_client_authority_only_its_valid_certificates_are_let_in(
    authority: Authority, tmp_path: Path
) -> None:
    own = authority.issue("kube-scheduler")
    expired = authority.issue("yesterday", ends=-HOUR)
    wrong = Authority(tmp_path, "somebody-else").issue("intruder")
    built = tls_service(authority.issue("server"), client_ca_file=authority.ca_file)
    async with running(built) as (port, _):
        assert await answered(port, authority.client()) is None
        assert await answered(port, authority.client(wrong)) is None
        assert await answered(port, authority.client(expired)) is None
        assert await answered(port, authority.client(own))
    assert built.metric("request_seconds_count", verb="filter") == 1


async def test_the_ops_port_needs_no_certificate(authority: Authority) -> None:
    built = tls_service(authority.issue("server"), client_ca_file=authority.ca_file)
    async with running(built) as (_, ops_port), connected(ops_port) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_answer(reader))[0] == 200


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(authority: Authority) -> None:
    built = tls_service(authority.issue("server"))
    async with running(built) as (port, _), connected(port, ssl=authority.client()) as (reader, writer):
        first = await answered(port, authority.client())
        authority.issue("server")
        second = await eventually(port, authority.client(), lambda got: got not in {first, None})
        assert second not in {first, None}
        writer.write(http_post("filter", BODY))
        assert (await read_answer(reader))[0] == 200
    assert any(line["event"] == "certificate reread" for line in built.lines())


async def test_a_certificate_without_its_key_yet_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    cert_file, key_file = authority.issue("server")
    built = tls_service((cert_file, key_file))
    async with running(built) as (port, _):
        first = await answered(port, authority.client())
        next_cert, next_key = authority.issue("next")
        cert_file.write_bytes(next_cert.read_bytes())
        await until(lambda: any("the last one stays" in line["event"] for line in built.lines()))
        assert await answered(port, authority.client()) == first
        key_file.write_bytes(next_key.read_bytes())
        assert await eventually(port, authority.client(), lambda got: got not in {first, None}) not in {first, None}


@pytest.mark.parametrize("harm", ["gone", "garbage"])
async def test_a_certificate_that_goes_bad_leaves_the_last_good_one(authority: Authority, harm: str) -> None:
    cert_file, key_file = authority.issue("server")
    built = tls_service((cert_file, key_file))
    async with running(built) as (port, _):
        if harm == "gone":
            cert_file.unlink()
        else:
            cert_file.write_text("-----BEGIN CERTIFICATE-----\nno\n")
        await until(lambda: any("the last one stays" in line["event"] for line in built.lines()))
        assert await answered(port, authority.client())


async def test_after_a_new_client_authority_the_old_one_is_trusted_no_more(
    authority: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(authority.ca_file.read_bytes())
    other = Authority(tmp_path, "next-authority")
    old, new = authority.issue("old-client"), other.issue("new-client")
    async with running(tls_service(authority.issue("server"), client_ca_file=trusted)) as (port, _):
        assert await answered(port, authority.client(old))
        assert await answered(port, authority.client(new)) is None
        trusted.write_bytes(other.ca_file.read_bytes())
        assert await eventually(port, authority.client(new), bool)
        assert await answered(port, authority.client(old)) is None


async def asked_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
    """What one more answer on an open connection says of the connection."""
    async with asyncio.timeout(WITHIN_S):
        writer.write(http_post("filter", BODY))
        status, headers, _ = await read_answer(reader)
        assert status == 200
        return headers.get("connection")


async def test_a_connection_of_an_authority_that_was_replaced_ends_with_its_next_answer(
    authority: Authority, tmp_path: Path
) -> None:
    """Nobody's request is lost: who is to go hears it with an answer, and closes; what it sends after that is not read.

    A connection that began with the new authority stays.
    """
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(authority.ca_file.read_bytes())
    other = Authority(tmp_path, "next-authority")
    thief, new = authority.client(authority.issue("thief")), authority.client(other.issue("new-client"))
    built = tls_service(authority.issue("server"), client_ca_file=trusted)
    async with running(built) as (port, _), connected(port, ssl=thief) as (reader, writer):
        assert await asked_on(reader, writer) is None
        trusted.write_bytes(other.ca_file.read_bytes())
        assert await eventually(port, new, bool)
        assert await asked_on(reader, writer) == "close"
        writer.write(http_post("filter", BODY))
        assert await reader.read() == b""
        async with connected(port, ssl=new) as (new_reader, new_writer):
            assert [await asked_on(new_reader, new_writer) for _ in range(3)] == [None] * 3


async def test_a_connection_goes_on_while_only_the_servers_certificate_is_renewed(authority: Authority) -> None:
    server, own = authority.issue("server"), authority.client(authority.issue("kube-scheduler"))
    async with (
        running(tls_service(server, client_ca_file=authority.ca_file)) as (port, _),
        connected(port, ssl=own) as (reader, writer),
    ):
        first = await answered(port, own)
        authority.issue("server")
        assert await eventually(port, own, lambda got: got not in {first, None}) not in {first, None}
        assert await asked_on(reader, writer) is None


async def test_a_connection_that_is_old_ends_with_an_answer(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a certificate that has expired meanwhile, on an open connection, is found out within the hour."""
    assert GuardedProtocol.oldest_s == 3600
    async with (
        running(tls_service(authority.issue("server"))) as (port, _),
        connected(port, ssl=authority.client()) as (reader, writer),
    ):
        assert await asked_on(reader, writer) is None
        monkeypatch.setattr(GuardedProtocol, "oldest_s", 0)
        assert await asked_on(reader, writer) == "close"


async def test_a_certificate_that_ends_soon_is_still_served(authority: Authority) -> None:
    async with running(tls_service(authority.issue("server", ends=dt.timedelta(minutes=1)))) as (port, _):
        assert await answered(port, authority.client())


async def test_a_handshake_that_stalls_leaves_the_service_answering(authority: Authority) -> None:
    async with running(tls_service(authority.issue("server"))) as (port, _), connected(port) as (_, writer):
        writer.write(b"\x16\x03\x01")
        assert await answered(port, authority.client())
