"""Which Secrets are to be written so that every certificate is as it should be: none where all is well.

Leaves are renewed. An authority is made where none can sign; docs/certificates.md says how people replace one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kubesteer.certificates.issuing import Maker, common_name_of, dns_names_of, issue, issue_authority, usages_of
from kubesteer.certificates.pems import Pair, cert_pem, key_pem, life, read_pair, signed_by
from kubesteer.certificates.values import Leaf, Lives, Wanted
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.secrets import SecretWrite, StoredSecret

ROTATE = "kubesteer.io/rotate"
"""The annotation on a leaf's Secret that asks for a new certificate, whatever its value."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write now, and the Secrets that belong to somebody else and stay as they are."""

    writes: tuple[SecretWrite, ...] = ()
    foreign: tuple[str, ...] = ()


def plan(wanted: Wanted, secrets: Mapping[str, StoredSecret], *, lives: Lives, make: Maker, now: datetime) -> Plan:
    """secrets: those of the wanted ones that there are. Leaves follow once their authority is written."""
    foreign = tuple(name for name, stored in secrets.items() if not stored.is_ours)
    writes: list[SecretWrite] = []
    for name in wanted.authorities:
        if name in foreign:
            continue
        stored = secrets.get(name)
        try:
            pair = signer(stored, now)
        except InvalidRecord as exc:
            made = issue_authority(name, make, now=now, lasts=lives.authority)
            writes.append(SecretWrite(name, stored, _entries(made, made), {}, str(exc)))
            continue
        leaves = [leaf for leaf in wanted.leaves if leaf.authority == name and leaf.secret not in foreign]
        found = (_leaf_write(leaf, secrets.get(leaf.secret), pair, make, lives, now) for leaf in leaves)
        writes += [write for write in found if write is not None]
    return Plan(tuple(writes), foreign)


def signer(stored: StoredSecret | None, now: datetime) -> Pair:
    """The authority in a Secret. Raises InvalidRecord where it cannot sign (any more), and says why."""
    if stored is None:
        raise InvalidRecord("there is none")
    pair = _pair_in(stored)
    if pair.certificate.not_valid_after_utc <= now:
        raise InvalidRecord(f"it ended at {pair.certificate.not_valid_after_utc.isoformat()}")
    return pair


def _leaf_write(
    leaf: Leaf, stored: StoredSecret | None, authority: Pair, make: Maker, lives: Lives, now: datetime
) -> SecretWrite | None:
    why = "there is none" if stored is None else _why_anew(leaf, stored, authority, now)
    if why is None:
        return None
    key = make.key()
    certificate = issue(
        authority,
        key.public_key(),
        serial=make.serial(),
        common_name=leaf.common_name,
        usages=leaf.usages,
        dns_names=leaf.dns_names,
        now=now,
        lasts=lives.leaf,
    )
    notes = {} if stored is None else {ROTATE: None}
    return SecretWrite(leaf.secret, stored, _entries(Pair(certificate, key), authority), notes, why)


def _why_anew(leaf: Leaf, stored: StoredSecret, authority: Pair, now: datetime) -> str | None:
    """Why a leaf is made anew; None where it need not be."""
    try:
        certificate = _pair_in(stored).certificate
    except InvalidRecord as exc:
        return str(exc)
    if ROTATE in stored.notes:
        return "its rotation is asked for"
    is_known = stored.data.get("ca.crt") == cert_pem(authority.certificate)
    if not (is_known and signed_by(certificate, authority.certificate)):
        return "its authority has changed"
    if (common_name_of(certificate.subject), usages_of(certificate)) != (leaf.common_name, leaf.usages):
        return "it is of another name or usage"
    if dns_names_of(certificate) != leaf.dns_names:
        return f"it is for {', '.join(dns_names_of(certificate)) or 'no host'}"
    if now >= certificate.not_valid_before_utc + life(certificate) * 2 / 3:
        return f"it ends at {certificate.not_valid_after_utc.isoformat()}"
    return None


def _pair_in(stored: StoredSecret) -> Pair:
    return read_pair(stored.data.get("tls.crt", b""), stored.data.get("tls.key", b""))


def _entries(pair: Pair, authority: Pair) -> dict[str, bytes | None]:
    return {
        "tls.crt": cert_pem(pair.certificate),
        "tls.key": key_pem(pair.key),
        "ca.crt": cert_pem(authority.certificate),
    }
