"""The probes against the kernel's own interfaces, in network namespaces that the test makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.network_probes.namespaces import Namespace
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip is not installed (Debian's package iproute2)"),
]

GATEWAY = "route add default via 10.9.0.2 dev v0"


@pytest.fixture
def node() -> Iterator[Namespace]:
    """A machine with a default route through v0, whose other end is peer, in the same namespace."""
    with Namespace() as space:
        space.ip("link add v0 type veth peer name peer", "addr add 10.9.0.1/24 dev v0", "link set peer up")
        yield space.ip("link set v0 up", GATEWAY)


def make(node: Namespace, command: str) -> None:
    if not node.can(command):
        pytest.skip(f"this kernel cannot `ip {command}`")


def test_the_interface_of_the_default_route_is_found_and_its_made_up_speed_is_not_believed(node: Namespace) -> None:
    assert node.run("cat", "/sys/class/net/v0/speed") == "10000\n", "veth says 10 Gbit/s whatever lies below"
    assert node.probe() == {
        "interface": "v0",
        "limited_by": ["v0"],
        "speed_bps": None,
        "up": True,
        "why": "v0 is virtual, with no speed to trust",
    }
    assert node.probe("--trust-virtual")["speed_bps"] == 10_000_000_000


def test_of_two_default_routes_the_lower_metric_counts(node: Namespace) -> None:
    node.ip("link add w0 type veth peer name w1", "link set w1 up", "link set w0 up", "addr add 10.8.0.1/24 dev w0")
    node.ip(
        "route del default", "route add default via 10.9.0.2 metric 200", "route add default via 10.8.0.2 metric 100"
    )
    assert node.probe()["interface"] == "w0"


def test_a_default_route_of_ipv6_alone_counts(node: Namespace) -> None:
    if not node.can("-6 addr add fd09::1/64 dev v0 nodad"):
        pytest.skip("this kernel has no IPv6")
    node.ip("route del default", "-6 route add default via fd09::2 dev v0")
    assert node.probe()["interface"] == "v0"


def test_a_cable_that_is_pulled_is_a_lost_link_and_comes_back(node: Namespace) -> None:
    for state in ("down", "up"):
        node.ip(f"link set peer {state}")
        # A busy kernel tells of a carrier a second late.
        wait_until(lambda: node.probe()["up"] is (state == "up"))  # noqa: B023 - called before the next turn
        assert node.probe()["interface"] == "v0"


def test_an_interface_that_is_switched_off_loses_its_route_and_is_found_by_name(node: Namespace) -> None:
    node.ip("link set v0 down")
    assert node.probe()["interface"] == ""
    found = node.probe("--interface", "v0")
    assert (found["up"], found["speed_bps"]) == (False, None)


def test_an_interface_on_another_is_limited_by_the_one_below(node: Namespace) -> None:
    make(node, "link add m0 link v0 type macvlan")
    node.ip("link set m0 up")
    found = node.probe("--interface", "m0", "--trust-virtual")
    assert (found["limited_by"], found["speed_bps"], found["up"]) == (["v0"], 10_000_000_000, True)
    node.ip("link set peer down")
    assert not node.probe("--interface", "m0")["up"]


def test_a_vlan_is_limited_by_the_one_below(node: Namespace) -> None:
    make(node, "link add link v0 name v0.7 type vlan id 7")
    node.ip("link set v0.7 up")
    assert node.probe("--interface", "v0.7", "--trust-virtual")["limited_by"] == ["v0"]


def test_a_bridge_of_virtual_ports_is_unknown_though_it_reports_a_speed(node: Namespace) -> None:
    make(node, "link add br0 type bridge")
    node.ip("route del default", "link set v0 master br0", "link set br0 up", "addr add 10.7.0.1/24 dev br0")
    node.ip("route add default via 10.7.0.2 dev br0")
    assert node.run("cat", "/sys/class/net/br0/speed") == "10000\n", "the fastest of its ports"
    found = node.probe("--trust-virtual")
    assert (found["interface"], found["limited_by"], found["speed_bps"]) == ("br0", ["br0"], None)
    assert found["why"] == "br0 has no wired port"


def test_an_active_backup_bond_is_limited_by_its_active_slave(node: Namespace) -> None:
    make(node, "link add bond0 type bond mode active-backup miimon 50")
    node.ip("link set v0 down", "link set v0 master bond0", "link set bond0 up")
    found = node.probe("--interface", "bond0", "--trust-virtual")
    assert (found["limited_by"], found["speed_bps"]) == (["v0"], 10_000_000_000)


def test_an_interface_without_speed_and_carrier_is_down_and_unknown(node: Namespace) -> None:
    make(node, "link add i0 type ifb")
    found = node.probe("--interface", "i0", "--trust-virtual")
    assert (found["speed_bps"], found["up"]) == (None, False)
    node.ip("link set i0 up")
    assert node.probe("--interface", "i0", "--trust-virtual")["up"]


HOLD_A_TAP = """
import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"tap0", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_speed_that_changes_is_read_again(node: Namespace) -> None:
    if shutil.which("ethtool") is None:
        pytest.skip("ethtool is not installed (Debian's package ethtool)")
    with node.start(sys.executable, "-c", HOLD_A_TAP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("this kernel has no tap interfaces")
        node.ip("link set tap0 up")
        seen = []
        for mbps in (1000, 2500):
            node.run("ethtool", "-s", "tap0", "speed", str(mbps))
            seen.append(node.probe("--interface", "tap0", "--trust-virtual")["speed_bps"])
    assert seen == [1_000_000_000, 2_500_000_000]


SEND = """
import socket, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((sys.argv[1], 0))
for _ in range(int(sys.argv[2])):
    sender.send(bytes(12) + b"\\x88\\xb5" + bytes(986))
"""
FRAME_B, FRAMES = 1000, 20_000
COUNT = """
import json, sys, time
from monitor_agent.probes.rates import RateRules
from monitor_agent.probes.traffic import NodeTraffic
traffic, start_s = NodeTraffic(RateRules()), time.monotonic()
traffic.read(["v0"], start_s)
print("counting", flush=True)
sys.stdin.readline()
end_s = time.monotonic()
print(json.dumps({"window_s": end_s - start_s, **traffic.read(["v0"], end_s)}))
"""


@pytest.mark.parametrize(("sender", "direction", "other"), [("v0", "egress", "ingress"), ("peer", "ingress", "egress")])
def test_traffic_through_the_link_is_measured_in_its_direction(
    node: Namespace, sender: str, direction: str, other: str
) -> None:
    with node.start(sys.executable, "-c", COUNT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as counting:
        assert counting.stdout is not None
        assert counting.stdout.readline() == "counting\n"
        node.run(sys.executable, "-c", SEND, sender, str(FRAMES))
        found = json.loads(counting.communicate("stop\n", timeout=30)[0])
    # 20,000 frames x 1000 B; the kernel's own chatter of IPv6 is far below 2 % of it
    assert found[direction] * found["window_s"] / 8 == pytest.approx(FRAMES * FRAME_B, rel=0.02)
    assert found[other] * found["window_s"] / 8 < 0.02 * FRAMES * FRAME_B


def test_the_command_counts_traffic_for_as_long_as_it_is_asked_to(node: Namespace) -> None:
    assert set(node.probe("--seconds", "0.2")["rate_bps"]) == {"egress", "ingress"}
