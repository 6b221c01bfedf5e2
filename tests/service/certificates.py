"""A certificate authority for tests over TLS: servers at 127.0.0.1, clients, and such that have expired."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOUR = dt.timedelta(hours=1)


class Authority:
    """Signs what its own `ca_file` vouches for; all files are in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / f"{name}.crt"
        self.ca_file.write_bytes(_pem(self._signed(name, self._key, ends=HOUR, is_ca=True)))

    def issue(self, common_name: str, *, ends: dt.timedelta = HOUR) -> tuple[Path, Path]:
        """Certificate and key file of this name, which ends then; a second call puts new ones in their place."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert_file, key_file = self._folder / f"{common_name}.crt", self._folder / f"{common_name}.key"
        cert_file.write_bytes(_pem(self._signed(common_name, key, ends=ends, is_ca=False)))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def client(self, files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A client that trusts this authority and shows the certificate, if any."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if files is not None:
            context.load_cert_chain(*files)
        return context

    def _signed(
        self, subject: str, key: ec.EllipticCurvePrivateKey, *, ends: dt.timedelta, is_ca: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * HOUR)
            .not_valid_after(now + ends)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
