"""Each certificate of a deployment in a thief's hand: at whose door it opens, and for whom it passes.

Certificates as manifests/ have them made, contexts as the services make them, and TLS between two memories.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from extender.server.tls import fresh_tls
from extender.settings import Tls
from tests.manifests.certificates import issue_secrets

SECRETS = (
    "kubesteer-agent-etcd",
    "kubesteer-agent-server",
    "kubesteer-etcd-maintenance",
    "kubesteer-etcd-peer",
    "kubesteer-etcd-server",
    "kubesteer-extender-etcd",
    "kubesteer-extender-server",
    "kubesteer-keeper-server",
    "kubesteer-scheduler-client",
)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    issue_secrets(folder)
    return folder


def shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Whether both sides take each other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    ]
    done = set()
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
            done.add(side.server_side)
    return done == {True, False}


def client_with(secrets: Path, secret: str, *, trusts: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=secrets / trusts / "ca.crt")
    context.load_cert_chain(secrets / secret / "tls.crt", secrets / secret / "tls.key")
    return context


def server_with(secrets: Path, secret: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / secret / "tls.crt", secrets / secret / "tls.key")
    return context


def test_these_are_all_certificates(secrets: Path) -> None:
    assert sorted(each.name for each in secrets.iterdir() if each.is_dir()) == sorted(SECRETS)


@pytest.mark.parametrize("stolen", SECRETS)
def test_only_the_schedulers_certificate_opens_the_extender(secrets: Path, stolen: str) -> None:
    own = secrets / "kubesteer-extender-server"
    tls = Tls(cert_file=own / "tls.crt", key_file=own / "tls.key", client_ca_file=own / "ca.crt")
    thief = client_with(secrets, stolen, trusts="kubesteer-extender-server")
    opened = shakes_hands(fresh_tls(tls, connections=10), thief, "kubesteer-extender.kubesteer.svc")
    assert opened is (stolen == "kubesteer-scheduler-client")


@pytest.mark.parametrize("stolen", SECRETS)
@pytest.mark.parametrize(
    ("name", "trusts", "own"),
    [
        pytest.param("kubesteer-extender", "kubesteer-scheduler-client", "kubesteer-extender-server", id="extender"),
        pytest.param("kubesteer-agent", "kubesteer-agent-server", "kubesteer-agent-server", id="agent"),
        pytest.param("kubesteer-keeper", "kubesteer-agent-server", "kubesteer-keeper-server", id="keeper"),
        pytest.param("kubesteer-etcd", "kubesteer-agent-etcd", "kubesteer-etcd-server", id="etcd"),
    ],
)
def test_a_certificate_passes_for_no_other_server_than_its_own(
    secrets: Path, stolen: str, name: str, trusts: str, own: str
) -> None:
    """To a client that trusts the authority of what it calls, and checks the name: scheduler, Prometheus, agent."""
    client = client_with(secrets, trusts, trusts=trusts)
    passes = shakes_hands(server_with(secrets, stolen), client, f"{name}.kubesteer.svc")
    assert passes is (stolen == own)
