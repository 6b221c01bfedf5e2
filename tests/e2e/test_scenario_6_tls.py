"""kube-scheduler calls kubesteer over TLS and mTLS, as its tlsConfig says.

The extender is not ignorable here: a pod is placed only if the call went through, and waits with the reason if not.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tools.cluster.extender import Extender, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually

from .scenario import bed, kubesteer, node_of, older, running_bed, start_scheduler, why_pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

RELOAD_S = 0.2


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cert_file: Path
    key_file: Path

    def put_in_place_of(self, old: Pair) -> None:
        """Move both files over the old ones, as a Secret that is mounted or a certificate manager does."""
        self.key_file.replace(old.key_file)
        self.cert_file.replace(old.cert_file)


class Authority:
    """A certificate authority of one test."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._pair = self._issue(name, signer=None)
        self.file = self._pair.cert_file

    @classmethod
    def named(cls, directory: Path, *names: str) -> list[Self]:
        return [cls(directory, name) for name in names]

    def issue(self, name: str) -> Pair:
        """A certificate for 127.0.0.1, good for servers and clients."""
        return self._issue(name, signer=self._pair)

    def _issue(self, name: str, *, signer: Pair | None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.certificate.subject if signer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(signer.key if signer else key, hashes.SHA256())
        )
        stem = self._directory / f"{self._name}-{name}"
        pair = Pair(certificate, key, stem.with_suffix(".crt"), stem.with_suffix(".key"))
        pair.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair


def serving(pair: Pair, client_ca: Authority | None = None) -> dict[str, Any]:
    """The extender's `tls:` settings."""
    settings = {"cert_file": str(pair.cert_file), "key_file": str(pair.key_file), "reload_s": RELOAD_S}
    return settings | ({"client_ca_file": str(client_ca.file)} if client_ca else {})


def calling(extender: Extender, ca: Authority, client: Pair | None = None) -> dict[str, Any]:
    """A scheduler configuration whose one extender, not ignorable, is called over TLS."""
    tls = {"caFile": str(ca.file)}
    if client is not None:
        tls |= {"certFile": str(client.cert_file), "keyFile": str(client.key_file)}
    entry = scheduler_entry(extender, enableHTTPS=True, tlsConfig=tls, ignorable=False)
    return {"extenders": [entry]}


def place(bed: ControlPlane, name: str) -> str:
    """Create a pod and wait until it is placed."""
    bed.client.create(pod(name, requests={"cpu": "100m"}))
    return node_of(bed.client, name)


@pytest.fixture
def nodes(bed: ControlPlane) -> None:
    """Two, so that both verbs are called."""
    bed.client.create_all([node("a"), node("b")])


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "mTLS"])
def test_pods_are_placed_over_an_encrypted_connection(
    bed: ControlPlane, start_scheduler: Callable[..., Part], tmp_path: Path, mutual: bool
) -> None:
    [ca] = Authority.named(tmp_path, "ca")
    with kubesteer(bed, tls=serving(ca.issue("extender"), ca if mutual else None)) as extender:
        start_scheduler(calling(extender, ca, ca.issue("scheduler") if mutual else None))
        assert place(bed, "p") in ("a", "b")
        assert extender.metric("kubesteer_candidates_count") == 2


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize(
    "client",
    [
        pytest.param(lambda own, stranger: stranger.issue("scheduler"), id="another authority's"),
        pytest.param(lambda own, stranger: None, id="none"),
    ],
)
def test_a_wrong_client_certificate_is_refused_until_the_right_one_comes(
    bed: ControlPlane,
    start_scheduler: Callable[..., Part],
    tmp_path: Path,
    client: Callable[[Authority, Authority], Pair | None],
) -> None:
    own, stranger = Authority.named(tmp_path, "own", "stranger")
    with kubesteer(bed, tls=serving(own.issue("extender"), own)) as extender:
        start_scheduler(calling(extender, own, client(own, stranger)))
        bed.client.create(pod("p", requests={"cpu": "100m"}))
        assert why_pending(bed.client, "p").startswith(f'Post "{extender.url}/filter": ')
        assert extender.metric("kubesteer_candidates_count") == 0
        bed.stop_scheduler()
        start_scheduler(calling(extender, own, own.issue("scheduler")))
        assert node_of(bed.client, "p") in ("a", "b")


@pytest.mark.usefixtures("nodes")
def test_a_scheduler_that_does_not_trust_the_servers_certificate_sends_nothing(
    bed: ControlPlane, start_scheduler: Callable[..., Part], tmp_path: Path
) -> None:
    own, stranger = Authority.named(tmp_path, "own", "stranger")
    with kubesteer(bed, tls=serving(own.issue("extender"))) as extender:
        start_scheduler(calling(extender, stranger))
        bed.client.create(pod("p", requests={"cpu": "100m"}))
        assert "certificate signed by unknown authority" in why_pending(bed.client, "p")
        assert extender.metric("kubesteer_candidates_count") == 0


@pytest.mark.usefixtures("nodes")
def test_a_certificate_rotated_to_another_authority_serves_without_a_restart(
    bed: ControlPlane, start_scheduler: Callable[..., Part], tmp_path: Path
) -> None:
    """The scheduler on its open connection goes on; one that trusts only the new authority is served too."""
    old, new = Authority.named(tmp_path, "old", "new")
    pair, client = old.issue("extender"), old.issue("scheduler")
    with kubesteer(bed, tls=serving(pair, old)) as extender:
        start_scheduler(calling(extender, old, client))
        place(bed, "before")
        pid, rotated = extender.process.pid, new.issue("extender")
        rotated.put_in_place_of(pair)
        eventually(
            lambda: served_serial(extender, client) == rotated.certificate.serial_number,
            within_s=20,
            what="the new certificate served",
        )
        place(bed, "on-the-open-connection")
        bed.stop_scheduler()
        start_scheduler(calling(extender, new, client))
        place(bed, "after")
        assert extender.process.pid == pid
        assert extender.process.running


@pytest.mark.usefixtures("nodes")
def test_an_authority_of_clients_that_was_replaced_is_no_longer_trusted(
    bed: ControlPlane, start_scheduler: Callable[..., Part], tmp_path: Path
) -> None:
    server, old, new = Authority.named(tmp_path, "server", "old", "new")
    before, after = old.issue("scheduler"), new.issue("scheduler")
    with kubesteer(bed, tls=serving(server.issue("extender"), old)) as extender:
        start_scheduler(calling(extender, server, before))
        place(bed, "before")
        bed.stop_scheduler()
        new.file.replace(old.file)
        eventually(
            lambda: "certificate reread" in extender.process.log_tail(), within_s=20, what="the files read again"
        )
        start_scheduler(calling(extender, server, before))
        bed.client.create(pod("refused", requests={"cpu": "100m"}))
        assert why_pending(bed.client, "refused").startswith(f'Post "{extender.url}/filter": ')
        bed.stop_scheduler()
        start_scheduler(calling(extender, server, after))
        assert node_of(bed.client, "refused") in ("a", "b")


@pytest.mark.usefixtures("nodes")
def test_a_half_written_certificate_leaves_the_last_one_serving(
    bed: ControlPlane, start_scheduler: Callable[..., Part], tmp_path: Path
) -> None:
    [ca] = Authority.named(tmp_path, "ca")
    pair = ca.issue("extender")
    with kubesteer(bed, tls=serving(pair)) as extender:
        pair.cert_file.write_bytes(pair.cert_file.read_bytes()[:100])
        eventually(
            lambda: "certificate not usable" in extender.process.log_tail(), within_s=5, what="the bad file named"
        )
        start_scheduler(calling(extender, ca))
        assert place(bed, "p") in ("a", "b")


def served_serial(extender: Extender, client: Pair) -> int:
    """Serial number of the certificate that a new connection meets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(client.cert_file, client.key_file)
    with (
        socket.create_connection(("127.0.0.1", extender.port), timeout=5) as plain,
        context.wrap_socket(plain) as encrypted,
    ):
        return x509.load_der_x509_certificate(encrypted.getpeercert(binary_form=True) or b"").serial_number
