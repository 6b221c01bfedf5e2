"""Which link limits a node, from files laid out as the kernel's: kinds that a test machine does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor_agent.probes.links import LinkReading, LinkSettings, default_interface, read_link
from tests.network_probes.fake_sys import FakeMachine

G = 1_000_000_000
Build = Callable[[FakeMachine], FakeMachine]


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def reading(
    machine: FakeMachine, interface: str | None = None, *, previous: str = "", trust: bool = False
) -> LinkReading:
    return read_link(LinkSettings(interface, trust, machine.root), previous=previous)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda m: m.default_route("eth0"), "eth0"),
        (lambda m: m.default_route("eth0", metric=200).default_route("eth1", metric=100), "eth1"),
        (lambda m: m.default_route("eth0", metric=100).default_route("eth1", metric=100), "eth0"),
        (lambda m: m.default_route("eth0", flags=0x0).default_route("eth1", metric=9), "eth1"),
        (lambda m: m.ipv6_default_route("lo", metric=0xFFFFFFFF, flags=0x200200).ipv6_default_route("eth3"), "eth3"),
        (lambda m: m.ipv6_default_route("eth3", metric=2048).ipv6_default_route("eth4", metric=1024), "eth4"),
        (lambda m: m.default_route("eth0", metric=5000).ipv6_default_route("eth4", metric=1), "eth0"),
        (lambda m: m.ipv6_default_route("lo", metric=0xFFFFFFFF, flags=0x200200), ""),
        (lambda m: m.no_routes(), ""),
    ],
)
def test_the_usable_default_route_with_the_lowest_metric_counts_ipv4_first(
    machine: FakeMachine, build: Build, expected: str
) -> None:
    assert default_interface(build(machine).root) == expected


@pytest.mark.parametrize("speed", ["-1", "0", "65535", "4294967295", "", "fast", None])
def test_a_card_that_does_not_know_its_speed_is_unknown_and_up(machine: FakeMachine, speed: str | None) -> None:
    found = reading(machine.default_route("eth0").nic("eth0", speed))
    assert (found.interface, found.limited_by, found.speed_bps, found.up) == ("eth0", ("eth0",), None, True)
    assert found.why == "eth0 reports no speed"


def _lacp(machine: FakeMachine) -> FakeMachine:
    """A bond of 10G and 25G."""
    return machine.nic("eth0").nic("eth1", 25_000).bond("bond0", "802.3ad 4", "eth0", "eth1", aggregator="1")


KINDS = [
    ("a card", lambda m: m.nic("x"), ("x",), 10 * G),
    ("VLAN on a card", lambda m: m.nic("eth0", 25_000).on("x", "eth0"), ("eth0",), 25 * G),
    (
        "active-backup takes the active slave's",
        lambda m: m.nic("eth0").nic("eth1", 1000).bond("x", "active-backup 1", "eth0", "eth1", active="eth1"),
        ("eth1",),
        1 * G,
    ),
    (
        "LACP adds up: 10 + 25",
        lambda m: m.nic("a").nic("b", 25_000).bond("x", "802.3ad 4", "a", "b", aggregator="1"),
        ("a", "b"),
        35 * G,
    ),
    (
        "LACP leaves out a slave whose link is lost",
        lambda m: m.nic("a").nic("b", 25_000).bond("x", "802.3ad 4", "a", "b").slave("b", mii="down"),
        ("a",),
        10 * G,
    ),
    (
        "LACP leaves out a slave of another aggregator",
        lambda m: m.nic("a").nic("b").bond("x", "802.3ad 4", "a", "b", aggregator="1").slave("b", aggregator="2"),
        ("a",),
        10 * G,
    ),
    (
        "a bond is unknown where a slave that carries is",
        lambda m: m.nic("a").nic("b", "-1").bond("x", "balance-xor 2", "a", "b"),
        ("a", "b"),
        None,
    ),
    (
        "broadcast sends the same on all: the slowest",
        lambda m: m.nic("a").nic("b", 1000).bond("x", "broadcast 3", "a", "b"),
        ("a", "b"),
        1 * G,
    ),
    (
        "a bridge takes its wired port, not its pods'",
        lambda m: m.nic("a").virtual("veth1").virtual("veth2").bridge("x", a=3, veth1=3, veth2=3),
        ("a",),
        10 * G,
    ),
    (
        "of two wired ports that forward, the slower",
        lambda m: m.nic("a").nic("b", 1000).bridge("x", a=3, b=3),
        ("a", "b"),
        1 * G,
    ),
    (
        "a port that the spanning tree blocks does not count",
        lambda m: m.nic("a").nic("b", 1000).bridge("x", a=3, b=4),
        ("a",),
        10 * G,
    ),
    ("a bridge of pods only", lambda m: m.virtual("veth1").bridge("x", veth1=3), ("x",), None),
    ("a virtual interface's own figure is not believed", lambda m: m.virtual("x", 10_000), ("x",), None),
    ("an unknown kind on several", lambda m: m.nic("a").nic("b").on("x", "a", "b"), ("x",), None),
    (
        "VLAN on bond on bridge: x.7 on bridge of bond 10 + 25",
        lambda m: (
            _lacp(m).on("bond0.7", "bond0").virtual("veth1").bridge("br0", **{"bond0.7": 3, "veth1": 3}).on("x", "br0")
        ),
        ("eth0", "eth1"),
        35 * G,
    ),
]


@pytest.mark.parametrize(("build", "limited_by", "speed_bps"), [kind[1:] for kind in KINDS], ids=[k[0] for k in KINDS])
def test_an_interface_is_followed_to_what_limits_it(
    machine: FakeMachine, build: Build, limited_by: tuple[str, ...], speed_bps: int | None
) -> None:
    found = reading(build(machine), "x")
    assert (found.limited_by, found.speed_bps, found.up) == (limited_by, speed_bps, True)


@pytest.mark.parametrize(
    ("build", "limited_by"),
    [
        (lambda m: m.nic("x", up=False), ("x",)),
        (lambda m: m.nic("eth0", up=False).on("x", "eth0"), ("eth0",)),
        (lambda m: m.nic("eth0").on("x", "eth0", up=False), ("eth0",)),
        (lambda m: m.nic("a", up=False).nic("b", up=False).bond("x", "802.3ad 4", "a", "b"), ("a", "b")),
        (lambda m: m.nic("a").nic("b").bond("x", "active-backup 1", "a", "b"), ("a", "b")),
        (lambda m: m.nic("a", up=False).virtual("veth1").bridge("x", a=0, veth1=3), ("a",)),
    ],
    ids=["card", "under a VLAN", "the VLAN itself", "all slaves", "no active slave", "a bridge's wire"],
)
def test_a_link_is_down_where_nothing_below_carries(
    machine: FakeMachine, build: Build, limited_by: tuple[str, ...]
) -> None:
    found = reading(build(machine), "x")
    assert (found.limited_by, found.up) == (limited_by, False)


def test_an_interface_of_the_settings_is_lost_only_where_it_was_seen_before(machine: FakeMachine) -> None:
    never = reading(machine.default_route("eth0").nic("eth0"), "eht0")
    assert (never.interface, never.up, never.speed_bps) == ("", False, None)
    assert never.why.startswith("network.interface: there is no 'eht0' on this node")
    lost = reading(machine, "eth1", previous="eth1")
    assert (lost.interface, lost.up, lost.why) == ("eth1", False, "eth1 is not there")


def test_a_driver_that_keeps_no_state_is_judged_by_its_carrier(machine: FakeMachine) -> None:
    machine.nic("x")
    (machine.root / "sys/class/net/x/operstate").write_text("unknown\n")
    assert reading(machine, "x").up


def test_the_reading_says_how_the_speed_came_about(machine: FakeMachine) -> None:
    why = reading(_lacp(machine).on("x", "bond0"), "x").why
    assert why == "x on bond0 (802.3ad) adds up eth0 reports 10000 Mb/s, eth1 reports 25000 Mb/s"


def test_a_virtual_speed_counts_where_the_settings_say_so(machine: FakeMachine) -> None:
    assert reading(machine.virtual("x", 2500), "x", trust=True).speed_bps == 2_500_000_000


def test_the_last_interface_counts_while_its_route_is_gone(machine: FakeMachine) -> None:
    machine.no_routes().nic("eth0", up=False)
    assert reading(machine) == LinkReading("", (), None, False, "no default route; name the link in network.interface")
    lost = reading(machine, previous="eth0")
    assert (lost.interface, lost.up) == ("eth0", False)
    assert reading(machine, previous="gone").interface == ""


def test_interfaces_that_stand_on_each_other_in_a_circle_end(machine: FakeMachine) -> None:
    found = reading(machine.on("x", "y").on("y", "x"), "x")
    assert found.speed_bps is None
    assert "more than 8 others" in found.why
