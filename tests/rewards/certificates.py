"""A certificate authority made for one test run, with a server's and a client's certificate in a folder."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    def __init__(self, folder: Path, *, clients_must_show_theirs: bool) -> None:
        self.clients_must_show_theirs = clients_must_show_theirs
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = _name("test authority")
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(_pem(self._signed(self._ca_name, self._ca_key, is_ca=True)))
        self.server, self.server_key = self._pair(folder, "server")
        self.client, self.client_key = self._pair(folder, "client")

    def server_flags(self) -> list[str]:
        flags = [f"--cert-file={self.server}", f"--key-file={self.server_key}"]
        return (
            [*flags, "--client-cert-auth", f"--trusted-ca-file={self.ca}"] if self.clients_must_show_theirs else flags
        )

    def client_options(self) -> dict[str, Path]:
        own = {"cert_file": self.client, "key_file": self.client_key} if self.clients_must_show_theirs else {}
        return {"ca_file": self.ca, **own}

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), self.client_key.read_bytes(), self.client.read_bytes()
        )

    def _pair(self, folder: Path, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        cert_file, key_file = folder / f"{name}.pem", folder / f"{name}-key.pem"
        cert_file.write_bytes(_pem(self._signed(_name(name), key, is_ca=False)))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
