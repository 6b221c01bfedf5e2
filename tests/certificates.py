"""A certificate authority for tests over TLS: servers at 127.0.0.1, clients, and such that have expired."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.cluster.nodes.certificates import authority_extensions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.x509.extensions import ExtensionType

HOUR = dt.timedelta(hours=1)
USAGES = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}


class Authority:
    """Signs what its own `ca_file` vouches for; all files are in one folder."""

    def __init__(self, folder: Path, name: str, *, ends: dt.timedelta = HOUR, has_usage: bool = True) -> None:
        """Without a usage, as old ones are, it says only that it is an authority."""
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / f"{name}.crt"
        self.ca_file.write_bytes(self._signed(name, self._key, ends, authority_extensions()[: 2 if has_usage else 1]))

    def issue(
        self,
        common_name: str,
        *,
        ends: dt.timedelta = HOUR,
        names: Iterable[str] = ("127.0.0.1", "localhost"),
        usages: Iterable[str] = (),
        stem: Path | None = None,
    ) -> tuple[Path, Path]:
        """Certificate and key file, <stem>.crt and <stem>.key, which end then; a second call puts new ones in place.

        names: of a server; addresses or DNS names. usages: as cert-manager names them; any where there are none.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[ExtensionType] = [x509.BasicConstraints(ca=False, path_length=None)]
        if alternatives := [_alternative(name) for name in names]:
            extensions.append(x509.SubjectAlternativeName(alternatives))
        if allowed := [USAGES[usage] for usage in usages]:
            extensions.append(x509.ExtendedKeyUsage(allowed))
        stem = stem or self._folder / common_name
        cert_file, key_file = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
        cert_file.write_bytes(self._signed(common_name, key, ends, extensions))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def server(self) -> ssl.SSLContext:
        """A server at 127.0.0.1 with a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server"))
        return context

    def client(self, files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A client that trusts this authority and shows the certificate, if any."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if files is not None:
            context.load_cert_chain(*files)
        return context

    def _signed(
        self, subject: str, key: ec.EllipticCurvePrivateKey, ends: dt.timedelta, extensions: Iterable[ExtensionType]
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * HOUR)
            .not_valid_after(now + ends)
            # By these OpenSSL tells two authorities of one name apart, as there are while one takes over.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_signer(self._key), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _signer(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
