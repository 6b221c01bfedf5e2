"""The wires between real nodes: addresses, and the `ip` commands that lay them. Only networks live here.

Every node has two interfaces. eth0 leads to this machine, where the API server is; eth1 carries the default route and
what pods say to pods of other nodes, and its carrier can be cut. Both end in bridges of the machine room, a network
namespace that holds nothing else, so that this machine gets one interface, which goes with the room.
"""

from __future__ import annotations

import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
BRIDGES = {"management": "eth0", "wire": "eth1"}
"""Bridge in the machine room to the node's interface that ends there."""
LOWEST, HIGHEST = 100, 250
"""Rooms are numbered by the second byte of their addresses, above the services' 96."""


class NetworkError(Exception):
    """An `ip` or `iptables` command failed; the text has what it said."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of one room: 10.ROOM.0.0/24 leads to this machine, 10.ROOM.255.0/24 is between the nodes."""

    room: int

    @property
    def machine(self) -> str:
        """This machine's, where the API server listens."""
        return f"10.{self.room}.0.1"

    @property
    def gateway(self) -> str:
        """Where the nodes' default route leads: the room, which knows no way on."""
        return f"10.{self.room}.255.1"

    def node(self, index: int) -> str:
        """The node's on eth0, which Kubernetes knows it by."""
        return f"10.{self.room}.0.{10 + index}"

    def wire(self, index: int) -> str:
        """The node's on eth1."""
        return f"10.{self.room}.255.{10 + index}"

    def pods(self, index: int) -> str:
        """The range of the node's pods."""
        return f"10.{self.room}.{1 + index}.0/24"

    @property
    def interface(self) -> str:
        """This machine's interface into the room."""
        return f"bed-room-{self.room}"


def free_addresses() -> Addresses:
    """The addresses of a room that no route of this machine knows."""
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
    free = [room for room in range(LOWEST, HIGHEST) if f"10.{room}." not in routes]
    if not free:
        raise NetworkError(f"no free addresses: this machine has routes to all of 10.{LOWEST}-{HIGHEST - 1}.0.0/16")
    return Addresses(random.SystemRandom().choice(free))


def connect_room(room_pid: int, addresses: Addresses, count: int) -> None:
    """Lay the two bridges in the namespace of process `room_pid`, and the interface from this machine to it."""
    _ip(
        room_pid,
        "link set lo up",
        "link add management type bridge",
        "link add wire type bridge",
        f"addr add {addresses.gateway}/24 dev wire",
        "link set management up",
        "link set wire up",
        f"link add uplink type veth peer name {addresses.interface} netns {os.getpid()}",
        "link set uplink master management up",
    )
    # With forwarding on, what leads nowhere is answered "unreachable" at once instead of being dropped in silence.
    _inside(room_pid, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _ip(
        None,
        f"addr add {addresses.machine}/24 dev {addresses.interface}",
        f"link set {addresses.interface} up",
        *(f"route add {addresses.pods(index)} via {addresses.node(index)}" for index in range(count)),
    )


def connect_node(room_pid: int, node_pid: int, addresses: Addresses, index: int, count: int) -> None:
    """Lay both interfaces of a node, and its routes."""
    for bridge, interface in BRIDGES.items():
        _ip(
            room_pid,
            f"link add {_peer(bridge, index)} type veth peer name {interface} netns {node_pid}",
            f"link set {_peer(bridge, index)} master {bridge} up",
        )
    _ip(
        node_pid,
        "link set lo up",
        f"addr add {addresses.node(index)}/24 dev eth0",
        f"addr add {addresses.wire(index)}/24 dev eth1",
        "link set eth0 up",
        "link set eth1 up",
        f"route add default via {addresses.gateway} dev eth1",
        # The node's own way to services keeps off the wire, so that a cut does not part it from the API server.
        f"route add {SERVICES} via {addresses.machine} dev eth0",
        *(
            f"route add {addresses.pods(other)} via {addresses.wire(other)} dev eth1"
            for other in range(count)
            if other != index
        ),
    )
    # Bridged too: pods of one node may talk through a Service, and the answer has to be translated back.
    for setting in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        _inside(node_pid, "sh", "-c", f"echo 1 > /proc/sys/net/{setting}")


def disconnect_node(room_pid: int, index: int) -> None:
    """Take both interfaces of a node that has been killed: its namespace may go later than its processes."""
    _ip(room_pid, *(f"link del {_peer(bridge, index)}" for bridge in BRIDGES), force=True)


def lead_to_api_server(node_pid: int, addresses: Addresses, api_port: int) -> None:
    """The one Service of a cluster without kube-proxy: its address leads to the API server."""
    for chain in ("PREROUTING", "OUTPUT"):
        to_service = ("-d", API_SERVICE, "-p", "tcp", "--dport", "443")
        target = ("-j", "DNAT", "--to-destination", f"{addresses.machine}:{api_port}")
        _inside(node_pid, "iptables", "-t", "nat", "-A", chain, *to_service, *target)


def set_carrier(room_pid: int, index: int, bridges: Iterable[str], *, up: bool) -> None:
    """Give or take the carrier of a node's interfaces, from the bridges' ends as a cable would."""
    _ip(room_pid, *(f"link set {_peer(bridge, index)} {'up' if up else 'down'}" for bridge in bridges))


def _peer(bridge: str, index: int) -> str:
    return f"{bridge}-{index}"


def _ip(pid: int | None, *lines: str, force: bool = False) -> None:
    """Run lines of `ip` in the network namespace of a process, or in this one."""
    batch = ["ip", *(["-force"] if force else []), "-batch", "-"]
    _run(batch if pid is None else _entering(pid, batch), "\n".join(lines))


def _inside(pid: int, *command: str) -> None:
    _run(_entering(pid, command))


def _entering(pid: int, command: list[str] | tuple[str, ...]) -> list[str]:
    return ["nsenter", f"--net={Path('/proc') / str(pid) / 'ns' / 'net'}", *command]


def _run(command: list[str], stdin: str = "") -> None:
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise NetworkError(f"{' '.join(command)}: {result.stderr.strip()}\n{stdin}")
