"""Which interface carries the node's traffic, how fast it is and whether it is up.

Reads /proc/net and /sys/class/net; writes nothing and needs no privilege. Both show one network namespace (for /sys,
that of whoever mounted it), so an agent in a pod needs hostNetwork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kubesteer.model.quantity import shown

_BPS_PER_MBPS = 1_000_000
_NO_SPEED_MBPS = frozenset({0xFFFF, 0xFFFF_FFFF})
"""-1 as drivers write it that hold the speed in 16 bits or without a sign."""
_ROUTE_UP, _ROUTE_REJECT = 0x0001, 0x0200
_FORWARDING = "3"
_DEEPEST = 8
"""Levels of interfaces on interfaces, as many as the kernel allows."""


@dataclass(frozen=True, slots=True)
class LinkReading:
    """The link that limits the node's traffic, as it is now.

    interface: the one that carries the default route, empty where none does. limited_by: the interfaces below it
    whose speeds and counters count. speed_bps: bit/s of one direction, None where it is not known. up: it carries
    traffic. why: how the speed came about or why there is none, for people.
    """

    interface: str
    limited_by: tuple[str, ...]
    speed_bps: int | None
    up: bool
    why: str


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where to look. interface: instead of the default route's.

    trust_virtual: take the speed that a virtual interface reports. It is a constant of its driver as a rule (10 Gbit/s
        for veth; a tap's can be set), which says nothing of the wire below.
    root: where proc and sys are mounted.
    """

    interface: str | None = None
    trust_virtual: bool = False
    root: Path = Path("/")


@dataclass(frozen=True, slots=True)
class _Part:
    """What was found of one interface and all below it. wired: a device of the machine is below it."""

    limited_by: tuple[str, ...]
    speed_bps: int | None
    up: bool
    wired: bool
    why: str


def read_link(settings: LinkSettings, *, previous: str = "") -> LinkReading:
    """The link now. previous: the interface of the last reading, which counts while there is no default route.

    The kernel drops the routes of an interface that is switched off: without `previous` that would look like a node
    that never had a network. One of the settings that was never seen is as good as none, since its name may be
    mistyped; once seen, it is lost when it is not there. Never raises; what is missing is told in `why`.
    """
    net = settings.root / "sys/class/net"
    if settings.interface and settings.interface != previous and not (net / settings.interface).exists():
        why = f"network.interface: there is no {shown(settings.interface)} on this node; name one that `ip link` shows"
        return LinkReading("", (), None, False, why)
    name = settings.interface or default_interface(settings.root)
    if not name and previous and (net / previous).exists():
        name = previous
    if not name:
        return LinkReading("", (), None, False, "no default route; name the link in network.interface")
    part = _Resolver(net, settings.trust_virtual).resolve(name)
    return LinkReading(name, part.limited_by, part.speed_bps, part.up, part.why)


def default_interface(root: Path = Path("/")) -> str:
    """The interface of the default route with the lowest metric, IPv4's before IPv6's; empty where there is none.

    Metrics of the two families cannot be compared. Of routes that are equal the first counts.
    """
    for routes in (_ipv4_defaults(root), _ipv6_defaults(root)):
        if best := min(routes, key=lambda route: route[0], default=None):
            return best[1]
    return ""


def _ipv4_defaults(root: Path) -> Iterator[tuple[int, str]]:
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        name, destination, _, flags, _, _, metric, mask, *_ = line.split()
        if destination == mask == "00000000" and _usable(flags):
            yield int(metric), name


def _ipv6_defaults(root: Path) -> Iterator[tuple[int, str]]:
    for line in _text(root / "proc/net/ipv6_route").splitlines():
        destination, prefix_length, _, _, _, metric, _, _, flags, name = line.split()
        if not int(destination, 16) and prefix_length == "00" and _usable(flags):
            yield int(metric, 16), name


def _usable(flags: str) -> bool:
    return int(flags, 16) & (_ROUTE_UP | _ROUTE_REJECT) == _ROUTE_UP


class _Resolver:
    """Follows interfaces down to those that limit them."""

    def __init__(self, net: Path, trust_virtual: bool) -> None:
        self._net = net
        self._trust_virtual = trust_virtual

    def resolve(self, name: str, depth: int = 0) -> _Part:
        path = self._net / name
        if not path.exists():
            return _Part((), None, up=False, wired=False, why=f"{name} is not there")
        if depth > _DEEPEST:
            return _Part((name,), None, _is_up(path), wired=False, why=f"{name} stands on more than {_DEEPEST} others")
        part = self._by_kind(name, depth + 1)
        return replace(part, up=part.up and _is_up(path))

    def _by_kind(self, name: str, depth: int) -> _Part:
        path = self._net / name
        if (path / "bonding").is_dir():
            return self._bond(name, depth)
        if (path / "bridge").is_dir():
            return self._bridge(name, depth)
        if (path / "device").exists():
            return _leaf(name, _speed_bps(path), wired=True, without="reports no speed")
        lower = sorted(each.name.removeprefix("lower_") for each in path.glob("lower_*"))
        if len(lower) == 1:
            part = self.resolve(lower[0], depth)
            return replace(part, why=f"{name} on {part.why}")
        if lower:
            below = ", ".join(lower)
            return _Part((name,), None, True, True, f"how {name} uses {below} is not known")
        speed_bps = _speed_bps(path) if self._trust_virtual else None
        return _leaf(name, speed_bps, wired=False, without="is virtual, with no speed to trust")

    def _bond(self, name: str, depth: int) -> _Part:
        bonding = self._net / name / "bonding"
        mode = (_text(bonding / "mode").split() or ["unknown mode"])[0]
        slaves = {slave: self.resolve(slave, depth) for slave in _text(bonding / "slaves").split()}
        live = {slave: part for slave, part in slaves.items() if part.up and self._carries(slave, bonding, mode)}
        if not live:
            return _Part(tuple(slaves), None, False, True, f"{name} ({mode}) has no slave that is up")
        if mode in {"active-backup", "broadcast"}:
            return _slowest(f"{name} ({mode})", live)
        return _sum(f"{name} ({mode})", live)

    def _carries(self, slave: str, bonding: Path, mode: str) -> bool:
        state = self._net / slave / "bonding_slave"
        if mode == "active-backup":
            return slave == _text(bonding / "active_slave")
        if mode == "802.3ad":
            ours, chosen = _text(state / "ad_aggregator_id"), _text(bonding / "ad_aggregator")
            if ours and chosen and ours != chosen:
                return False
        return _text(state / "mii_status") != "down"

    def _bridge(self, name: str, depth: int) -> _Part:
        """The slowest of its wired ports that forward.

        A bridge does not add its ports up, and which of them leads to the gateway is not written here: what is
        promised must be carried by any. Ports of pods and of virtual machines are no uplinks.
        """
        ports = {port.name: self.resolve(port.name, depth) for port in sorted((self._net / name / "brif").glob("*"))}
        wired = {port: part for port, part in ports.items() if part.wired}
        if not wired:
            return _Part((name,), None, True, False, f"{name} has no wired port")
        live = {port: part for port, part in wired.items() if part.up and self._forwards(port)}
        if not live:
            return _Part(tuple(wired), None, False, True, f"{name} has no wired port that is up and forwards")
        return _slowest(f"{name} (bridge)", live)

    def _forwards(self, port: str) -> bool:
        return _text(self._net / port / "brport/state") == _FORWARDING


def _leaf(name: str, speed_bps: int | None, *, wired: bool, without: str) -> _Part:
    told = f"reports {speed_bps // _BPS_PER_MBPS} Mb/s" if speed_bps is not None else without
    return _Part((name,), speed_bps, True, wired, f"{name} {told}")


def _slowest(what: str, parts: dict[str, _Part]) -> _Part:
    return _joined(what, "on" if len(parts) == 1 else "takes the slowest of", parts, min)


def _sum(what: str, parts: dict[str, _Part]) -> _Part:
    return _joined(what, "adds up", parts, sum)


def _joined(what: str, verb: str, parts: dict[str, _Part], join: Callable[[list[int]], int]) -> _Part:
    """One speed of several that are up; unknown where one of them is."""
    speeds = [part.speed_bps for part in parts.values() if part.speed_bps is not None]
    return _Part(
        limited_by=tuple(name for part in parts.values() for name in part.limited_by),
        speed_bps=join(speeds) if len(speeds) == len(parts) else None,
        up=True,
        wired=any(part.wired for part in parts.values()),
        why=f"{what} {verb} {', '.join(part.why for part in parts.values())}",
    )


def _is_up(path: Path) -> bool:
    """Switched on, with a carrier. Drivers that keep no state say "unknown"; their carrier tells."""
    state = _text(path / "operstate")
    return state == "up" or (state == "unknown" and _text(path / "carrier") == "1")


def _speed_bps(path: Path) -> int | None:
    """-1, 0 and a refusal to answer all mean that the driver does not know."""
    try:
        mbps = int(_text(path / "speed"))
    except ValueError:
        return None
    return mbps * _BPS_PER_MBPS if mbps > 0 and mbps not in _NO_SPEED_MBPS else None


def _text(file: Path) -> str:
    """What a file says, empty where there is none or where the kernel refuses (EINVAL on an interface that is off)."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
