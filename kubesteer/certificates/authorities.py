"""An authority as its Secret holds it, and how one follows another so that nobody stops trusting in between.

First the next one is only made known: every Secret's ca.crt has both. When that has spread, and who reads it only at
the start was restarted, the next one signs, and all leaves are made anew; the one before is still trusted. When that
has spread too, and no agent can hold a certificate of it, it goes.

Entries: tls.crt and tls.key of the one that signs, ca.crt of all that are trusted; next.crt, next.key and previous.crt
while there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from kubesteer.certificates.issuing import Maker, issue_authority
from kubesteer.certificates.pems import Pair, cert_pem, key_pem, read_certificate, read_pair
from kubesteer.certificates.values import Authority, Lives
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.secrets import SecretWrite, StoredSecret

PROMOTED = "kubesteer.io/signs-since"
"""The note on an authority's Secret with the time at which it took over."""
FOLLOWS = "kubesteer.io/follows-another"
"""The note on an authority's Secret that had another one before: somebody may have started with that one's."""
ROTATE = "kubesteer.io/rotate"
"""The note that asks for a new certificate or authority, whatever its value."""


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """Who signs, who will, and who did."""

    stored: StoredSecret
    current: Pair
    next: Pair | None
    previous: x509.Certificate | None

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """All that a ca.crt must hold."""
        others = (self.next.certificate if self.next else None, self.previous)
        return (self.current.certificate, *(each for each in others if each is not None))

    @property
    def bundle(self) -> bytes:
        """The ca.crt."""
        return cert_pem(*self.trusted)


def read_authority(stored: StoredSecret) -> AuthorityState:
    """Raises InvalidRecord where the one that signs cannot be read; the others are then as if they were not there."""
    data = stored.data
    current = read_pair(data.get("tls.crt", b""), data.get("tls.key", b""))
    following = previous = None
    with suppress(InvalidRecord):
        following = read_pair(data.get("next.crt", b""), data.get("next.key", b""))
    with suppress(InvalidRecord):
        previous = read_certificate(data.get("previous.crt", b""))
    return AuthorityState(stored, current, following, previous)


def first(
    authority: Authority,
    over: StoredSecret | None,
    why: str,
    make: Maker,
    *,
    lives: Lives,
    follows: bool,
    now: datetime,
) -> SecretWrite:
    """An authority that nobody announced. follows: there was one, and it is lost with its key."""
    pair = issue_authority(authority.secret, make, now=now, lasts=lives.authority)
    data: dict[str, bytes | None] = {**_signs(pair), "ca.crt": cert_pem(pair.certificate)}
    if over is not None:
        data |= dict.fromkeys(("next.crt", "next.key", "previous.crt"))
    notes: dict[str, str | None] = {PROMOTED: now.isoformat()}
    if follows:
        notes[FOLLOWS] = "true"
    return SecretWrite(authority.secret, over, data, notes, why)


def announced(state: AuthorityState, why: str, make: Maker, lives: Lives, now: datetime) -> SecretWrite:
    """The next one is made, and made known."""
    pair = issue_authority(state.stored.name, make, now=now, lasts=lives.authority)
    data: Mapping[str, bytes | None] = {
        "next.crt": cert_pem(pair.certificate),
        "next.key": key_pem(pair.key),
        "ca.crt": cert_pem(*state.trusted, pair.certificate),
    }
    return SecretWrite(state.stored.name, state.stored, data, {ROTATE: None, FOLLOWS: "true"}, why)


def promoted(state: AuthorityState, following: Pair, now: datetime) -> SecretWrite:
    """The next one signs. The key of the one before is thrown away."""
    before = state.current.certificate
    data: Mapping[str, bytes | None] = {
        **_signs(following),
        "next.crt": None,
        "next.key": None,
        "previous.crt": cert_pem(before),
        "ca.crt": cert_pem(following.certificate, before),
    }
    notes = {PROMOTED: now.isoformat()}
    return SecretWrite(state.stored.name, state.stored, data, notes, "its successor is known everywhere, and signs now")


def forgotten(state: AuthorityState) -> SecretWrite:
    """The one before is trusted no longer."""
    data: Mapping[str, bytes | None] = {"previous.crt": None, "ca.crt": cert_pem(state.current.certificate)}
    return SecretWrite(state.stored.name, state.stored, data, {}, "nothing is left that the one before has signed")


def signs_since(state: AuthorityState) -> datetime:
    """When it took over; its first moment where nobody noted it."""
    return note_time(state.stored, PROMOTED) or state.current.certificate.not_valid_before_utc


def note_time(stored: StoredSecret, note: str) -> datetime | None:
    """A time that was noted on a Secret; None where it is not, or cannot be read."""
    try:
        time = datetime.fromisoformat(stored.notes.get(note, ""))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def is_lost(stored: StoredSecret, now: datetime) -> str | None:
    """Why an authority can sign no longer; None where it can."""
    try:
        state = read_authority(stored)
    except InvalidRecord as exc:
        return str(exc)
    if state.current.certificate.not_valid_after_utc <= now:
        return f"it ended at {state.current.certificate.not_valid_after_utc.isoformat()}"
    return None


def _signs(pair: Pair) -> dict[str, bytes | None]:
    return {"tls.crt": cert_pem(pair.certificate), "tls.key": key_pem(pair.key)}
