"""Which Secrets are made and renewed, when, and that an authority's follower is known before it signs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from kubesteer.certificates.authorities import ROTATE
from kubesteer.certificates.pems import fingerprint, read_certificate, read_certificates, signed_by
from kubesteer.certificates.planning import MARK, ReaderState
from kubesteer.certificates.values import ETCD, PEER, WIRE, Lives
from kubesteer.model.errors import InvalidSettings
from tests.certificates_issued.world import DAY, World

LEAVES = {each.secret for each in World().wanted.leaves}
EVERYTHING = {WIRE, ETCD, PEER, *LEAVES}
OF_WIRE = {each.secret for each in World().wanted.leaves if each.authority == WIRE}
SERVER = "kubesteer-extender-server"


@pytest.fixture
def world() -> World:
    made = World()
    made.settle()
    return made


def trusted(world: World, name: str) -> list[str]:
    return [fingerprint(each) for each in read_certificates(world.secrets[name].data["ca.crt"])]


def own(world: World, name: str, entry: str = "tls.crt") -> str:
    return fingerprint(read_certificate(world.secrets[name].data[entry]))


def test_from_nothing_everything_is_made_and_then_nothing_is_to_be_done() -> None:
    world = World()
    done = world.settle()
    assert sorted(done) == sorted(EVERYTHING)
    assert world.plan().steps == ()
    for leaf in world.wanted.leaves:
        certificate = read_certificate(world.secrets[leaf.secret].data["tls.crt"])
        assert signed_by(certificate, read_certificate(world.secrets[leaf.authority].data["tls.crt"]))


@pytest.mark.parametrize(
    ("days", "due"),
    [
        pytest.param(59.9, set(), id="90 days, of which 60 are two thirds: not yet"),
        pytest.param(60, LEAVES, id="all were made together, and are due together"),
    ],
)
def test_a_leaf_is_renewed_at_two_thirds_of_its_life(world: World, days: float, due: set[str]) -> None:
    world.pass_time(days * DAY)
    assert set(world.settle()) == due


def test_a_leaf_that_is_gone_or_cannot_be_read_is_made_anew_and_no_other(world: World) -> None:
    del world.secrets[SERVER]
    world.change("kubesteer-etcd-peer", tls_key=world.secrets["kubesteer-etcd-server"].data["tls.key"])
    world.change("kubesteer-etcd-server", tls_crt=b"not a certificate")
    assert set(world.settle()) == {SERVER, "kubesteer-etcd-peer", "kubesteer-etcd-server"}


def test_a_leaf_whose_names_are_no_longer_wanted_is_made_anew(world: World) -> None:
    leaves = tuple(
        replace(each, dns_names=("other.svc",)) if each.secret == SERVER else each for each in world.wanted.leaves
    )
    world.wanted = replace(world.wanted, leaves=leaves)
    assert world.settle() == [SERVER]


def test_a_rotation_that_is_asked_for_is_done_once(world: World) -> None:
    before = own(world, SERVER)
    world.note(SERVER, ROTATE)
    assert world.settle() == [SERVER]
    assert own(world, SERVER) != before
    assert world.settle() == []


def test_a_secret_that_somebody_else_made_is_left_alone_and_told(world: World) -> None:
    world.secrets[SERVER] = replace(world.secrets[SERVER], is_ours=False, data={"tls.crt": b"theirs"})
    assert (world.plan().steps, world.plan().foreign) == ((), (SERVER,))
    world.secrets[ETCD] = replace(world.secrets[ETCD], is_ours=False)
    world.pass_time(80 * DAY)
    assert {step.name for step in world.plan().steps} == OF_WIRE - {SERVER} | {"kubesteer-etcd-peer"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("days", "begins"),
    [pytest.param(3284, False, id="3650 - 365 = 3285: not yet"), pytest.param(3286, True, id="a year before its end")],
)
def test_an_authority_gets_a_follower_a_year_before_its_end(world: World, days: int, begins: bool) -> None:
    world.pass_time(days * DAY)
    done = world.settle()
    assert ({WIRE, ETCD, PEER} <= set(done)) is begins


def test_a_follower_signs_only_when_all_know_it_and_those_that_read_at_the_start_have_started_anew(
    world: World,
) -> None:
    """Known (5 minutes), restarted, ready; then it signs, and the one before goes after 5 minutes more.

    Five minutes later nobody's files have it, and who read them at the start starts anew to forget it.
    """
    before, leaf = own(world, WIRE), own(world, SERVER)
    world.note(WIRE, ROTATE)
    assert set(world.settle()) == {WIRE, *OF_WIRE}
    follower = own(world, WIRE, "next.crt")
    assert (own(world, WIRE), own(world, SERVER)) == (before, leaf)
    for name in OF_WIRE:
        assert trusted(world, name) == [before, follower]
    world.pass_time(timedelta(minutes=4))
    assert world.settle() == []
    world.pass_time(timedelta(minutes=1))
    assert world.settle() == ["kubesteer-scheduler restarted"]
    of_both = world.readers["kubesteer-scheduler"].marks
    assert of_both.keys() == {MARK + WIRE}
    world.pass_time(timedelta(hours=1))
    assert (world.settle(), own(world, SERVER)) == ([], leaf)
    world.start_readers()
    assert set(world.settle()) == {WIRE, *OF_WIRE}
    assert own(world, WIRE) == follower
    assert "next.key" not in world.secrets[WIRE].data
    for name in OF_WIRE:
        certificate = read_certificate(world.secrets[name].data["tls.crt"])
        assert signed_by(certificate, read_certificate(world.secrets[WIRE].data["tls.crt"]))
        assert trusted(world, name) == [follower, before]
    world.pass_time(timedelta(minutes=5))
    assert set(world.settle()) == {WIRE, *OF_WIRE}
    for name in OF_WIRE:
        assert trusted(world, name) == [follower]
    world.pass_time(timedelta(minutes=4))
    assert world.settle() == []
    world.pass_time(timedelta(minutes=1))
    assert world.settle() == ["kubesteer-scheduler restarted"]
    assert world.readers["kubesteer-scheduler"].marks != of_both
    world.start_readers()
    world.pass_time(timedelta(days=1))
    assert world.settle() == []


def test_a_reader_that_was_made_anew_while_both_were_trusted_is_restarted_when_one_is_not(world: World) -> None:
    """It has no mark, and nobody can tell which it read."""
    world.note(WIRE, ROTATE)
    for _ in range(3):
        world.settle()
        world.start_readers()
        world.pass_time(timedelta(minutes=5))
    world.readers["kubesteer-scheduler"] = ReaderState({}, True)
    assert "kubesteer-scheduler restarted" not in world.settle()
    assert "previous.crt" not in world.secrets[WIRE].data
    world.pass_time(timedelta(minutes=5))
    assert world.settle() == ["kubesteer-scheduler restarted"]


def test_with_its_first_authority_nobody_is_restarted(world: World) -> None:
    world.pass_time(timedelta(days=30))
    assert world.settle() == []


def test_at_every_moment_of_a_rotation_everybody_trusts_everybody(world: World) -> None:
    """Whoever has the files of this moment, or of up to 4 minutes ago, accepts what all others show."""
    world.note(ETCD, ROTATE)
    of_etcd = [each.secret for each in world.wanted.leaves if each.authority == ETCD]
    seen: list[dict[str, tuple[str, list[str]]]] = []
    for _ in range(12):
        world.settle()
        world.start_readers()
        seen.append(
            {
                name: (
                    next(
                        fingerprint(each)
                        for each in read_certificates(world.secrets[ETCD].data["ca.crt"])
                        if signed_by(read_certificate(world.secrets[name].data["tls.crt"]), each)
                    ),
                    trusted(world, name),
                )
                for name in of_etcd
            }
        )
        world.pass_time(timedelta(minutes=4))
    assert len({signer for moment in seen for signer, _ in moment.values()}) == 2
    for one, other in itertools.pairwise(seen):
        for signs, knows in ((one, other), (other, one)):
            assert all(signer in known for signer, _ in signs.values() for _, known in knows.values())


def test_the_authority_before_is_trusted_while_an_agent_may_hold_a_certificate_of_it() -> None:
    """Seven days and the time to spread, where agents have certificates of their own."""
    world = World(per_node=True)
    world.settle()
    before = own(world, ETCD)
    world.note(ETCD, ROTATE)
    for _ in range(3):
        world.settle()
        world.start_readers()
        world.pass_time(timedelta(minutes=6))
    assert own(world, ETCD) != before
    world.pass_time(timedelta(days=6, hours=23))
    world.settle()
    assert before in trusted(world, "kubesteer-etcd-server")
    world.pass_time(timedelta(hours=2))
    world.settle()
    assert before not in trusted(world, "kubesteer-etcd-server")


def test_without_a_scheduler_or_an_etcd_of_its_own_nobody_is_waited_for(world: World) -> None:
    world.readers = {}
    before = own(world, WIRE)
    world.note(WIRE, ROTATE)
    world.settle()
    world.pass_time(timedelta(minutes=5))
    world.settle()
    assert own(world, WIRE) != before


@pytest.mark.parametrize("lost", ["gone", "not readable", "ended"])
def test_an_authority_that_is_lost_is_followed_at_once_and_its_readers_start_anew(world: World, lost: str) -> None:
    before = own(world, WIRE)
    if lost == "gone":
        del world.secrets[WIRE]
    elif lost == "not readable":
        world.change(WIRE, tls_key=b"nonsense")
    else:
        world.pass_time(3651 * DAY)
    done = world.settle()
    assert {WIRE, *OF_WIRE} <= set(done)
    assert own(world, WIRE) != before
    world.pass_time(timedelta(minutes=5))
    assert "kubesteer-scheduler restarted" in world.settle()
    world.start_readers()
    assert world.settle() == []


def test_a_successor_that_cannot_be_read_is_made_again_and_the_one_that_signs_stays(world: World) -> None:
    before = own(world, WIRE)
    world.note(WIRE, ROTATE)
    world.settle()
    world.change(WIRE, next_crt=b"nonsense")
    world.settle()
    assert own(world, WIRE) == before
    for name in OF_WIRE:
        assert trusted(world, name) == [before]
    world.note(WIRE, ROTATE)
    world.settle()
    assert len(trusted(world, SERVER)) == 2


@pytest.mark.parametrize(
    "lives",
    [
        {"leaf": 400 * DAY},
        {"node": timedelta(0)},
        {"authority": 300 * DAY},
    ],
)
def test_lives_that_cannot_work_together_are_refused(lives: dict[str, timedelta]) -> None:
    with pytest.raises(InvalidSettings, match="is not above 0 and below"):
        Lives(**lives)
