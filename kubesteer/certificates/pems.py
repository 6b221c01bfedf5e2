"""Certificates and keys to and from PEM."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from kubesteer.model.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def cert_pem(*certificates: x509.Certificate) -> bytes:
    """Certificates, one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate. Raises InvalidRecord."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise InvalidRecord(f"not a certificate in PEM: {exc}") from exc


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates. Raises InvalidRecord where there is none."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise InvalidRecord(f"not certificates in PEM: {exc}") from exc


def read_pair(cert: bytes, key: bytes) -> Pair:
    """A certificate and the key that belongs to it. Raises InvalidRecord."""
    certificate = read_certificate(cert)
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as exc:
        raise InvalidRecord(f"not a key in PEM: {exc}") from exc
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise InvalidRecord("the key is not one of an elliptic curve")
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise InvalidRecord("the key is not the certificate's")
    return Pair(certificate, private)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this authority's key signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def life(certificate: x509.Certificate) -> timedelta:
    """From its first moment to its last."""
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc
