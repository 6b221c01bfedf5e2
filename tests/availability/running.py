"""One fault under load, beside a quiet time just before it, and the judgement afterwards: what was lost, what is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.availability.ledger import longest_gap_s
from tests.availability.stand import TIMED_OUT
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from tests.availability.faults import Fault
    from tests.availability.load import Load
    from tests.availability.stand import Stand

SETTLE_S = 1.0
LATE_PART = 0.005
"""So many calls a pod may time out: scheduler, extender and load share two cores, and now and then one gets none."""
BOUND_WITHIN_S, KNOWN_WITHIN_S = 60.0, 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did. pods: bound while it lasted; rates in pods/s; unfiltered, unscored: calls without an answer.

    timed_out: those of them that came too late, for the scheduler waits a second.
    """

    title: str
    lasted_s: float
    pods: int
    quiet_per_s: float
    per_s: float
    longest_gap_s: float
    caught_up_s: float
    """After its end, until every pod that had been created was bound."""
    unfiltered: int
    unscored: int
    timed_out: int
    resource_excess_bps: int
    annotated_excess_bps: int
    nodes_above: int
    told: str
    wrong: tuple[str, ...] = ()
    """What must not be, in words; empty where all is well."""

    @property
    def ratio(self) -> float:
        return self.per_s / self.quiet_per_s


def measure(stand: Stand, load: Load, fault: Fault, *, quiet_s: float, fault_s: float) -> Outcome:
    """Quiet, fault, rest; then every pod must be bound, every node within its capacity, every replica up to date."""
    ledger = load.ledger
    load.resume()
    saturated(load)
    load.resume(fault.most_per_s)
    time.sleep(SETTLE_S)
    ledger.reset_peaks()
    before_s = time.monotonic()
    time.sleep(quiet_s)
    begun_s, calls = time.monotonic(), stand.lost_calls()
    told = fault.inflict(stand, fault_s)
    ended_s = time.monotonic()
    load.pause()
    eventually(load.at_rest, within_s=BOUND_WITHIN_S, what="every pod bound")
    caught_up_s = time.monotonic() - ended_s
    lost = {verb: count - calls[verb] for verb, count in stand.lost_calls().items()}
    times = ledger.bindings(begun_s, ended_s)
    outcome = Outcome(
        fault.title,
        ended_s - begun_s,
        len(times),
        len(ledger.bindings(before_s, begun_s)) / (begun_s - before_s),
        len(times) / (ended_s - begun_s),
        longest_gap_s(times, begun_s, ended_s),
        caught_up_s,
        lost["filter"],
        lost["prioritize"],
        lost[TIMED_OUT],
        ledger.peaks.resource_bps,
        ledger.peaks.all_bps,
        len(ledger.peaks.nodes),
        told,
    )
    return replace(outcome, wrong=tuple(_wrong(stand, load, fault, outcome)))


def saturated(load: Load) -> None:
    """The nodes are as full as they are kept, and pods wait."""
    wanted_bps = load.full * load.ledger.capacity_bps * 0.98
    eventually(
        lambda: load.waiting() > 0 and load.ledger.promised_bps >= wanted_bps, within_s=120, what="the cluster is full"
    )


def _wrong(stand: Stand, load: Load, fault: Fault, outcome: Outcome) -> list[str]:
    found = [*_lost_pods(stand, load), *_not_known(stand, load)]
    if outcome.resource_excess_bps > 0:
        found.append(f"a node was {outcome.resource_excess_bps} bit/s above its capacity")
    if not fault.loses_calls and (
        outcome.unfiltered + outcome.unscored > outcome.timed_out or outcome.timed_out > LATE_PART * outcome.pods
    ):
        late = f"; {outcome.timed_out} of these calls timed out"
        found.append(
            f"{outcome.unfiltered} pods were not filtered and {outcome.unscored} not scored by kubesteer{late}"
        )
    if outcome.ratio < fault.least:
        found.append(f"{outcome.per_s:.0f} pods/s, under {fault.least:g} of the quiet {outcome.quiet_per_s:.0f}")
    return found


def _lost_pods(stand: Stand, load: Load) -> list[str]:
    """By the API server's own list: each pod that was created and not deleted is there and has a node."""
    eventually(lambda: len(load.created) >= len(load.ledger.bound_at_s), within_s=10, what="creations answered")
    nodes = {
        one["metadata"]["name"]: one["spec"].get("nodeName")
        for one in stand.plane.client.list_all("Pod", namespace="default")
    }
    kept = load.created - load.deleted
    gone, waiting = kept - nodes.keys(), {name for name, node in nodes.items() if not node}
    return [*(f"pod {name} is lost" for name in sorted(gone)), *(f"pod {name} has no node" for name in sorted(waiting))]


def _not_known(stand: Stand, load: Load) -> list[str]:
    """Each replica's node table is the API server's record to the bit/s, and its rewards are all that etcd has."""
    left = load.ledger.left_bps()
    amounts = sorted({bps for bps in left.values() if bps > 0})
    asked = [bps + more for bps in (amounts[0], amounts[len(amounts) // 2], amounts[-1]) for more in (0, 1)]
    found = []
    for number, replica in enumerate(stand.replicas):
        pods = len(load.ledger.promises)
        eventually(
            lambda one=replica, n=pods: one.metric("kubesteer_pods") == n,  # type: ignore[misc]
            within_s=KNOWN_WITHIN_S,
            what=f"{pods} pods in the table of replica {number}",
        )
        for asked_bps in asked:
            fits = {name for name, bps in left.items() if bps >= asked_bps}
            if (passing := stand.passing(replica, asked_bps)) != fits:
                found.append(f"replica {number}, {asked_bps} bit/s: {sorted(passing ^ fits)} judged otherwise")
        rewards = stand.members.count(stand.rewards.span)
        eventually(
            lambda one=replica, n=rewards: one.metric("kubesteer_rewards") >= n,  # type: ignore[misc]
            within_s=KNOWN_WITHIN_S,
            what=f"{rewards} rewards in the table of replica {number}",
        )
    if (kept := stand.members.count(stand.rewards.span)) < stand.rewards.stored:
        found.append(f"etcd has {kept} of {stand.rewards.stored} rewards")
    return found
