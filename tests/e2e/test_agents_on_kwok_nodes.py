"""Fifty nodes with an agent each: what becomes of pods on bad ones is counted once, and the next pods go elsewhere.

The agents are whole ones on the real API server and a real etcd; they share a process and its event loop. Each has a
token of its ServiceAccount that is bound to its node, and the extender one of its own. KWOK plays the kubelets, each
group of nodes in its way (kwok_stages.py); what it wrote is the record that counts are held against.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from kubesteer.clients.kubernetes.access import Access, from_kubeconfig
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.rewards.etcd import etcd_column
from kubesteer.model.reward import RewardRecord, decode_record, table_range
from monitor_agent.agent import Agent, Clients, Environment, build
from monitor_agent.app import work
from monitor_agent.link import NodeLink
from monitor_agent.logs import Log
from monitor_agent.probes.links import LinkSettings
from monitor_agent.probes.rates import RateRules
from monitor_agent.settings import Settings
from tests.rewards.etcd_server import EtcdServer
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import Extender, scheduler_config, scheduler_entry
from tools.cluster.objects import node, pod
from tools.cluster.waiting import eventually
from tools.demo.stages import restarts as restarts_of

from .kwok_stages import ends, evicts, pulls_in_vain, starts, starts_slowly, stops_when_deleted
from .real_pods import condition, container_status, is_running, last_end, restarts, waiting_reason
from .scenario import grant, kubesteer, node_of, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal

    from tools.cluster.build import Binaries
    from tools.cluster.client import Client

TYPE, IMAGE = "web", "registry.example/pause"
PREFIX = "/kubesteer"
GROUPS = {"good": 10, "crash": 8, "memory": 8, "pull": 8, "slow": 8, "evict": 8}
"""Nodes by what becomes of pods there; each has its group as a label."""
GROUP = "group"
RESTARTING = ("crash", "memory")
PODS = 2
"""On each node at first, all of one type."""
STOPPED, BY_API = 143, "EvictionByEvictionAPI"
"""A container that SIGTERM ended, and why a drained pod did."""
START_S, UNREADY_S, SUCCESS_S, EVICTED_S = 2.0, 10.0, 5.0, 7.0
SETTINGS = msgspec.convert(
    {
        "store": {"flush_s": 0.3},
        "learning": {"success_after_s": SUCCESS_S, "judge_every_s": 1.0},
        "trouble": {"every_s": 5.0},
        "others": {"every_s": 3600.0},
        "network": {"publish": False},
    },
    Settings,
)
"""Quick ones; other nodes are looked at when a test says so."""


@asynccontextmanager
async def agents_at_work(
    bed: ControlPlane, etcd: EtcdServer, nodes: Collection[str]
) -> AsyncIterator[dict[str, Agent]]:
    """One a node, ready to learn. In the end each writes what is left and gives its claim back."""
    administrators = await from_kubeconfig(str(bed.kubeconfig))()
    agents: dict[str, Agent] = {}
    stop, log = asyncio.Event(), Log(logging.getLogger("agent"))

    async def run(name: str) -> None:
        bearer = f"Bearer {await asyncio.to_thread(token, bed.client, 'kubesteer-agent', node=name)}"

        async def authorization() -> str:
            return bearer

        async def load() -> Access:
            return replace(administrators, authorization=authorization)

        store = etcd_column(etcd.options(PREFIX), node=name, holder=f"agent of {name}")
        async with ApiServer(load) as api:
            outside = Clients(api, store, NodeLink(LinkSettings(), RateRules()))
            agents[name] = build(SETTINGS, name, f"agent of {name}", outside, Environment(Random(name)), log)
            await work(agents[name], stop, log)

    async with asyncio.TaskGroup() as tasks:
        for name in nodes:
            tasks.create_task(run(name))
        try:
            while len(agents) < len(nodes) or not all(agent.health.is_ready() for agent in agents.values()):
                await asyncio.sleep(0.05)
            yield agents
        finally:
            stop.set()


@dataclass
class Fleet:
    """The nodes, and what the API server and etcd say of the pods of TYPE there. Only the test's own clients ask."""

    bed: ControlPlane
    etcd: EtcdServer
    extender: Extender
    portal: BlockingPortal
    groups: dict[str, list[str]]
    deleted_ends: Counter[str] = field(default_factory=Counter)
    """Of restarting pods that were deleted since: runs that had ended, by node."""
    agents: dict[str, Agent] = field(default_factory=dict)
    _at_work: AbstractContextManager[dict[str, Agent]] | None = None

    @property
    def client(self) -> Client:
        return self.bed.client

    def start_agents(self) -> None:
        names = [name for group in self.groups.values() for name in group]
        self._at_work = self.portal.wrap_async_context_manager(agents_at_work(self.bed, self.etcd, names))
        self.agents = self._at_work.__enter__()

    def stop_agents(self, killed: Collection[str] = ()) -> None:
        """The killed ones write nothing in the end and keep their claim, as after SIGKILL."""

        async def die() -> None:
            pass

        for name in killed:
            self.agents[name].writer.close = die  # type: ignore[method-assign]
        if self._at_work is not None:
            self._at_work.__exit__(None, None, None)
        self._at_work = None

    def look_at_others(self) -> None:
        """The round of every few minutes, on every node."""
        for agent in self.agents.values():
            self.portal.call(agent.others.step)

    def judge_all(self) -> None:
        """Every agent judges all of its pods once more, and has written what came of it."""

        async def judge() -> None:
            for agent in self.agents.values():
                agent.learning.step(agent.book.runs)

        self.portal.call(judge)
        eventually(lambda: not any(a.column.dirty() for a in self.agents.values()), within_s=20, what="all written")

    def pods_on(self, group: str) -> list[dict[str, Any]]:
        found = self.client.list_all("Pod", namespace="default", params={"labelSelector": f"podtype={TYPE}"})
        return [each for each in found if each["spec"].get("nodeName") in self.groups[group]]

    def records(self) -> dict[str, RewardRecord]:
        """What is believed of TYPE, by node."""
        span = table_range(PREFIX)
        entries = [entry for entry in self.etcd.entries(PREFIX) if span.start <= entry.key < span.end]
        found = [decode_record(PREFIX, entry.key, entry.value) for entry in entries]
        return {record.node: record for record in found if record.pod_type == TYPE}

    def counts(self, *groups: str) -> dict[str, int]:
        """Runs that were counted, by node; without a group, on all nodes."""
        records = self.records()
        names = [name for group in groups or self.groups for name in self.groups[group]]
        return {name: records[name].extra["count"] if name in records else 0 for name in names}

    def scores(self) -> dict[str, int]:
        """What the extender gives each node for the next pod of TYPE."""
        names = [name for group in self.groups.values() for name in group]
        scored = self.extender.post("prioritize", {"Pod": typed("next", None), "NodeNames": names})
        return {each["Host"]: each["Score"] for each in scored}

    def runs(self, *groups: str) -> dict[str, int]:
        """The runs that ended by themselves, by node, as the API has them of pods that restart."""
        ended = Counter(self.deleted_ends)
        for group in groups:
            for found in self.pods_on(group):
                ended[found["spec"]["nodeName"]] += ended_runs(found)
        return {name: ended[name] for group in groups for name in self.groups[group]}


def ended_runs(found: dict[str, Any]) -> int:
    """Runs that ended by themselves. One that waits to be restarted is one more than the restarts so far."""
    was_stopped = container_status(found).get("state", {}).get("terminated", {}).get("exitCode") == STOPPED
    return restarts(found) + (not is_running(found) and not was_stopped)


def in_back_off(found: dict[str, Any]) -> bool:
    return restarts(found) >= 2 and waiting_reason(found) == "CrashLoopBackOff"


def typed(name: str, on: str | None) -> dict[str, Any]:
    """A pod of TYPE that the scheduler may put on that node only; None leaves the choice to it."""
    return pod(name, labels={"podtype": TYPE}, spec={"nodeSelector": {"kubernetes.io/hostname": on}} if on else None)


def stages(groups: dict[str, list[str]]) -> list[dict[str, Any]]:
    everywhere = [name for group in groups.values() for name in group]
    at_once = [name for group, names in groups.items() if group not in ("pull", "slow") for name in names]
    cause = "failed to do request: dial tcp 192.0.2.7:443: i/o timeout"
    return [
        starts(at_once, after_s=START_S),
        *starts_slowly(groups["slow"], after_s=START_S, ready_after_s=UNREADY_S),
        *pulls_in_vain(groups["pull"], image=IMAGE, cause=cause, every_s=2.0),
        ends("crashes", groups["crash"], exit_code=1, reason="Error", after_s=1.0),
        ends("runs-out-of-memory", groups["memory"], exit_code=137, reason="OOMKilled", after_s=1.5),
        *restarts_of(TYPE),
        evicts(groups["evict"], after_s=EVICTED_S),
        stops_when_deleted(everywhere, after_s=0.5),
    ]


@pytest.fixture(scope="module")
def fleet(binaries: Binaries) -> Iterator[Fleet]:
    """Two pods of the type have been on each node long enough; what became of them is in etcd."""
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdServer())
        bed = stack.enter_context(ControlPlane(binaries, load_test=True))
        names = {group: [f"{group}-{number}" for number in range(count)] for group, count in GROUPS.items()}
        bed.client.create_all(node(name, labels={GROUP: group}) for group in names for name in names[group])
        bed.start_kwok(stages({group: labelled(bed.client, group) for group in GROUPS}))
        rewards = {"source": "etcd", "endpoints": [etcd.address], "prefix": PREFIX}
        grant(bed)
        account = bed.kubeconfig_for(token(bed.client, "kubesteer-extender"), "extender")
        extender = stack.enter_context(kubesteer(bed, kubeconfig=account, rewards=rewards))
        bed.start_scheduler(scheduler_config(scheduler_entry(extender, ignorable=False)))
        portal = stack.enter_context(start_blocking_portal())
        fleet = Fleet(bed, etcd, extender, portal, names)
        stack.callback(fleet.stop_agents)
        fleet.start_agents()
        assert len(set(fleet.scores().values())) == 1, "before anything is learned no node is favoured"
        everywhere = [name for group in names.values() for name in group]
        bed.client.create_all(typed(f"{name}-{number}", name) for name in everywhere for number in range(PODS))
        wait_until_learned(fleet)
        fleet.look_at_others()
        yield fleet


def labelled(client: Client, group: str) -> list[str]:
    found = client.list_all("Node", params={"labelSelector": f"{GROUP}={group}"})
    return [each["metadata"]["name"] for each in found]


def wait_until_learned(fleet: Fleet) -> None:
    """All restarting pods wait for their fourth run, all others have been what they will be."""

    def learned() -> bool:
        if not all(in_back_off(found) for group in RESTARTING for found in fleet.pods_on(group)):
            return False
        counts, evicted = fleet.counts(), fleet.pods_on("evict")
        return all(counts[name] >= PODS for name in counts) and all(
            found["status"].get("reason") == "Evicted" for found in evicted
        )

    eventually(learned, within_s=90, what="every group learned", every_s=0.5)
    wait_until_counted(fleet, *RESTARTING)


def wait_until_counted(fleet: Fleet, *groups: str) -> dict[str, int]:
    """Runs by node, once those that were counted are those that the API has: one too many stays one too many."""

    def same() -> dict[str, int] | None:
        ended = fleet.runs(*groups)
        return ended if fleet.counts(*groups) == ended else None

    return eventually(same, within_s=20, what=f"each run of {groups} counted once") or {}


@pytest.mark.parametrize(
    ("group", "reason", "lowest", "highest"),
    [
        pytest.param("good", "Ran", 1.0, 1.0, id="good"),
        pytest.param("crash", "Error (exit 1)", 0.0, 0.0, id="crash loop"),
        pytest.param("memory", "OOMKilled", 0.0, 0.0, id="out of memory"),
        pytest.param("pull", "ErrImagePull", 0.0, 0.0, id="an image that this node cannot get"),
        pytest.param("slow", "SlowStart", 1 / 14, 4 / 11, id="usual 1..4 s of 11..14 s"),
        pytest.param("evict", "Evicted", 0.0, 0.0, id="evicted: in place of the success that came before"),
    ],
)
def test_each_group_of_nodes_is_known_for_what_happens_there(
    fleet: Fleet, group: str, reason: str, lowest: float, highest: float
) -> None:
    def known() -> bool:
        records = fleet.records()
        return all(
            {each["reason"] for each in records[name].extra["recent"]} == {reason} for name in fleet.groups[group]
        )

    eventually(known, within_s=20, what=f"{reason} on all of {fleet.groups[group]}")
    for name in fleet.groups[group]:
        record = fleet.records()[name]
        assert lowest <= record.mean <= highest, f"{name}: {record}"
        assert record.evidence == pytest.approx(record.extra["count"], rel=0.01)


@pytest.mark.parametrize(("group", "exit_code"), [("crash", 1), ("memory", 137)])
def test_each_run_of_a_pod_that_restarts_counts_once(fleet: Fleet, group: str, exit_code: int) -> None:
    """Three runs at least: the first two restarts come before the back-off of 20 s."""
    wait_until_counted(fleet, group)
    for found in fleet.pods_on(group):
        assert restarts(found) >= 2
        assert last_end(found)["exitCode"] == exit_code


@pytest.mark.parametrize("group", ["good", "pull", "slow", "evict"])
def test_a_pod_without_restarts_counts_once_however_often_its_status_changes(fleet: Fleet, group: str) -> None:
    assert fleet.counts(group) == dict.fromkeys(fleet.groups[group], PODS)


def test_drained_and_deleted_pods_count_nothing(fleet: Fleet) -> None:
    """Visitors end before they are a success; what was counted of the others before stays as it was."""
    before = fleet.counts()
    listed = fleet.client.request("GET", "/api/v1/namespaces/default/pods")
    drained, by_hand = fleet.groups["good"][:5], fleet.groups["good"][5:]
    visitors = {f"visits-{name}": name for name in drained + by_hand}
    fleet.client.create_all(typed(name, on) for name, on in visitors.items())
    eventually(lambda: all(is_running(fleet.client.get("Pod", name)) for name in visitors), within_s=30, what="running")
    evicted = drain(fleet, drained)
    deleted = [f"visits-{name}" for name in by_hand]
    deleted += [f"{name}-0" for group in ("memory", "pull", "slow") for name in fleet.groups[group]]
    for name in deleted:
        fleet.client.delete("Pod", name, grace_period_s=None)
    last = last_seen(fleet.client, listed["metadata"]["resourceVersion"], {*evicted, *deleted})
    for name in visitors:
        assert container_status(last[name])["state"]["terminated"]["exitCode"] == STOPPED
        assert condition(last[name], "DisruptionTarget").get("reason") == (BY_API if name in evicted else None)
    for name in fleet.groups["memory"]:
        fleet.deleted_ends[name] += ended_runs(last[f"{name}-0"])
    gone = {found["metadata"]["uid"] for found in last.values()}
    eventually(lambda: not any(gone & a.book.runs.keys() for a in fleet.agents.values()), within_s=20, what="gone")
    fleet.judge_all()
    others = [group for group in GROUPS if group not in RESTARTING]
    assert fleet.counts(*others) == {name: before[name] for group in others for name in fleet.groups[group]}
    wait_until_counted(fleet, "memory")
    for name in drained:
        fleet.client.patch("Node", name, {"spec": {"unschedulable": None}})


def test_agents_that_are_restarted_lose_nothing_and_count_nothing_twice(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every second one is killed. While they are away, each pod that restarts ends once more, and a new one twice.

    Of those two the API tells the later one, and that there was another before it.
    """
    fleet.judge_all()
    before, ended_before = fleet.counts(), wait_until_counted(fleet, *RESTARTING)
    stop_s = time.monotonic()
    fleet.stop_agents(killed=list(before)[::2])
    more = Counter(found["spec"]["nodeName"] for group in RESTARTING for found in fleet.pods_on(group))
    unseen = {f"unseen-{name}": name for name in fleet.groups["crash"]}
    fleet.client.create_all(typed(name, on) for name, on in unseen.items())
    more.update(dict.fromkeys(unseen.values(), 2))

    def ended_again() -> bool:
        return all(ended >= ended_before[name] + more[name] for name, ended in fleet.runs(*RESTARTING).items())

    eventually(ended_again, within_s=60, what="another end of each", every_s=0.5)
    start_s = time.monotonic()
    fleet.start_agents()
    ready_s = time.monotonic()
    wait_until_counted(fleet, *RESTARTING)
    counted_s = time.monotonic()
    fleet.look_at_others()
    fleet.judge_all()
    after = {**fleet.counts(), **wait_until_counted(fleet, *RESTARTING)}
    assert after == {**before, **fleet.runs(*RESTARTING)}
    by_group = {group: sum(after[name] for name in names) for group, names in fleet.groups.items()}
    ends_missed = sum(after.values()) - sum(before.values())
    with capsys.disabled():
        print(
            f"\n{len(after)} agents away {start_s - stop_s:.1f} s, ready again in {ready_s - start_s:.1f} s;", end=" "
        )
        print(f"{ends_missed} ends meanwhile, counted {counted_s - ready_s:.1f} s later. Runs counted: {by_group}")


def test_new_pods_go_to_nodes_where_the_type_does_well(fleet: Fleet) -> None:
    """No node is full, so before anything was learned each would have done. What becomes of the new pods counts too."""
    scores, good = fleet.scores(), fleet.groups["good"]
    assert min(scores[name] for name in good) > max(scores[name] for name in scores if name not in good)
    names = [f"new-{number}" for number in range(24)]
    before = sum(fleet.counts("good").values())
    fleet.client.create_all(typed(name, None) for name in names)
    on = Counter(node_of(fleet.client, name) for name in names)
    assert on.keys() <= set(good), on
    eventually(lambda: sum(fleet.counts("good").values()) == before + len(names), within_s=20, what="new pods counted")


def drain(fleet: Fleet, nodes: Collection[str]) -> list[str]:
    """Cordon the nodes and ask for the eviction of their pods, as kubectl does; the names of those."""
    for name in nodes:
        fleet.client.patch("Node", name, {"spec": {"unschedulable": True}})
    names = [found["metadata"]["name"] for found in fleet.pods_on("good") if found["spec"]["nodeName"] in nodes]
    for name in names:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
        fleet.client.request("POST", f"/api/v1/namespaces/default/pods/{name}/eviction", eviction)
    return names


def last_seen(client: Client, since: str, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """The pods of these names as they were when they were gone, all of them."""
    last: dict[str, dict[str, Any]] = {}
    for event in client.watch("Pod", namespace="default", since=since, for_s=30):
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED" and name in names:
            last[name] = event["object"]
        if last.keys() == set(names):
            return last
    raise TimeoutError(f"still there: {set(names) - last.keys()}")
