"""What goes wrong, one function a fault: it does the harm, undoes it, and says what told of it meanwhile.

Each takes about as long as it is told. Raises AssertionError where kubesteer's metrics do not show what they should.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.availability.stand import RELOAD_S, TAKEN_UP_S
from tools.cluster.controlplane import API_SERVER
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.availability.stand import Stand
    from tools.cluster.extender import Extender

KILL_EVERY_S, BACK_AFTER_S = 5.0, 1.0
KILLING_PER_S = 50.0
"""More than 5,000 pods in two minutes."""
EXTENDER_SECRET, CLIENT_SECRET = "kubesteer-extender-server", "kubesteer-scheduler-client"


@dataclass(frozen=True, slots=True)
class Fault:
    """title: its row. loses_calls: whether the scheduler may be left without an answer; least: of the quiet rate.

    most_per_s: pods to create; without a bound the machine has nothing left for a process that starts.
    """

    title: str
    inflict: Callable[[Stand, float], str]
    loses_calls: bool
    least: float
    most_per_s: float = math.inf


def replicas_killed(stand: Stand, for_s: float) -> str:
    """One replica and then the other, each started again as its Deployment does, and never both away at once."""
    ends_s, kills = time.monotonic() + for_s, 0
    while time.monotonic() < ends_s:
        replica = stand.replicas[kills % len(stand.replicas)]
        began_s = time.monotonic()
        replica.process.kill()
        kills += 1
        time.sleep(BACK_AFTER_S)
        stand.start(replica)
        time.sleep(max(TAKEN_UP_S, began_s + KILL_EVERY_S - time.monotonic()))
    return f"{kills} kills; `up`, `kubesteer_ready`"


def rolled_out(stand: Stand, for_s: float) -> str:
    """Every replica makes room for a new one, again until the time is over."""
    ends_s, rolled = time.monotonic() + for_s, 0
    while rolled == 0 or time.monotonic() < ends_s:
        for replica in list(stand.replicas):
            stand.replace(replica)
        rolled += 1
    return f"{rolled} roll-outs"


def leader_killed(stand: Stand, for_s: float) -> str:
    """The member that leads dies, and comes back with its data."""
    leader, resyncs = stand.members.leader(), stand.metric("kubesteer_rewards_resyncs_total")
    ends_s = time.monotonic() + for_s
    stand.members.kill(leader)
    assert stand.members.leader() != leader
    time.sleep(max(0.0, ends_s - time.monotonic()))
    told = stand.metric("kubesteer_rewards_resyncs_total") - resyncs
    stand.members.restart(leader)
    return f"`kubesteer_rewards_resyncs_total` +{told:.0f}"


def member_lost(stand: Stand, for_s: float) -> str:
    """One member and its data are gone; two go on; a new one takes its place half way."""
    gone, resyncs = (stand.members.leader() + 1) % 3, stand.metric("kubesteer_rewards_resyncs_total")
    ends_s = time.monotonic() + for_s
    stand.members.lose(gone)
    time.sleep(for_s / 2)
    stand.members.replace(gone)
    time.sleep(max(0.0, ends_s - time.monotonic()))
    return f"`kubesteer_rewards_resyncs_total` +{stand.metric('kubesteer_rewards_resyncs_total') - resyncs:.0f}"


def api_server_restarted(stand: Stand, for_s: float) -> str:
    """Killed and started again at once; the scheduler too, where it gave up its lease."""
    ends_s, relists = time.monotonic() + for_s, stand.metric("kubesteer_cluster_relists_total")
    killed_s = time.monotonic()
    stand.plane.kill(API_SERVER)
    failing = stand.replicas[0]
    eventually(lambda: failing.readyz()["cluster"]["last_error"], within_s=10, what="the lost API server in /readyz")
    assert failing.is_ready(), "what is known of the cluster is still good to decide by"
    stand.plane.restart(API_SERVER)
    for replica in stand.replicas:
        eventually(lambda one=replica: one.readyz()["cluster"]["last_error"] is None, within_s=30, what="followed")  # type: ignore[misc]
    away_s = time.monotonic() - killed_s
    again = ""
    if not stand.scheduler_runs():
        stand.start_scheduler()
        again = "; kube-scheduler lost its lease and was started again"
    time.sleep(max(0.0, ends_s - time.monotonic()))
    told = stand.metric("kubesteer_cluster_relists_total") - relists
    return f"`/readyz`, for {away_s:.1f} s; `kubesteer_cluster_relists_total` +{told:.0f}{again}"


def certificates_rotated(stand: Stand, for_s: float) -> str:
    """Another authority for both sides, step by step, and at the end nobody trusts the old one: no restart for it.

    Then the replicas are rolled out, so that the scheduler opens connections that only its new certificate can open.
    """
    ends_s = time.monotonic() + for_s
    old, new = (
        {name: _files(folder / name) for name in (EXTENDER_SECRET, CLIENT_SECRET)}
        for folder in (stand.secrets, stand.next_secrets)
    )
    steps: list[tuple[str, Mapping[str, bytes]]] = [
        (EXTENDER_SECRET, {"ca.crt": old[EXTENDER_SECRET]["ca.crt"] + new[EXTENDER_SECRET]["ca.crt"]}),
        (CLIENT_SECRET, {name: new[CLIENT_SECRET][name] for name in ("tls.key", "tls.crt")}),
        (EXTENDER_SECRET, {name: new[EXTENDER_SECRET][name] for name in ("tls.key", "tls.crt")}),
        (EXTENDER_SECRET, {"ca.crt": new[EXTENDER_SECRET]["ca.crt"]}),
    ]
    read = [_rereads(replica) for replica in stand.replicas]
    for secret, files in steps:
        stand.put_secret(secret, files)
        if secret == EXTENDER_SECRET:
            read = [count + 1 for count in read]
            for replica, count in zip(stand.replicas, read, strict=True):
                eventually(lambda r=replica, c=count: _rereads(r) >= c, within_s=10 * RELOAD_S, what="files read again")  # type: ignore[misc]
    for replica in list(stand.replicas):
        stand.replace(replica)
    time.sleep(max(0.0, ends_s - time.monotonic()))
    return 'log "certificate reread"'


def scheduler_cut_off(stand: Stand, for_s: float) -> str:
    """Nothing passes between the scheduler and the extenders."""
    before = stand.metric("kubesteer_request_seconds_count")
    with stand.to_extenders.frozen():
        time.sleep(for_s / 2)
        middle = stand.metric("kubesteer_request_seconds_count")
        time.sleep(for_s / 2)
        after = stand.metric("kubesteer_request_seconds_count")
    assert after == middle, f"requests came through: {before} {middle} {after}"
    return "`rate(kubesteer_request_seconds_count)` is 0 while pods wait"


def etcd_cut_off(stand: Stand, for_s: float) -> str:
    """Nothing passes between the extenders and etcd."""
    with stand.to_etcd.frozen():
        time.sleep(for_s)
        age_s = stand.metric("kubesteer_rewards_age_seconds")
    assert age_s > for_s / 2
    return f"`kubesteer_rewards_age_seconds` {age_s:.0f}"


def api_server_cut_off(stand: Stand, for_s: float) -> str:
    """Nothing passes between the extenders and the API server: they decide by what they knew, and what they promised."""
    charged = stand.metric("kubesteer_charges")
    with stand.to_api_server.frozen():
        time.sleep(for_s / 2)
        middle = stand.metric("kubesteer_cluster_events_total")
        time.sleep(for_s / 2)
        after, charges = stand.metric("kubesteer_cluster_events_total"), stand.metric("kubesteer_charges")
    assert after == middle, f"events came through: {middle} {after}"
    return f"`rate(kubesteer_cluster_events_total)` is 0; `kubesteer_charges` {charges:.0f} (before: {charged:.0f})"


FAULTS = {
    "replicas-killed": Fault(
        "a replica is killed every 5 s", replicas_killed, loses_calls=True, least=0.3, most_per_s=KILLING_PER_S
    ),
    "rolled-out": Fault("roll-out of the extender", rolled_out, loses_calls=False, least=0.3),
    "leader-killed": Fault("etcd's leader is killed", leader_killed, loses_calls=False, least=0.3),
    "member-lost": Fault("a member of etcd is lost and replaced", member_lost, loses_calls=False, least=0.3),
    "api-server-restarted": Fault(
        "the API server is killed and started", api_server_restarted, loses_calls=False, least=0.0
    ),
    "certificates-rotated": Fault(
        "certificates and authority rotated", certificates_rotated, loses_calls=False, least=0.3
    ),
    "scheduler-cut-off": Fault("scheduler → extender cut", scheduler_cut_off, loses_calls=True, least=0.0),
    "etcd-cut-off": Fault("extender → etcd cut", etcd_cut_off, loses_calls=False, least=0.3),
    "api-server-cut-off": Fault("extender → API server cut", api_server_cut_off, loses_calls=False, least=0.1),
}


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _rereads(replica: Extender) -> int:
    return replica.process.log.read_text().count("certificate reread")
