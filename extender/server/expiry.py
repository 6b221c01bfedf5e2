"""When the certificates end that the settings name, whoever made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from pathlib import Path

    from extender.settings import Settings


def certificate_files(settings: Settings) -> tuple[Path, ...]:
    """Those of both ports and of etcd's client, each once."""
    files = (settings.tls.cert_file, settings.ops_tls().cert_file, settings.rewards.cert_file)
    return tuple(dict.fromkeys(file for file in files if file is not None))


def expiry_s(file: Path) -> float:
    """Unix time at which the first certificate in a file ends; not a number where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return float("nan")
