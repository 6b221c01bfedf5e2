"""Which Secrets are made and renewed, when, and what follows where an authority is made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubesteer.certificates.pems import read_certificate, signed_by
from kubesteer.certificates.planning import ROTATE
from kubesteer.certificates.values import ETCD, PEER, WIRE
from tests.certificates_issued.world import DAY, NOW, World

LEAVES = {each.secret for each in World().wanted.leaves}
EVERYTHING = {WIRE, ETCD, PEER, *LEAVES}
OF_WIRE = {each.secret for each in World().wanted.leaves if each.authority == WIRE}
SERVER = "kubesteer-extender-server"


@pytest.fixture
def world() -> World:
    made = World()
    made.settle()
    return made


def own(world: World, name: str) -> bytes:
    return world.secrets[name].data["tls.crt"]


def test_from_nothing_everything_is_made_and_then_nothing_is_to_be_done() -> None:
    world = World()
    done = world.settle()
    assert sorted(done) == sorted(EVERYTHING)
    assert world.plan().writes == ()
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
    assert (world.plan().writes, world.plan().foreign) == ((), (SERVER,))
    world.secrets[ETCD] = replace(world.secrets[ETCD], is_ours=False)
    world.pass_time(80 * DAY)
    assert {write.name for write in world.plan().writes} == OF_WIRE - {SERVER} | {"kubesteer-etcd-peer"}


def test_an_authority_is_left_as_it_is_until_its_last_moment(world: World) -> None:
    """3,650 days. Its last leaves end with it, so they last less and less: 36 days before the end, 24 are two thirds."""
    before = own(world, WIRE)
    for days in range(50, 3650, 50):
        world.now = NOW + days * DAY
        world.settle()
    world.note(WIRE, ROTATE)
    world.now = NOW + 3649 * DAY
    world.settle()
    assert own(world, WIRE) == before
    assert read_certificate(own(world, SERVER)).not_valid_after_utc == NOW + 3650 * DAY


@pytest.mark.parametrize("lost", ["gone", "not readable", "ended"])
def test_an_authority_that_can_sign_no_longer_is_made_anew_with_its_leaves_and_no_others(
    world: World, lost: str
) -> None:
    before, others = own(world, WIRE), {name: own(world, name) for name in EVERYTHING - OF_WIRE - {WIRE}}
    if lost == "gone":
        del world.secrets[WIRE]
    elif lost == "not readable":
        world.change(WIRE, tls_key=b"nonsense")
    else:
        world.now = read_certificate(before).not_valid_after_utc
    done = world.settle()
    assert {WIRE, *OF_WIRE} <= set(done)
    assert own(world, WIRE) != before
    for name in OF_WIRE:
        assert world.secrets[name].data["ca.crt"] == own(world, WIRE)
        assert signed_by(read_certificate(own(world, name)), read_certificate(own(world, WIRE)))
    if lost != "ended":
        assert {name: own(world, name) for name in others} == others
    assert world.settle() == []
