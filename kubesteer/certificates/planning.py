"""What to do next so that every Secret is as it should be. One step at a time: the next follows from what then is.

Only ever the difference: nothing is to be done where all is well. Who does it, does it in this order, and plans again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubesteer.certificates.authorities import (
    FOLLOWS,
    ROTATE,
    AuthorityState,
    announced,
    first,
    forgotten,
    is_lost,
    note_time,
    promoted,
    read_authority,
    signs_since,
)
from kubesteer.certificates.issuing import Maker, common_name_of, dns_names_of, issue, usages_of
from kubesteer.certificates.pems import Pair, cert_pem, fingerprint, key_pem, life, read_pair, signed_by
from kubesteer.certificates.values import Authority, Leaf, Lives, Reader, Wanted
from kubesteer.model.errors import InvalidRecord
from kubesteer.model.secrets import SecretWrite, StoredSecret

KNOWN_SINCE = "kubesteer.io/authorities-since"
"""The note on a leaf's Secret with the time at which its ca.crt was last changed."""
MARK = "kubesteer.io/"
"""Before an authority's name: the note on a reader's pods with the authorities that they started with."""


@dataclass(frozen=True, slots=True)
class ReaderState:
    """A workload as it is. marks: its pods' annotations. is_settled: all its pods are those, and ready."""

    marks: Mapping[str, str]
    is_settled: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """New pods for a workload, with these marks on them."""

    reader: Reader
    marks: Mapping[str, str]
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to take now, what is waited for, and Secrets that are somebody else's and stay as they are."""

    steps: tuple[SecretWrite | Restart, ...] = ()
    waits: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def plan(
    wanted: Wanted,
    secrets: Mapping[str, StoredSecret],
    readers: Mapping[str, ReaderState],
    *,
    lives: Lives,
    make: Maker,
    now: datetime,
) -> Plan:
    """readers: those of the wanted ones that there are, by name. now: with a time zone."""
    foreign = tuple(name for name, stored in secrets.items() if not stored.is_ours)
    steps: list[SecretWrite | Restart] = []
    waits: list[str] = []
    for authority in wanted.authorities:
        if authority.secret in foreign:
            continue
        leaves = [leaf for leaf in wanted.leaves if leaf.authority == authority.secret and leaf.secret not in foreign]
        own = [reader for reader in wanted.readers if authority.secret in reader.authorities and reader.name in readers]
        found = list(_steps(authority, leaves, secrets, own, readers, lives=lives, make=make, now=now))
        steps += [step for step in found if not isinstance(step, str)]
        waits += [step for step in found if isinstance(step, str)]
    return Plan(tuple(steps), tuple(waits), foreign)


def _steps(
    authority: Authority,
    leaves: Sequence[Leaf],
    secrets: Mapping[str, StoredSecret],
    own_readers: Sequence[Reader],
    readers: Mapping[str, ReaderState],
    *,
    lives: Lives,
    make: Maker,
    now: datetime,
) -> Iterator[SecretWrite | Restart | str]:
    stored = secrets.get(authority.secret)
    why = "there is none" if stored is None else is_lost(stored, now)
    if stored is None or why:
        follows = stored is not None or any(leaf.secret in secrets for leaf in leaves)
        yield first(authority, stored, why or "", make, lives=lives, follows=follows, now=now)
        return
    state = read_authority(stored)
    writes = [
        write for leaf in leaves if (write := _leaf_write(leaf, secrets.get(leaf.secret), state, make, lives, now))
    ]
    yield from writes
    if writes:
        return
    held = [secrets[leaf.secret] for leaf in leaves]
    left = _until_spread(held, lives.spread, now)
    yield from _rotation(authority, state, own_readers, readers, left, lives=lives, make=make, now=now)


def _rotation(
    authority: Authority,
    state: AuthorityState,
    own_readers: Sequence[Reader],
    readers: Mapping[str, ReaderState],
    left: timedelta,
    *,
    lives: Lives,
    make: Maker,
    now: datetime,
) -> Iterator[SecretWrite | Restart | str]:
    """The next step from one authority to its follower. left: until all pods have what their Secrets have."""
    mark = {MARK + authority.secret: fingerprint(*state.trusted)}
    if state.next is not None:
        if left > timedelta(0):
            yield f"{authority.secret}: its successor becomes known, {_seconds(left)} more"
            return
        yield from _restarts(authority, own_readers, readers, mark)
        if all(_has_started(readers[reader.name], mark) for reader in own_readers):
            yield promoted(state, state.next, now)
    elif state.previous is not None:
        left = max(left, lives.spread - (now - signs_since(state)))
        if authority.signs_nodes:
            left = max(left, lives.node + lives.spread - (now - signs_since(state)))
        yield (
            f"{authority.secret}: the one before is trusted for {_seconds(left)} more"
            if left > timedelta(0)
            else (forgotten(state))
        )
    elif ROTATE in state.stored.notes:
        yield announced(state, "its rotation is asked for", make, lives, now)
    elif state.current.certificate.not_valid_after_utc - now < lives.authority_early:
        why = f"it ends at {state.current.certificate.not_valid_after_utc.isoformat()}"
        yield announced(state, why, make, lives, now)
    elif FOLLOWS in state.stored.notes:
        # Who reads at the start still trusts the one before, until it starts anew.
        if left > timedelta(0):
            yield f"{authority.secret}: that it is trusted alone becomes known, {_seconds(left)} more"
        else:
            yield from _restarts(authority, own_readers, readers, mark)


def _restarts(
    authority: Authority, own: Sequence[Reader], readers: Mapping[str, ReaderState], mark: Mapping[str, str]
) -> Iterator[Restart | str]:
    for reader in own:
        state = readers[reader.name]
        if not mark.items() <= state.marks.items():
            yield Restart(reader, mark, f"it reads {authority.secret} when it starts, and that has changed")
        elif not state.is_settled:
            yield f"{authority.secret}: {reader.kind} {reader.name} starts with what it has now"


def _has_started(state: ReaderState, mark: Mapping[str, str]) -> bool:
    return mark.items() <= state.marks.items() and state.is_settled


def _leaf_write(
    leaf: Leaf, stored: StoredSecret | None, state: AuthorityState, make: Maker, lives: Lives, now: datetime
) -> SecretWrite | None:
    why = "there is none" if stored is None else _why_anew(leaf, stored, state, now)
    known = {KNOWN_SINCE: now.isoformat()}
    if why:
        key = make.key()
        certificate = issue(
            state.current,
            key.public_key(),
            serial=make.serial(),
            common_name=leaf.common_name,
            usages=leaf.usages,
            dns_names=leaf.dns_names,
            now=now,
            lasts=lives.leaf,
        )
        data = {"ca.crt": state.bundle, "tls.crt": cert_pem(certificate), "tls.key": key_pem(key)}
        notes: dict[str, str | None] = {ROTATE: None} if stored is not None and ROTATE in stored.notes else {}
        return SecretWrite(leaf.secret, stored, data, {**notes, **known}, why)
    if stored is not None and stored.data.get("ca.crt") != state.bundle:
        return SecretWrite(leaf.secret, stored, {"ca.crt": state.bundle}, known, "its authorities have changed")
    return None


def _why_anew(leaf: Leaf, stored: StoredSecret, state: AuthorityState, now: datetime) -> str | None:
    """Why a leaf is made anew; None where it need not."""
    try:
        certificate = read_pair(stored.data.get("tls.crt", b""), stored.data.get("tls.key", b"")).certificate
    except InvalidRecord as exc:
        return str(exc)
    if ROTATE in stored.notes:
        return "its rotation is asked for"
    if not signed_by(certificate, state.current.certificate):
        return "its authority has changed"
    if (common_name_of(certificate.subject), usages_of(certificate)) != (leaf.common_name, leaf.usages):
        return "it is of another name or usage"
    if dns_names_of(certificate) != leaf.dns_names:
        return f"it is for {', '.join(dns_names_of(certificate)) or 'no host'}"
    if now >= certificate.not_valid_before_utc + life(certificate) * 2 / 3:
        return f"it ends at {certificate.not_valid_after_utc.isoformat()}"
    return None


def _until_spread(held: Sequence[StoredSecret], spread: timedelta, now: datetime) -> timedelta:
    """How long until what was written last has reached every pod; a time that nobody noted counts as now."""
    return max((spread - (now - (note_time(each, KNOWN_SINCE) or now)) for each in held), default=timedelta(0))


def _seconds(left: timedelta) -> str:
    return f"{left.total_seconds():.0f} s"


def signer(stored: StoredSecret | None, now: datetime) -> Pair | None:
    """Who signs in the name of an authority; None where nobody can."""
    if stored is None or is_lost(stored, now):
        return None
    return read_authority(stored).current
