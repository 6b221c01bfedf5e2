"""Whom clients over TLS trust."""

from __future__ import annotations

import ssl


def trusting(ca_file: str | None = None, *, authority_pem: str | None = None) -> ssl.SSLContext:
    """A client's context that trusts these authorities, or the system's where none is given.

    Raises OSError where there is no such file, and ssl.SSLError where it holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=authority_pem)
    # Python 3.13 refuses authorities without a key identifier or a key usage, which Kubernetes' own clients take.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
