"""Does for a test what cert-manager does in a cluster: from Certificate objects to folders as pods mount them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from tests.certificates import Authority

from .written import written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def issue_secrets(folder: Path, *, lasts: dt.timedelta = dt.timedelta(days=90), addresses: Sequence[str] = ()) -> None:
    """Write <folder>/<Secret>/{ca.crt,tls.crt,tls.key} of each Certificate in manifests/ that is no authority.

    `addresses`: what a server is reached by besides its names.
    """
    specs = [each.object["spec"] for each in written() if each.object["kind"] == "Certificate"]
    issuers = {
        each.object["metadata"]["name"]: each.object["spec"] for each in written() if each.object["kind"] == "Issuer"
    }
    authorities = {
        spec["secretName"]: Authority(folder, spec["commonName"], ends=lasts) for spec in specs if spec.get("isCA")
    }
    for spec in specs:
        if spec.get("isCA"):
            continue
        signer = authorities[issuers[spec["issuerRef"]["name"]]["ca"]["secretName"]]
        secret = folder / spec["secretName"]
        secret.mkdir()
        (secret / "ca.crt").write_bytes(signer.ca_file.read_bytes())
        names = [*spec["dnsNames"], *addresses] if "dnsNames" in spec else []
        signer.issue(spec["commonName"], ends=lasts, names=names, usages=spec["usages"], stem=secret / "tls")
