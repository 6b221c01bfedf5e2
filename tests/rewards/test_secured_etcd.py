"""TLS, client certificates and users, on a real etcd under both back ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesteer.model.errors import StoreUnavailable
from kubesteer.model.reward import node_range, table_range
from kubesteer.rewards.table import RewardTable
from tests.rewards.certificates import Certificates
from tests.rewards.etcd_server import EtcdServer
from tests.rewards.stores import SOURCES, WRITERS, means, reward, running
from tests.waiting import pass_time, until

TOKENS_LAST_S = 1


@pytest.fixture(scope="module")
def tls_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    folder = tmp_path_factory.mktemp("tls")
    with EtcdServer(certificates=Certificates(folder, clients_must_show_theirs=False)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual_tls_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    folder = tmp_path_factory.mktemp("mtls")
    with EtcdServer(certificates=Certificates(folder, clients_must_show_theirs=True)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_etcd() -> Iterator[EtcdServer]:
    """Users on; a token is void after a second without use."""
    with EtcdServer(f"--auth-token-ttl={TOKENS_LAST_S}") as server:
        server.turn_auth_on({"agent": [table_range("/k")], "agent-n9": [node_range("/k", "n9")]}, "secret")
        yield server


async def written_and_read(backend: str, server: EtcdServer, prefix: str, **changes: object) -> None:
    writer, table = WRITERS[backend](server.options(prefix, **changes)), RewardTable()
    source = SOURCES[backend](server.options(prefix, **changes), table)
    async with running(source):
        await writer.put(reward("n1", mean=0.4))
        await until(lambda: means(table) == {"n1": 0.4})
        await writer.put(reward("n1", mean=0.5))
        await until(lambda: means(table) == {"n1": 0.5})
    await writer.close()


async def refusal(backend: str, server: EtcdServer, **changes: object) -> str:
    writer = WRITERS[backend](server.options(**{"prefix": "/k", **changes}))
    with pytest.raises(StoreUnavailable) as refused:
        await writer.put(reward())
    await writer.close()
    return str(refused.value)


async def test_tls_is_spoken_to_a_server_of_the_given_authority(
    backend: str, tls_etcd: EtcdServer, prefix: str
) -> None:
    await written_and_read(backend, tls_etcd, prefix)


async def test_a_server_of_another_authority_is_refused(backend: str, tls_etcd: EtcdServer, tmp_path: Path) -> None:
    other = Certificates(tmp_path, clients_must_show_theirs=False)
    assert "UNAVAILABLE" in await refusal(backend, tls_etcd, ca_file=other.ca)


async def test_mutual_tls_shows_the_clients_certificate(backend: str, mutual_tls_etcd: EtcdServer, prefix: str) -> None:
    await written_and_read(backend, mutual_tls_etcd, prefix)


async def test_a_client_without_a_certificate_is_refused_by_mutual_tls(
    backend: str, mutual_tls_etcd: EtcdServer
) -> None:
    assert "UNAVAILABLE" in await refusal(backend, mutual_tls_etcd, cert_file=None, key_file=None)


async def test_a_tls_file_that_is_not_there_yet_is_named_and_waited_for(
    backend: str, tls_etcd: EtcdServer, tmp_path: Path
) -> None:
    missing, table = tmp_path / "soon.pem", RewardTable()
    source = SOURCES[backend](tls_etcd.options("/soon", ca_file=missing), table)
    async with running(source):
        await until(lambda: "soon.pem" in (source.status().last_error or ""))
        missing.write_bytes(tls_etcd.certificates.ca.read_bytes())
        await until(lambda: source.status().synced)


async def test_a_user_logs_in_and_logs_in_again_when_the_token_has_run_out(
    backend: str, guarded_etcd: EtcdServer
) -> None:
    login = {"user": "agent", "password": "secret"}
    writer, table = WRITERS[backend](guarded_etcd.options("/k", **login)), RewardTable()
    source = SOURCES[backend](guarded_etcd.options("/k", heartbeat_s=TOKENS_LAST_S * 2.5, **login), table)
    async with running(source):
        await writer.put(reward("n1", mean=0.1))
        await until(lambda: means(table) == {"n1": 0.1})
        await pass_time(TOKENS_LAST_S * 3)
        await writer.put(reward("n1", mean=0.2))
        await until(lambda: means(table) == {"n1": 0.2})
        assert (source.status().resyncs, source.status().last_error) == (0, None)
    await writer.close()


async def test_a_restarted_server_that_forgot_the_token_is_logged_in_to_again(
    backend: str, guarded_etcd: EtcdServer
) -> None:
    login = {"user": "agent", "password": "secret"}
    writer, table = WRITERS[backend](guarded_etcd.options("/k", **login)), RewardTable()
    async with running(SOURCES[backend](guarded_etcd.options("/k", **login), table)):
        await writer.put(reward("n1", mean=0.3))
        await until(lambda: means(table) == {"n1": 0.3})
        guarded_etcd.kill()
        guarded_etcd.start()
        await writer.put(reward("n1", mean=0.4))
        await until(lambda: means(table) == {"n1": 0.4})
    await writer.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": "agent", "password": "wrong"}, "authentication failed"),
        ({}, "user name is empty"),
        ({"user": "agent", "password": "secret", "prefix": "/not-granted"}, "permission denied"),
    ],
)
async def test_a_refused_login_tells_why(
    backend: str, guarded_etcd: EtcdServer, changes: dict[str, str], said: str
) -> None:
    assert said in await refusal(backend, guarded_etcd, **changes)


async def test_a_user_is_no_hindrance_where_authentication_is_off(backend: str, etcd: EtcdServer, prefix: str) -> None:
    await written_and_read(backend, etcd, prefix, user="agent", password="secret")


async def test_a_role_for_one_node_is_enough_for_its_agent(backend: str, guarded_etcd: EtcdServer) -> None:
    writer = WRITERS[backend](guarded_etcd.options("/k", user="agent-n9", password="secret"))
    await writer.put(reward("n9", mean=0.7))
    assert await writer.list("n9") == [reward("n9", mean=0.7)]
    await writer.delete("n9", "web")
    assert await writer.list("n9") == []
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await writer.put(reward("n10"))
    await writer.close()
