"""Rewards that a client puts in etcd steer the next pods, and an etcd that goes away stops nothing.

Four equal nodes; each node's reward for a pod type is what a client wrote. The pods ask for nothing, so balance has no
say and the reward alone orders the nodes for kubesteer; the stock plugins spread pods over all nodes.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.model.reward import RewardRecord, encode_key, encode_value
from tests.rewards.etcd_server import EtcdServer
from tools.cluster.extender import Extender, scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually

from .scenario import bed, kubesteer, node_of, older, running_bed, start_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.cluster.client import Client
    from tools.cluster.controlplane import ControlPlane

__all__ = ["bed", "older", "running_bed", "start_scheduler"]

NODES = [f"node-{i}" for i in range(4)]
PREFIX = "/kubesteer/rewards"
STALE_AFTER_S = 7.0
"""Above the 5 s after which kubesteer asks a quiet etcd whether it is there."""
GOOD, BAD, RUNS = 0.95, 0.2, 50.0


@pytest.fixture
def etcd() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


@pytest.fixture
def extender(bed: ControlPlane, etcd: EtcdServer) -> Iterator[Extender]:
    """kubesteer between the real scheduler and the rewards in etcd."""
    bed.client.create_all(node(name, cpu="64", memory="256Gi") for name in NODES)
    store = {"source": "etcd", "endpoints": [etcd.address], "prefix": PREFIX, "stale_after_s": STALE_AFTER_S}
    with kubesteer(bed, rewards=store) as running:
        bed.start_scheduler(scheduler_config(scheduler_entry(running, ignorable=False)))
        yield running


class Pods:
    """Creates pods, each with a name of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = itertools.count()

    def create(self, pod_type: str) -> str:
        name = f"{pod_type}-{next(self._numbers)}"
        self._client.create(pod(name, labels={"podtype": pod_type}))
        return name

    def nodes_of(self, pod_type: str, count: int = 12) -> Counter[str]:
        """Where so many new pods of the type end up. They are gone afterwards, so that no node is left fuller."""
        names = [self.create(pod_type) for _ in range(count)]
        on = Counter(node_of(self._client, name) for name in names)
        for name in names:
            self._client.delete("Pod", name)
        return on


def put_rewards(etcd: EtcdServer, pod_type: str, best: str) -> None:
    """What agents would have written: 50 runs on each node, good ones on the best."""
    for name in NODES:
        record = RewardRecord(name, pod_type, GOOD if name == best else BAD, RUNS, time.time())
        etcd.put(encode_key(PREFIX, name, pod_type), encode_value(record))


def test_rewards_in_etcd_move_pods_of_that_type_to_the_good_node_within_a_second(
    bed: ControlPlane, etcd: EtcdServer, extender: Extender, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pods come every 20 ms while the rewards are written; each is held against its own time of creation."""
    new = Pods(bed.client)
    assert favours_no_node(extender, "web"), "without rewards the pods spread over all nodes"
    put_rewards(etcd, "web", best="node-2")
    eventually(lambda: extender.metric("kubesteer_rewards") == len(NODES), within_s=20, what="rewards seen")
    assert new.nodes_of("web") == {"node-2": 12}
    expect_of_web_and_db(extender, good="node-2")
    delays_ms = []
    for best in ("node-0", "node-3", "node-1"):
        created_s: dict[str, float] = {}
        stop = threading.Event()

        def create_pods(created_s: dict[str, float] = created_s, stop: threading.Event = stop) -> None:
            while not stop.wait(0.02):
                created_s[new.create("web")] = time.monotonic()

        creating = threading.Thread(target=create_pods)
        creating.start()
        time.sleep(0.5)
        put_rewards(etcd, "web", best)
        put_s = time.monotonic()
        time.sleep(1.5)
        stop.set()
        creating.join()
        last_elsewhere_s = max(s for name, s in created_s.items() if node_of(bed.client, name) != best)
        delays_ms.append(1000 * max(0.0, last_elsewhere_s - put_s))
        assert sum(s > put_s + 1 for s in created_s.values()) >= 5
        assert last_elsewhere_s < put_s + 1, f"a pod created {delays_ms[-1]:.0f} ms after the rewards went elsewhere"
    with capsys.disabled():
        shown = ", ".join(f"{delay:.0f} ms" for delay in delays_ms)
        print(f"\nrewards written to the last pod created that went elsewhere: {shown}")


def test_decisions_go_on_while_etcd_is_killed_restarted_and_wiped(
    bed: ControlPlane, etcd: EtcdServer, extender: Extender, capsys: pytest.CaptureFixture[str]
) -> None:
    new = Pods(bed.client)
    put_rewards(etcd, "web", best="node-2")
    eventually(lambda: extender.metric("kubesteer_rewards") == len(NODES), within_s=20, what="rewards seen")

    etcd.kill()
    killed_s = time.monotonic()
    eventually(lambda: rewards(extender)["last_error"], within_s=20, what="the lost etcd in /readyz")
    noticed_s = time.monotonic() - killed_s
    assert extender.is_ready(), "a lost reward store is no reason to stop deciding"
    assert not rewards(extender)["neutral"]
    assert new.nodes_of("web") == {"node-2": 12}, "the last rewards stay in use"
    assert extender.metric("kubesteer_rewards_age_seconds") > 0

    eventually(lambda: rewards(extender)["neutral"], within_s=STALE_AFTER_S + 5, what="stale rewards in /readyz")
    neutral_s = time.monotonic() - killed_s
    assert extender.is_ready()
    assert extender.metric("kubesteer_rewards_neutral") == 1
    assert extender.metric("kubesteer_rewards_age_seconds") > STALE_AFTER_S
    assert favours_no_node(extender, "web"), "stale rewards are the same for all nodes"
    assert sum(new.nodes_of("web").values()) == 12, "and pods are placed all the same"

    back_s = recovery_s(etcd, extender, lambda: not rewards(extender)["neutral"])
    assert extender.metric("kubesteer_rewards_neutral") == 0
    assert new.nodes_of("web") == {"node-2": 12}, "after the restart the same rewards count again"
    put_rewards(etcd, "web", best="node-1")
    time.sleep(1)
    assert new.nodes_of("web") == {"node-1": 12}

    etcd.kill()
    etcd.wipe()
    wiped_s = recovery_s(etcd, extender, lambda: extender.metric("kubesteer_rewards") == 0)
    assert extender.is_ready()
    assert favours_no_node(extender, "web"), "an empty store says nothing"
    put_rewards(etcd, "web", best="node-3")
    time.sleep(1)
    assert new.nodes_of("web") == {"node-3": 12}, "the store that went back to its beginning is followed"

    assert extender.metric("kubesteer_errors_total") == 0
    with capsys.disabled():
        print(f"\netcd killed: in /readyz after {noticed_s:.1f} s, neutral after {neutral_s:.1f} s;", end=" ")
        print(f"back: followed {back_s:.1f} s after it answers; wiped: {wiped_s:.1f} s")


def expect_of_web_and_db(extender: Extender, good: str) -> None:
    """What the rewards of web alone say: all of web itself, and a third of that of db, which nobody tried.

    50 runs weigh s = 50 / 52 = 0.9615. Global mean (2 x 0.5 + s (0.95 + 3 x 0.2)) / (2 + 4 s) = 0.426; web's mean
    (2 x 0.426 + 1.4904) / 5.8462 = 0.4007. Node effects: good s (0.95 - 0.4007) / (2 + s) = 0.178, bad -0.065; so db
    is believed to be 0.604 on the good node and 0.361 on the others, 0.243 apart. web on its good node has the prior
    0.250 (from the bad ones) and the mean (4 x 0.250 + 50 x 0.95) / 54 = 0.898, on a bad one 0.458 and 0.219: 0.679
    apart. A few minutes change the third digit only.
    """
    bad = next(name for name in NODES if name != good)

    def apart(pod_type: str) -> float:
        learned = explained(extender, pod_type)
        return round(learned[good]["reward"] - learned[bad]["reward"], 2)

    eventually(lambda: apart("db") == pytest.approx(0.24, abs=0.01), within_s=20, what="parents that follow rewards")
    assert apart("web") == pytest.approx(0.68, abs=0.01)
    assert explained(extender, "db")[good]["reward"] == pytest.approx(0.604, abs=0.01)
    assert explained(extender, "db")[good]["learned"]["evidence"] == 0
    assert explained(extender, "web")[good]["learned"]["evidence"] == pytest.approx(RUNS, rel=0.01)


def explained(extender: Extender, pod_type: str) -> dict[str, Any]:
    """What /explain tells of each node, for a pod of this type."""
    request = urllib.request.Request(f"{extender.ops}/explain", json.dumps(question(pod_type)).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return {one["node"]: one for one in json.load(response)["nodes"]}


def question(pod_type: str) -> dict[str, Any]:
    return {"Pod": pod(f"{pod_type}-asked", labels={"podtype": pod_type}), "NodeNames": NODES}


def favours_no_node(extender: Extender, pod_type: str) -> bool:
    """Whether kubesteer scores all nodes alike. Where the pods then go is the stock plugins' choice, partly by lot."""
    return len({one["Score"] for one in extender.post("prioritize", question(pod_type))}) == 1


def rewards(extender: Extender) -> dict[str, Any]:
    """What /readyz tells of the reward store."""
    told: dict[str, Any] = extender.readyz()["rewards"]
    return told


def recovery_s(etcd: EtcdServer, extender: Extender, recovered: Callable[[], bool]) -> float:
    """Start etcd, and wait until kubesteer follows it again, by itself."""
    etcd.start()
    started_s = time.monotonic()
    eventually(recovered, within_s=30, what="etcd followed again")
    eventually(lambda: rewards(extender)["last_error"] is None, within_s=20, what="no error left in /readyz")
    return time.monotonic() - started_s
