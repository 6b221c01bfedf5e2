"""A machine's /proc/net and /sys/class/net as files, laid out as the kernel lays them out. Builders only."""

from __future__ import annotations

from pathlib import Path

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


class FakeMachine:
    """Grows one interface at a time. `speed` is what the driver writes: Mb/s, or what it says when it does not know."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._net = root / "sys/class/net"
        self._routes: list[str] = []
        (root / "proc/net").mkdir(parents=True)
        self._net.mkdir(parents=True)

    def default_route(self, name: str, *, metric: int = 0, flags: int = 0x3) -> FakeMachine:
        self._routes.append(f"{name}\t00000000\t010200C0\t{flags:04X}\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
        self._routes.append(f"{name}\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        (self.root / "proc/net/route").write_text(HEADER + "".join(self._routes))
        return self

    def ipv6_default_route(self, name: str, *, metric: int = 1024, flags: int = 0x3) -> FakeMachine:
        line = f"{'0' * 32} 00 {'0' * 32} 00 {'fd' + '0' * 29 + '1'} {metric:08x} 00000002 00000000 {flags:08x}     {name}\n"
        file = self.root / "proc/net/ipv6_route"
        file.write_text((file.read_text() if file.exists() else "") + line)
        return self

    def no_routes(self) -> FakeMachine:
        self._routes = []
        (self.root / "proc/net/route").write_text(HEADER)
        return self

    def nic(self, name: str, speed: str | int | None = 10_000, *, up: bool = True) -> FakeMachine:
        path = self._interface(name, speed, up=up)
        (path / "device").mkdir(exist_ok=True)
        return self

    def virtual(self, name: str, speed: str | int | None = 10_000, *, up: bool = True) -> FakeMachine:
        self._interface(name, speed, up=up)
        return self

    def on(self, name: str, *lower: str, up: bool = True) -> FakeMachine:
        """A VLAN, macvlan or the like on another interface; on several, a kind that is not known."""
        path = self._interface(name, 10_000, up=up)
        for each in lower:
            (path / f"lower_{each}").mkdir()
        return self

    def bond(
        self, name: str, mode: str, *slaves: str, active: str = "", aggregator: str = "", up: bool = True
    ) -> FakeMachine:
        path = self._interface(name, 10_000, up=up)
        (path / "bonding").mkdir()
        for file, text in (("mode", mode), ("slaves", " ".join(slaves)), ("active_slave", active)):
            (path / "bonding" / file).write_text(text + "\n")
        if aggregator:
            (path / "bonding/ad_aggregator").write_text(aggregator + "\n")
        for slave in slaves:
            (path / f"lower_{slave}").mkdir()
            self.slave(slave)
        return self

    def slave(self, name: str, *, mii: str = "up", aggregator: str = "1") -> FakeMachine:
        state = self._net / name / "bonding_slave"
        state.mkdir(exist_ok=True)
        (state / "mii_status").write_text(mii + "\n")
        (state / "ad_aggregator_id").write_text(aggregator + "\n")
        return self

    def bridge(self, name: str, **ports: int) -> FakeMachine:
        """ports: name to spanning tree state, of which 3 forwards."""
        path = self._interface(name, 10_000, up=True)
        (path / "bridge").mkdir()
        for port, state in ports.items():
            (path / "brif" / port).mkdir(parents=True)
            (path / f"lower_{port}").mkdir()
            (self._net / port / "brport").mkdir()
            (self._net / port / "brport/state").write_text(f"{state}\n")
        return self

    def counters(self, name: str, *, sent_b: int, received_b: int, index: int = 2) -> FakeMachine:
        statistics = self._net / name / "statistics"
        statistics.mkdir(exist_ok=True)
        (statistics / "tx_bytes").write_text(f"{sent_b}\n")
        (statistics / "rx_bytes").write_text(f"{received_b}\n")
        (self._net / name / "ifindex").write_text(f"{index}\n")
        return self

    def _interface(self, name: str, speed: str | int | None, *, up: bool) -> Path:
        path = self._net / name
        path.mkdir(exist_ok=True)
        (path / "operstate").write_text("up\n" if up else "down\n")
        (path / "carrier").write_text("1\n" if up else "0\n")
        if speed is not None:
            (path / "speed").write_text(f"{speed}\n")
        return path
