"""2,000 pods while everything around them fails: none is lost, all are bound at the end, and kubesteer knows it.

In turn, as the burst goes on: kubesteer is killed and started again, nodes come and go, the API server is killed and
started again, and last kubesteer is killed while nodes come and go. Without a controller manager a pod keeps the node
that it was bound to, whatever becomes of that node.
"""

from __future__ import annotations

import random
import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from tools.cluster.client import ApiError
from tools.cluster.controlplane import API_SERVER
from tools.cluster.extender import Extender, scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually

from .scenario import EGRESS, bed, bound, kubesteer, left_bps, older, pods, running_bed, start_scheduler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane, Part

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

NODES, CHANGED = 40, 10
WAVES = (800, 400, 400, 400)
"""Each fault has a wave of its own, so that pods are waiting whenever something fails; 2,000 in all."""
UNDER_WAY = 100
SLOS = ("10M", "20M", "50M")
DOWN_S, IN_FLIGHT_S = 2.0, 0.5
SCHEDULED = re.compile(r'^scheduler_schedule_attempts_total\{[^}]*result="scheduled"[^}]*\} (\S+)$', re.MULTILINE)


@pytest.mark.parametrize("ignorable", [True, False], ids=["ignorable", "not-ignorable"])
def test_no_pod_of_a_burst_is_lost_while_everything_fails(
    ignorable: bool, bed: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"n{i:02}" for i in range(NODES)]
    ever = set(names)
    add_nodes(bed.client, names)
    with kubesteer(bed) as extender, Burst(bed.client) as burst:
        scheduler = bed.start_scheduler(scheduler_config(scheduler_entry(extender, ignorable=ignorable)))
        started_s = time.monotonic()

        under_way(burst, scheduler, WAVES[0])
        extender.process.kill()
        bound_meanwhile = bound_while_down(scheduler)
        assert (bound_meanwhile > 0) is ignorable, f"{bound_meanwhile} pods bound without kubesteer"
        extender.start()

        under_way(burst, scheduler, WAVES[1])
        assert extender.metric("kubesteer_candidates_count") > 0, "kubesteer is asked again"
        ever |= change_nodes(bed.client, gone=names[:CHANGED], new=[f"a{i:02}" for i in range(CHANGED)])

        under_way(burst, scheduler, WAVES[2])
        bed.kill(API_SERVER)
        eventually(lambda: cluster_error(extender), within_s=20, what="the lost API server in /readyz")
        assert extender.is_ready(), "what is known of the cluster is still good to decide by"
        bed.restart(API_SERVER)
        back_s = time.monotonic()
        eventually(lambda: cluster_error(extender) is None, within_s=30, what="API server followed")
        followed_s = time.monotonic() - back_s

        under_way(burst, scheduler, WAVES[3])
        extender.process.kill()
        returning = names[: CHANGED // 2]
        ever |= change_nodes(bed.client, gone=names[CHANGED : 2 * CHANGED], new=[*returning, "b00", "b01"])
        extender.start()

        wait_until_all_are_bound(bed.client, burst)
        seconds = time.monotonic() - started_s
        found = pods(bed.client)
        assert {one["metadata"]["name"]: one["metadata"]["uid"] for one in found}.items() >= burst.uids.items()
        assert len(found) == sum(WAVES)
        assert set(bound(found).values()) <= ever
        assert min(left_bps(bed.client, found).values()) >= 0
        assert_knows_the_cluster(extender, bed.client, found)
    with capsys.disabled():
        print(f"\n{len(found)} pods, {'' if ignorable else 'not '}ignorable: all bound after {seconds:.0f} s;", end=" ")
        print(f"{bound_meanwhile} in {DOWN_S:g} s without kubesteer;", end=" ")
        print(f"API server followed {followed_s:.1f} s after its return")


class Burst:
    """Creates pods in the background, several at a time, each again and again until the API server has it."""

    def __init__(self, client: Client) -> None:
        self.uids: dict[str, str] = {}
        """By pod name, of those whose creation was answered."""
        self._client = client
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._asked: list[Future[None]] = []
        self._chance = random.Random(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown(cancel_futures=True)

    def create(self, count: int) -> None:
        """Begin to create so many more."""
        for _ in range(count):
            wanted = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {EGRESS: self._chance.choice(SLOS)}}
            self._asked.append(self._pool.submit(self._create, pod(f"p{len(self._asked):04}", **wanted)))

    def all_created(self) -> bool:
        return all(asked.done() for asked in self._asked)

    def _create(self, wanted: dict[str, Any]) -> None:
        while not self._over.is_set():
            try:
                self.uids[wanted["metadata"]["name"]] = self._client.create(wanted)["metadata"]["uid"]
            except httpx.TransportError:
                time.sleep(0.2)
            except ApiError as error:
                if error.status == HTTPStatus.CONFLICT:
                    return
                time.sleep(0.2)
            else:
                return


def add_nodes(client: Client, names: Iterable[str]) -> None:
    client.create_all(node(name, cpu="32", memory="128Gi", resources={EGRESS: "10G"}) for name in names)


def change_nodes(client: Client, *, gone: Iterable[str], new: list[str]) -> set[str]:
    for name in gone:
        client.delete("Node", name)
    add_nodes(client, new)
    return set(new)


def bound_so_far(scheduler: Part) -> int:
    """By the scheduler's own count: it costs the API server nothing."""
    return int(sum(float(value) for value in SCHEDULED.findall(scheduler.metrics())))


def under_way(burst: Burst, scheduler: Part, count: int) -> None:
    """Ask for so many more pods, and return when a hundred more are bound; most are still waiting then."""
    wanted = bound_so_far(scheduler) + UNDER_WAY
    burst.create(count)
    eventually(lambda: bound_so_far(scheduler) >= wanted, within_s=60, what=f"{wanted} pods bound")


def bound_while_down(scheduler: Part) -> int:
    """Pods bound while kubesteer is away, without those that it had answered for before."""
    time.sleep(IN_FLIGHT_S)
    before = bound_so_far(scheduler)
    time.sleep(DOWN_S)
    return bound_so_far(scheduler) - before


def wait_until_all_are_bound(client: Client, burst: Burst) -> None:
    def pending() -> int:
        return len(client.list_all("Pod", params={"fieldSelector": "spec.nodeName="}))

    eventually(lambda: burst.all_created() and pending() == 0, within_s=90, every_s=0.5, what="every pod bound")


def cluster_error(extender: Extender) -> str | None:
    """What /readyz says is wrong with the source of nodes and pods."""
    error: str | None = extender.readyz()["cluster"]["last_error"]
    return error


def assert_knows_the_cluster(extender: Extender, client: Client, found: list[dict[str, Any]]) -> None:
    """kubesteer's node table is the API server's record, to the bit/s: an SLO fits just where that much is left."""
    left = left_bps(client, found)
    eventually(lambda: extender.metric("kubesteer_pods") == len(found), within_s=20, what="all pods in the table")
    assert extender.metric("kubesteer_nodes") == len(left)
    eventually(lambda: extender.metric("kubesteer_charges") == 0, within_s=30, what="no pod charged for good")
    amounts = sorted(set(left.values()))
    for asked_bps in (amounts[0], amounts[0] + 1, amounts[len(amounts) // 2], amounts[-1], amounts[-1] + 1):
        asks = pod("asks", limits={EGRESS: str(asked_bps)})
        asks["metadata"]["uid"] = "asks"
        answer = extender.post("filter", {"Pod": asks, "Nodes": None, "NodeNames": list(left)})
        assert set(answer["NodeNames"]) == {name for name, bps in left.items() if bps >= asked_bps}
