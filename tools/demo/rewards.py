"""`python -m tools.demo.rewards` (`make demo-rewards`): kubesteer learns where pods of a type do well, seen live.

The real control plane with KWOK as the kubelet of three nodes, the extender, and an agent a node. Pods of
one type fail on the first node, restart on the second and run well on the third. Then the first is repaired. Ends with
code 0 only if what is claimed at the end came about.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from aetcd import rpc
from rich.table import Table
from rich.text import Text

from kubesteer.cli.rewards_view import Pair, noted, pairs
from kubesteer.model.reward import decode_record, table_range
from kubesteer.rewards.table import Belief
from tools.cluster.process import StartError
from tools.demo.cast import FAILING, GOOD, NODES, PREFIX, RESTARTING, TYPE, Cast, NotBuiltError, cast
from tools.demo.crowd import Crowd
from tools.demo.pace import FAST, Pace
from tools.demo.screen import NodeView, Screen, console

TICK_S = 0.25
LAST = 20
"""Pods that the picture and the claims look back on."""
BACK = 4
"""So many of them on the repaired node mean that it is used again."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Claim:
    """What should come about, and what did."""

    text: str
    got: str
    held: bool


class Demo:
    def __init__(self, members: Cast, screen: Screen) -> None:
        self.pace = members.pace
        self.crowd = Crowd(members.bed.client, self.pace.pod_every_s, self.pace.pod_life_s)
        self.conditions = {
            FAILING: "exit 1 within seconds",
            RESTARTING: "exit 2 now and then",
            GOOD: "nothing bad",
        }
        self.beliefs: dict[str, Pair] = {}
        self.lowest = dict.fromkeys(NODES, 1.0)
        self.highest = dict.fromkeys(NODES, 0.0)
        self._etcd = grpc.insecure_channel(members.etcd)
        self._members = members
        self._screen = screen
        self._began_s = time.monotonic()

    def play(self) -> list[Claim]:
        """All three acts."""
        self._act("1. Nobody knows anything: pods are tried on every node", self.pace.learn_s)
        count = len(self.crowd.placed)
        self._act("2. It has been learned: pods go where they do well", self.pace.steer_s)
        steered, worst, best = self.crowd.since(count), self.lowest[FAILING], self.highest[GOOD]
        share = {name: steered[name] / max(steered.total(), 1) for name in NODES}
        self._members.repair()
        self.conditions[FAILING] = "nothing bad any more"
        repaired_s = time.monotonic()
        self._act("3. node-1 is repaired: is it used again?", self.pace.return_s, until=self._is_back)
        back_s = time.monotonic() - repaired_s
        return [
            Claim(
                "the agents see it: the belief in node-1 falls below 0.35, that in node-3 rises above 0.8",
                f"{worst:.2f}, {best:.2f}",
                worst < 0.35 and best > 0.8,
            ),
            Claim(
                "pods follow: 60 % or more go to node-3, 20 % or less to node-1",
                ", ".join(f"{name} {share[name]:.0%}" for name in NODES) + f" of {steered.total()}",
                share[GOOD] >= 0.6 and share[FAILING] <= 0.2,
            ),
            Claim(
                f"node-1, repaired, gets {BACK} of {LAST} pods and is believed in again (above 0.6)",
                f"{self.crowd.last(LAST)[FAILING]} of {LAST}, belief {self._mean(FAILING):.2f},"
                f" {back_s:.0f} s after the repair ({back_s / self.pace.half_life_s:.1f} half-lives)",
                self._is_back(),
            ),
        ]

    def _is_back(self) -> bool:
        return self.crowd.last(LAST)[FAILING] >= BACK and self._mean(FAILING) > 0.6

    def _act(self, title: str, for_s: float, until: Callable[[], bool] = lambda: False) -> None:
        self._screen.say(title)
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s and not until():
            now_s = time.monotonic()
            self.crowd.move_on(now_s)
            self.beliefs = self._read()
            for name in NODES:
                self.lowest[name] = min(self.lowest[name], self._mean(name))
                self.highest[name] = max(self.highest[name], self._mean(name))
            self._show(title)
            time.sleep(max(0.0, now_s + TICK_S - time.monotonic()))

    def _read(self) -> dict[str, Pair]:
        """What the extender believes now, read from etcd as it reads it."""
        start, end = table_range(PREFIX)
        told = rpc.KVStub(self._etcd).Range(rpc.RangeRequest(key=start, range_end=end), timeout=3)
        records = [decode_record(PREFIX, entry.key, entry.value) for entry in told.kvs]
        found = pairs(records, Belief(half_life_s=self.pace.half_life_s), time.time())
        return {pair.record.node: pair for pair in found if pair.record.pod_type == TYPE}

    def _mean(self, node: str) -> float:
        return self.beliefs[node].mean if node in self.beliefs else Belief().prior_mean

    def _show(self, title: str) -> None:
        last = self.crowd.last(LAST)
        views = {name: self._view(name, last[name]) for name in NODES}
        trail = " ".join(node.removeprefix("node-") for _, node in self.crowd.placed[-LAST:])
        self._screen.show(time.monotonic() - self._began_s, title, views, last.total(), trail)

    def _view(self, node: str, went_here: int) -> NodeView:
        pair = self.beliefs.get(node)
        reasons = [f"{each.reason} {each.value:g}" for each in noted(pair.record, "recent")[-3:]] if pair else []
        return NodeView(
            self.conditions[node],
            *self.crowd.on(node),
            went_here,
            pair.mean if pair else None,
            pair.evidence if pair else 0.0,
            ", ".join(reversed(reasons)),
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo.rewards", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="in about a minute, for a test")
    pace = FAST if parser.parse_args().fast else Pace()
    out = console(is_terminal=sys.stdout.isatty())
    out.print(_introduction(pace), soft_wrap=True)
    try:
        with cast(pace) as members, Screen(out) as screen:
            out.print(Text(how_to_look(members.etcd, pace)), soft_wrap=True)
            claims = Demo(members, screen).play()
    except KeyboardInterrupt:
        out.print("stopped; nothing is left running")
        return INTERRUPTED
    except (NotBuiltError, StartError) as error:
        out.print(Text(str(error)))
        return 1
    out.print(_summary(claims))
    return 0 if all(claim.held for claim in claims) else 1


def _introduction(pace: Pace) -> str:
    return (
        f"Starting etcd, API server, kube-scheduler, KWOK, the extender and {len(NODES)} agents (about 15 s).\n"
        f"Pods of type {TYPE}: on {FAILING} they exit 1 within seconds, on {RESTARTING} exit 2 now and then, on {GOOD}"
        f" they run well.\n"
        f"Minutes are shrunk to seconds: evidence halves every {pace.half_life_s:g} s (really 6 h),"
        f" {pace.success_after_s:g} s without an end are a success (really 2 min).\n"
        f"The extender scores by Thompson samples: a node that it thinks ill of is tried now and then."
    )


def how_to_look(etcd: str, pace: Pace) -> str:
    """Said while the demo runs, for a second terminal."""
    return (
        f"The rewards are in etcd {etcd}. Look at them while this runs:\n"
        f".venv/bin/kubesteer rewards --etcd {etcd} --prefix {PREFIX} --half-life-s {pace.half_life_s:g}"
    )


def _summary(claims: list[Claim]) -> Table:
    table = Table(title="What came about", title_justify="left")
    for heading in ("claimed", "seen", ""):
        table.add_column(heading)
    for claim in claims:
        table.add_row(
            claim.text, claim.got, Text("held" if claim.held else "NOT HELD", "green" if claim.held else "red")
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
