"""Makes certificates: authorities that sign themselves, and what they sign. ECDSA P-256 and SHA-256 throughout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubesteer.certificates.pems import Pair
from kubesteer.certificates.values import Usage

_CLOCKS_APART = timedelta(minutes=5)
"""A certificate is good from before it was made: clocks differ."""
_EXTENDED = {Usage.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Usage.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Maker:
    """Where chance comes from. serial: up to 159 bits, never the same again."""

    key: Callable[[], ec.EllipticCurvePrivateKey]
    serial: Callable[[], int]


def issue_authority(name: str, make: Maker, *, now: datetime, lasts: timedelta) -> Pair:
    """An authority. A part of its number is in its name, so that the next one has another name."""
    key, serial = make.key(), make.serial()
    subject = _name(f"{name}-{serial & (16**_DIGITS - 1):0{_DIGITS}x}")
    usage = _key_usage(signs_certificates=True)
    builder = _builder(subject, subject, key.public_key(), serial, now, now + lasts)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue(
    signer: Pair,
    public_key: ec.EllipticCurvePublicKey,
    *,
    serial: int,
    common_name: str,
    usages: Iterable[Usage],
    dns_names: Iterable[str] = (),
    now: datetime,
    lasts: timedelta,
) -> x509.Certificate:
    """A certificate that is no authority. It ends with its signer at the latest."""
    authority = signer.certificate
    until = min(now + lasts, authority.not_valid_after_utc)
    builder = _builder(_name(common_name), authority.subject, public_key, serial, now, until)
    extended = x509.ExtendedKeyUsage([_EXTENDED[usage] for usage in sorted(usages, key=lambda each: each.value)])
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(signs_certificates=False), True),
        (extended, False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (_signer_identifier(authority), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    if names := [x509.DNSName(name) for name in dns_names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer.key, hashes.SHA256())


def usages_of(certificate: x509.Certificate) -> frozenset[Usage]:
    """What a certificate says that it is good for, of what is known here."""
    try:
        said = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(usage for usage, oid in _EXTENDED.items() if oid in said)


def dns_names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.DNSName))


def common_name_of(name: x509.Name) -> str:
    """The common name; empty where there is none, or more than one."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, serial)
    return builder.not_valid_before(now - _CLOCKS_APART).not_valid_after(until)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        decipher_only=False,
        **dict.fromkeys(others, False),
    )


def _signer_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
