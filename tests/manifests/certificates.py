"""Does for a test what cert-manager does in a cluster: from Certificate objects to folders as pods mount them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .written import written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509.extensions import ExtensionType

USAGES = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def issue_secrets(folder: Path, *, lasts: dt.timedelta = dt.timedelta(days=90)) -> None:
    """Write <folder>/<Secret>/{ca.crt,tls.crt,tls.key} of each Certificate in manifests/ that is no authority."""
    specs = [each.object["spec"] for each in written() if each.object["kind"] == "Certificate"]
    issuers = {
        each.object["metadata"]["name"]: each.object["spec"] for each in written() if each.object["kind"] == "Issuer"
    }
    authorities = {
        spec["secretName"]: _signed(spec, [x509.BasicConstraints(ca=True, path_length=None)], lasts)
        for spec in specs
        if spec.get("isCA")
    }
    for spec in specs:
        if spec.get("isCA"):
            continue
        signer = authorities[issuers[spec["issuerRef"]["name"]]["ca"]["secretName"]]
        usages: list[ExtensionType] = [x509.ExtendedKeyUsage([USAGES[usage] for usage in spec["usages"]])]
        names = [x509.DNSName(name) for name in spec.get("dnsNames", ())]
        certificate, key = _signed(
            spec, [*usages, *([x509.SubjectAlternativeName(names)] if names else [])], lasts, signer
        )
        secret = folder / spec["secretName"]
        secret.mkdir()
        (secret / "ca.crt").write_bytes(_pem(signer[0]))
        (secret / "tls.crt").write_bytes(_pem(certificate))
        (secret / "tls.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _signed(
    spec: dict[str, Any], extensions: Sequence[ExtensionType], lasts: dt.timedelta, signer: Pair | None = None
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spec["commonName"])])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + lasts)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
