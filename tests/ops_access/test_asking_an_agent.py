"""The agent's ops port where it is opened: TLS with a certificate that is read again, and tokens for metrics."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter

from kubesteer.clients.kubernetes.reviews import Reviews
from kubesteer.clients.ops_pages import serving, serving_probes
from kubesteer.clients.ops_tls import ServerTls, server_tls
from kubesteer.model.errors import InvalidSettings
from monitor_agent.settings import Ops
from tests.certificates import Authority
from tests.ops_access.fake_reviews import FakeReviews
from tests.waiting import WITHIN_S, until

REPORT = {"ready": True, "node": {"name": "node-1"}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def api() -> FakeReviews:
    found = FakeReviews(
        [("scraper", "get", "/metrics"), ("scraper", "get", "/readyz"), ("admin", "get", "/readyz/details")]
    )
    for account in ("scraper", "admin", "nobody"):
        found.give(account, account)
    return found


@pytest.fixture
def choice(authority: Authority) -> Ops:
    cert_file, key_file = authority.issue("agent")
    return Ops(port=0, auth="kubernetes", cert_file=str(cert_file), key_file=str(key_file))


def tls_of(choice: Ops) -> ServerTls | None:
    return server_tls(choice.cert_file, choice.key_file)


@pytest.fixture
async def port(choice: Ops, api: FakeReviews) -> AsyncIterator[int]:
    registry = CollectorRegistry()
    Counter("kubesteer_test", "A test's.", registry=registry).inc(3)
    async with serving(choice, lambda: REPORT, registry, tls=tls_of(choice), reviews=Reviews(api)) as url:
        assert url.startswith("https://")
        yield int(url.rpartition(":")[2])


async def ask(port: int, authority: Authority, request: str) -> tuple[int, str]:
    """Status and everything that came. request: its first line and headers."""
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client())
        writer.write(f"{request}\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return int(answer.split()[1]), answer


def bearer(token: str) -> str:
    return f"\r\nAuthorization: Bearer {token}"


async def test_health_is_open_and_tells_no_details(port: int, authority: Authority, api: FakeReviews) -> None:
    assert (await ask(port, authority, "GET /healthz HTTP/1.1"))[0] == 200
    for credentials in ("", bearer("scraper"), bearer("wrong")):
        status, text = await ask(port, authority, f"GET /readyz HTTP/1.1{credentials}")
        assert (status, text.rpartition("\r\n")[2]) == (200, '{"ready":true}')
    assert "node-1" in (await ask(port, authority, f"GET /readyz HTTP/1.1{bearer('admin')}"))[1]
    api.down = True
    assert (await ask(port, authority, "GET /healthz HTTP/1.1"))[0] == 200
    assert (await ask(port, authority, f"GET /readyz HTTP/1.1{bearer('new')}"))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(f"GET /metrics HTTP/1.1{bearer('scraper')}", 200, id="the right"),
        pytest.param(f"GET /metrics?x=/healthz HTTP/1.1{bearer('scraper')}", 200, id="with a query"),
        pytest.param("GET /metrics HTTP/1.1\r\nAUTHORIZATION:  bearer scraper", 200, id="other spelling"),
        pytest.param("GET /metrics HTTP/1.1", 401, id="no token"),
        pytest.param(f"GET /metrics HTTP/1.1{bearer('wrong')}", 401, id="garbage"),
        pytest.param(f"GET /metrics HTTP/1.1{bearer('nobody')}", 403, id="no right"),
        pytest.param(f"GET /metrics HTTP/1.1{bearer('nobody')}{bearer('scraper')}", 401, id="two tokens"),
        pytest.param("GET /metrics?access_token=scraper HTTP/1.1", 401, id="a token in the query"),
        pytest.param(f"GET /metrics HTTP/1.1\r\nX: y{bearer('scraper')[2:]}", 401, id="a token in another header"),
        pytest.param(f"GET //metrics HTTP/1.1{bearer('scraper')}", 403, id="two slashes"),
        pytest.param(f"GET /metrics/ HTTP/1.1{bearer('scraper')}", 403, id="a slash at the end"),
        pytest.param(f"GET /%2fmetrics HTTP/1.1{bearer('scraper')}", 403, id="encoded"),
        pytest.param(f"GET /healthz/../metrics HTTP/1.1{bearer('scraper')}", 403, id="up from health"),
        pytest.param("GET /healthz/../metrics HTTP/1.1", 401, id="up from health, no token"),
        pytest.param("GET /nowhere HTTP/1.1", 401, id="no page, no token"),
        pytest.param(f"HEAD /metrics HTTP/1.1{bearer('nobody')}", 403, id="HEAD, no right"),
        pytest.param(f"POST /metrics HTTP/1.1{bearer('scraper')}", 405, id="POST"),
        pytest.param("OPTIONS /metrics HTTP/1.1", 405, id="OPTIONS"),
    ],
)
async def test_metrics_need_a_token_that_may_get_them(
    port: int, authority: Authority, request_: str, status: int
) -> None:
    answered, text = await ask(port, authority, request_)
    assert answered == status
    assert ("kubesteer_test_total 3.0" in text) is (status == 200)
    assert ("\r\nWWW-Authenticate: Bearer" in text) is (status == 401)


async def test_who_cannot_be_asked_about_gets_no_metrics(port: int, authority: Authority, api: FakeReviews) -> None:
    api.down = True
    status, text = await ask(port, authority, f"GET /metrics HTTP/1.1{bearer('scraper')}")
    assert (status, "kubesteer_test" in text) == (503, False)


async def test_on_loopback_nobody_is_asked(api: FakeReviews) -> None:
    """The default: no TLS, no tokens, and the API server is not needed."""
    assert (Ops().host, Ops().auth) == ("127.0.0.1", "none")
    async with serving(Ops(port=0), lambda: REPORT, CollectorRegistry()) as url:
        assert url.startswith("http://127.0.0.1:")
    assert api.posted == []


async def test_a_renewed_certificate_is_shown_without_a_restart(port: int, authority: Authority) -> None:
    before = await shown(port, authority)
    authority.issue("agent")

    async def is_another() -> bool:
        return await shown(port, authority) != before

    await until(is_another)


@pytest.mark.parametrize("harm", ["garbage", "gone", "another key"])
async def test_a_certificate_that_goes_bad_leaves_the_last_good_one(
    port: int, authority: Authority, choice: Ops, harm: str
) -> None:
    before = await shown(port, authority)
    assert choice.cert_file
    assert choice.key_file
    if harm == "gone":
        Path(choice.cert_file).unlink()
    elif harm == "garbage":
        Path(choice.cert_file).write_text("-----BEGIN CERTIFICATE-----\nno\n")
    else:
        shutil.copy(authority.issue("another")[1], choice.key_file)
    assert {await shown(port, authority) for _ in range(3)} == {before}


async def shown(port: int, authority: Authority) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client())
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    await reader.read()
    writer.close()
    return certificate


async def test_connections_that_never_shake_hands_are_bounded(port: int, authority: Authority) -> None:
    """Of 300 silent ones those beyond 32 are closed; when the others are gone too, there is room again."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    await until(lambda: sum(reader.at_eof() for reader, _ in opened) == 300 - 32)
    for _, writer in opened:
        writer.close()

    async def there_is_room() -> bool:
        try:
            return (await ask(port, authority, "GET /healthz HTTP/1.1"))[0] == 200
        except OSError:
            return False

    await until(there_is_room)


async def test_a_silent_connection_is_closed_after_its_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubesteer.clients.ops_pages._WITHIN_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(WITHIN_S):
        assert await reader.read() == b""
    writer.close()


async def plain(url: str, path: str) -> str:
    """All that comes back without TLS."""
    async with asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer


async def test_probes_are_answered_while_others_hold_every_connection_of_the_opened_address(
    choice: Ops, api: FakeReviews
) -> None:
    """As a pod did: more connections than the 32, none of which says anything, for as long as the kubelet waits."""
    both = msgspec.structs.replace(choice, probes_host="127.0.0.1")
    async with (
        serving_probes(both.probes_host, both.port, lambda: REPORT) as probes,
        serving(both, lambda: REPORT, CollectorRegistry(), tls=tls_of(both), reviews=Reviews(api)) as opened,
    ):
        assert probes
        port = int(opened.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        await until(lambda: sum(reader.at_eof() for reader, _ in held) == 100 - 32)
        for path in ("/healthz", "/readyz"):
            assert (await plain(probes, path)).startswith("HTTP/1.1 200 OK")
        for _, writer in held:
            writer.close()
    assert api.posted == []


async def test_where_probes_are_answered_nothing_else_is_told(choice: Ops) -> None:
    ready = {"ready": True}
    async with serving_probes("127.0.0.1", choice.port, lambda: REPORT | ready) as url:
        assert url
        assert (await plain(url, "/readyz")).endswith('\r\n{"ready":true}')
        assert (await plain(url, "/metrics")).startswith("HTTP/1.1 404")
        ready["ready"] = False
        assert (await plain(url, "/readyz")).startswith("HTTP/1.1 503")
    async with serving_probes(choice.probes_host, choice.port, lambda: REPORT) as url:
        assert url is None


async def test_an_address_for_probes_that_is_not_the_nodes_is_told_with_its_setting() -> None:
    with pytest.raises(InvalidSettings, match=r"ops\.probes_host, ops\.port: 192\.0\.2\.1:0 cannot be listened at"):
        async with serving_probes("192.0.2.1", 0, lambda: REPORT):
            pass


async def test_old_tls_is_not_spoken(port: int, authority: Authority) -> None:
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context)


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({"cert_file": "server.crt"}, "they go together"),
        ({"key_file": "server.key"}, "they go together"),
        ({"cert_file": "nowhere.crt", "key_file": "nowhere.key"}, "give a PEM certificate and its key"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(files: dict[str, str], rule: str) -> None:
    with pytest.raises(InvalidSettings, match=rule):
        server_tls(files.get("cert_file"), files.get("key_file"))


async def test_until_its_certificate_is_there_another_is_shown(authority: Authority, tmp_path: Path) -> None:
    """The keeper makes its own certificate in its first round, and probes come before."""
    unsigned, (cert_file, key_file) = Authority(tmp_path, "other").issue("unsigned"), authority.issue("keeper")
    mounted = tmp_path / "tls.crt", tmp_path / "tls.key"
    tls = server_tls(*map(str, mounted), until_there=unsigned)
    async with serving(Ops(port=0), lambda: REPORT, CollectorRegistry(), tls=tls) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, authority, "GET /healthz HTTP/1.1\r\n")
        for file, made in zip(mounted, (cert_file, key_file), strict=True):
            file.write_bytes(made.read_bytes())

        async def is_trusted() -> bool:
            with suppress(ssl.SSLCertVerificationError):
                return (await ask(port, authority, "GET /healthz HTTP/1.1\r\n"))[0] == 200
            return False

        await until(is_trusted)
