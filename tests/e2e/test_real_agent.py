"""The agent as a real DaemonSet pod on real nodes: it reads the kubelets' own record, and what it learned is in etcd."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tools.cluster.controlplane import ControlPlane
from tools.cluster.waiting import eventually

from . import agent_pods
from .fixtures import binaries, node_binaries
from .real_pods import container_status, identity, is_running, restart_kubelet, runs, seen, server, start
from .reward_keys import Etcd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.cluster.build import Binaries
    from tools.cluster.client import Client

__all__ = ["binaries", "node_binaries"]

EGRESS, INGRESS = "kubesteer.io/egress-bps", "kubesteer.io/ingress-bps"
FOREVER = "sleep infinity"
M, G = 10**6, 10**9
ASKED, SHAPED = "40M", "20M"
"""What the streaming pod asked for, and what its link lets through."""
LASTING = "lasting"
"""The label of pods that all tests of the module need."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Two real nodes with an agent each, an etcd, and from the start on a pod that streams from real-0 to real-1."""

    bed: ControlPlane
    etcd: Etcd
    audit_log: Path

    @property
    def client(self) -> Client:
        return self.bed.client

    def agents(self) -> dict[str, dict[str, Any]]:
        """The agents' pods that are not being deleted, by node."""
        chosen = {"labelSelector": f"app={agent_pods.NAME}"}
        pods = self.client.list_all("Pod", namespace=agent_pods.NAMESPACE, params=chosen)
        return {
            p["spec"]["nodeName"]: p
            for p in pods
            if "nodeName" in p["spec"] and "deletionTimestamp" not in p["metadata"]
        }

    def outcomes(self, node: str, pod_type: str) -> list[dict[str, Any]]:
        """What the node's agent wrote of a type, newest last."""
        record = self.etcd.record(node, pod_type)
        return list(record["recent"]) if record else []

    def learned(self, node: str, pod_type: str, *, reason: str | None = None, within_s: float = 30) -> dict[str, Any]:
        """The newest outcome of a type, once there is one, and for this reason where one is given."""

        def newest() -> dict[str, Any] | None:
            found = self.outcomes(node, pod_type)
            return found[-1] if found and reason in (None, found[-1]["reason"]) else None

        what = f"an outcome of {pod_type} on {node}, {reason or 'any'}"
        return eventually(newest, within_s=within_s, what=what) or {}

    def wait_for_the_agent(self, node: str, pod_type: str) -> None:
        """Return when the agent has written of a pod that began now: what happened before it has seen too."""
        self.client.create(typed(pod_type, "exit 1", node=node, spec={"restartPolicy": "Never"}))
        self.learned(node, pod_type)


def typed(pod_type: str, script: str, *, node: str, name: str = "", **about: Any) -> dict[str, Any]:
    """A pod of that type, named after it."""
    return runs(name or pod_type, script, node=node, labels={"podtype": pod_type}, **about)


@pytest.fixture(scope="module")
def scene(node_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("agents")
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    (folder / "audit.json").write_text(json.dumps(policy))
    audit = [f"--audit-policy-file={folder / 'audit.json'}", f"--audit-log-path={folder / 'audit.log'}"]
    with ControlPlane(node_binaries, scheduler_config={}, real_nodes=2, api_server_flags=audit) as bed:
        bed.real.import_images(agent_pods.write_image(node_binaries.cache, folder))
        with Etcd(node_binaries.path("etcd"), folder, bed.real.addresses.machine) as etcd:
            scene = Scene(bed, etcd, folder / "audit.log")
            bed.client.create_all(agent_pods.objects(settings(etcd.endpoint)), workers=1)
            eventually(lambda: ready_agents(scene) == 2, within_s=60, what="two agents ready")
            for node in bed.real.names:
                eventually(lambda node=node: published(scene, node), within_s=30, what=f"{node}: published")  # type: ignore[misc]
            begin_stream(scene)
            yield scene


def settings(endpoint: str) -> dict[str, dict[str, Any]]:
    """Quick ones. A veth reports 10 Gbit/s, which is as good as any speed here."""
    return {
        "store": {"endpoints": [endpoint], "flush_s": 0.2, "claim_ttl_s": 6},
        "learning": {"success_after_s": 5, "stuck_after_s": 5, "judge_every_s": 1},
        "trouble": {"every_s": 2},
        "others": {"every_s": 2},
        "network": {"trust_virtual": True, "read_s": 1, "smooth_s": 3, "worse_after_s": 1, "better_after_s": 1},
        "kubelet": {"url": "https://127.0.0.1:10250", "insecure": True, "every_s": 5},
    }


def begin_stream(scene: Scene) -> None:
    lasting = {"labels": {LASTING: "true"}}
    [receiver] = start(scene.client, server("receives", node="real-1", **lasting))
    script = f"until iperf3 --client {receiver['status']['podIP']} --port 5201 --time 3600; do sleep 1; done"
    about = {"labels": {LASTING: "true", "podtype": "stream"}, "limits": {EGRESS: ASKED}}
    shaped = {"kubernetes.io/egress-bandwidth": SHAPED}
    start(scene.client, runs("sends", script, node="real-0", annotations=shaped, **about))


def ready_agents(scene: Scene) -> int:
    status = scene.client.get("DaemonSet", agent_pods.NAME, namespace=agent_pods.NAMESPACE, api_version="apps/v1")[
        "status"
    ]
    return int(status.get("numberReady", 0))


def published(scene: Scene, node: str) -> dict[str, int]:
    """The node's network resources in bit/s, those that both capacity and allocatable have."""
    status = scene.client.get("Node", node)["status"]
    both = [name for name in (EGRESS, INGRESS) if status["capacity"].get(name) == status["allocatable"].get(name)]
    return {name: bits(status["capacity"][name]) for name in both if name in status["capacity"]}


def bits(quantity: str) -> int:
    for suffix, factor in (("k", 1000), ("M", M), ("G", G)):
        if quantity.endswith(suffix):
            return int(quantity.removesuffix(suffix)) * factor
    return int(quantity)


@pytest.fixture(autouse=True)
def emptied(scene: Scene) -> Iterator[None]:
    """After each test its pods go."""
    yield
    for pod in scene.client.list_all("Pod", namespace="default", params={"labelSelector": f"!{LASTING}"}):
        scene.client.delete("Pod", pod["metadata"]["name"])


def test_the_agent_publishes_the_links_speed_less_its_reserve(scene: Scene) -> None:
    """A veth's 10 Gbit/s less 5 %: 9.5 Gbit/s."""
    for node in scene.bed.real.names:
        assert published(scene, node) == {EGRESS: 9_500 * M, INGRESS: 9_500 * M}


def test_the_agent_runs_without_privileges(scene: Scene) -> None:
    [name, _] = [agent["metadata"]["name"] for agent in scene.agents().values()]
    inside = ("exec", "--namespace", agent_pods.NAMESPACE, name, "--", "sh", "-c")
    status = dict(
        line.split(":\t", 1) for line in scene.bed.kubectl(*inside, "cat /proc/1/status").splitlines() if ":\t" in line
    )
    assert {status[field] for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["Uid"].split(), status["NoNewPrivs"], status["Seccomp"]) == ([str(agent_pods.UID)] * 4, "1", "2")
    assert scene.bed.kubectl(*inside, "touch /tmp/x /x 2>/dev/null || echo refused").strip() == "refused"


@pytest.mark.parametrize(
    ("pod_type", "script", "about", "reason"),
    [
        pytest.param("exits", "exit 1", {}, "Error (exit 1)", id="exit 1"),
        pytest.param(
            "greedy", "tail /dev/zero", {"limits": {"memory": "64Mi"}}, "OOMKilled", id="over its memory limit"
        ),
        pytest.param(
            "sick",
            "trap 'exit 0' TERM; while :; do sleep 0.1; done",
            {
                "container": {
                    "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
                },
                "spec": {"terminationGracePeriodSeconds": 5},
            },
            "LivenessProbeFailed",
            id="killed by its liveness probe, and it exits 0: only the kubelet's event tells",
        ),
        pytest.param(
            "absent", FOREVER, {"container": {"image": "127.0.0.1:1/none:1"}}, "ErrImagePull", id="no image to be had"
        ),
    ],
)
def test_a_failure_on_the_node_is_learned_with_its_reason(
    scene: Scene, pod_type: str, script: str, about: dict[str, Any], reason: str
) -> None:
    scene.client.create(typed(pod_type, script, node="real-0", **about))
    outcome = scene.learned("real-0", pod_type)
    assert (outcome["reason"], outcome["value"]) == (reason, 0.0)
    assert outcome["pod"] == f"default/{pod_type}"
    assert outcome["stage"] == ("start" if reason == "ErrImagePull" else "run")
    assert scene.etcd.record("real-1", pod_type) is None


def test_every_run_of_a_crash_loop_is_counted_once(scene: Scene) -> None:
    """The kubelet's restartCount and the agent's count of runs are the same number at rest."""
    scene.client.create(typed("loops", "sleep 1; exit 3", node="real-0"))
    seen(scene.client, "loops", lambda p: container_status(p).get("restartCount", 0) >= 2, what="restarted twice")
    seen(scene.client, "loops", lambda p: not is_running(p), what="between two runs")

    def counted() -> bool:
        pod, record = scene.client.get("Pod", "loops"), scene.etcd.record("real-0", "loops")
        ended = container_status(pod)["restartCount"] + (0 if is_running(pod) else 1)
        return bool(record and record["count"] == ended)

    eventually(counted, within_s=20, what="as many outcomes as ended runs")
    assert {row["reason"] for row in scene.outcomes("real-0", "loops")} == {"Error (exit 3)"}


def test_a_pod_that_the_node_evicts_is_learned_as_evicted(scene: Scene) -> None:
    """It ran long enough to count as a success first; the eviction takes the place of that, one run being one."""
    volume, mount = {"name": "scratch", "emptyDir": {}}, {"name": "scratch", "mountPath": "/scratch"}
    script = f"head -c 450000000 /dev/zero > /scratch/file; {FOREVER}"
    spec = {"volumes": [volume], "restartPolicy": "Never"}
    scene.client.create(typed("fills", script, node="real-1", container={"volumeMounts": [mount]}, spec=spec))
    assert scene.learned("real-1", "fills", reason="Evicted", within_s=60)["value"] == 0.0
    assert [(o["stage"], o["run"], o["reason"]) for o in scene.outcomes("real-1", "fills")] == [("run", 0, "Evicted")]
    scene.client.delete("Pod", "fills")

    def pressed() -> bool:
        rows = scene.client.get("Node", "real-1")["status"]["conditions"]
        return any(row["type"] == "DiskPressure" and row["status"] == "True" for row in rows)

    eventually(lambda: not pressed(), within_s=60, what="pressure gone")


def test_a_pod_deleted_by_hand_is_no_outcome(scene: Scene) -> None:
    start(scene.client, typed("unwanted", FOREVER, node="real-0"))
    scene.client.delete("Pod", "unwanted", grace_period_s=1)
    scene.wait_for_the_agent("real-0", "after-unwanted")
    eventually(lambda: "unwanted" not in names(scene), within_s=20, what="the pod gone")
    assert scene.outcomes("real-0", "unwanted") == []


def names(scene: Scene) -> set[str]:
    return {pod["metadata"]["name"] for pod in scene.client.list_all("Pod", namespace="default")}


def test_a_run_that_lasts_is_a_success(scene: Scene) -> None:
    start(scene.client, typed("steady", FOREVER, node="real-0"))
    outcome = scene.learned("real-0", "steady")
    assert (outcome["reason"], outcome["value"]) == ("Ran", 1.0)


def test_a_pod_that_starts_slower_than_its_type_does_elsewhere_is_learned_as_slow(scene: Scene) -> None:
    """Three are ready within a second or so on real-0; the fourth takes 8 s and more on real-1."""

    def begins(name: str, node: str, after_s: int) -> dict[str, Any]:
        probe = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1}
        script = f"sleep {after_s}; touch /tmp/up; {FOREVER}"
        return typed("begins", script, node=node, name=name, container={"readinessProbe": probe})

    fast = start(scene.client, *(begins(f"fast-{number}", "real-0", 0) for number in range(3)))
    assert len(fast) == 3
    scene.learned("real-0", "begins")
    start(scene.client, begins("slow", "real-1", 8))
    outcome = scene.learned("real-1", "begins")
    assert outcome["reason"] == "SlowStart"
    assert 0.0 < outcome["value"] < 1.0


def test_an_agent_that_is_replaced_counts_nothing_twice(scene: Scene) -> None:
    scene.client.create(typed("once", "exit 1", node="real-0", spec={"restartPolicy": "Never"}))
    scene.learned("real-0", "once")
    old = scene.agents()["real-0"]["metadata"]
    scene.client.delete("Pod", old["name"], namespace=agent_pods.NAMESPACE, grace_period_s=None)

    def replaced() -> bool:
        new = scene.agents().get("real-0")
        return new is not None and new["metadata"]["uid"] != old["uid"] and ready_agents(scene) == 2

    eventually(replaced, within_s=60, what="another agent ready")
    scene.wait_for_the_agent("real-0", "after-the-agent")
    record = scene.etcd.record("real-0", "once")
    assert record is not None
    assert record["count"] == 1


def test_rates_of_both_nodes_are_measured_from_their_traffic(scene: Scene) -> None:
    """20 Mbit/s through the shaper, less than 10 % beside it."""

    def rate_bps(node: str, direction: str) -> float:
        state = scene.etcd.state(node)
        return float(state["rate_bps"].get(direction, 0.0)) if state else 0.0

    for node, direction in (("real-0", "egress"), ("real-1", "ingress")):
        eventually(
            lambda node=node, direction=direction: 18 * M < rate_bps(node, direction) < 23 * M,  # type: ignore[misc]
            within_s=40,
            what=f"{node}: {direction} of 20 Mbit/s",
        )


def test_a_rate_short_of_what_was_asked_is_learned_as_the_share_achieved(scene: Scene) -> None:
    """20 of 40 Mbit/s: 0.5. The pod's own counters also have what the shaper drops and TCP sends again."""
    outcome = scene.learned("real-0", "stream", reason="Network", within_s=150)
    assert outcome["pod"] == "default/sends"
    assert 0.45 <= outcome["value"] <= 0.65


def test_a_lost_link_is_told_and_leaves_pods_alone_over_a_kubelet_restart(scene: Scene) -> None:
    """9.5 Gbit/s are published, 1 Gbit/s is promised to a pod: of the lost link just that stays published."""
    [before] = start(scene.client, runs("promised", FOREVER, node="real-1", limits={EGRESS: "1G"}))
    scene.bed.real.cut("real-1")
    try:
        eventually(lambda: published(scene, "real-1") == {EGRESS: G, INGRESS: 0}, within_s=20, what="the promise alone")
        state = scene.etcd.state("real-1")
        assert state is not None
        assert state["limit_bps"] == {"egress": 0, "ingress": 0}
        restart_kubelet(scene.bed, "real-1")
        after = scene.client.get("Pod", "promised")
        assert is_running(after)
        assert identity(after) == identity(before)
        assert scene.bed.real.is_ready("real-1")
    finally:
        scene.bed.real.mend("real-1")
    whole = {EGRESS: 9_500 * M, INGRESS: 9_500 * M}
    eventually(lambda: published(scene, "real-1") == whole, within_s=20, what="the whole link again")
    about = {"fieldSelector": "involvedObject.kind=Node,involvedObject.name=real-1"}
    told = {event["reason"] for event in scene.client.list_all("Event", namespace="default", params=about)}
    assert {"NetworkLinkLost", "NetworkLinkBack"} <= told


def test_the_agent_uses_every_right_it_has_and_asks_for_no_other(scene: Scene) -> None:
    """A pod without an image makes it list events, a measure that is none makes it write one."""
    about: dict[str, Any] = {
        "annotations": {"kubesteer.io/reward": "good"},
        "container": {"image": "127.0.0.1:1/none:1"},
    }
    scene.client.create(typed("rights", FOREVER, node="real-0", **about))
    kubelet_asks = {("", "nodes/stats", "get")}
    granted = {(*what, verb) for what, verbs in agent_pods.VERBS.items() for verb in verbs} - kubelet_asks
    eventually(lambda: granted <= used_rights(scene.audit_log)[0], within_s=30, what="every right used")
    used, refused = used_rights(scene.audit_log)
    assert (used - granted, refused) == (set(), set())


def used_rights(audit_log: Path) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """API group, resource and verb of what the agents asked for, and of what they were refused."""
    account = f"system:serviceaccount:{agent_pods.NAMESPACE}:{agent_pods.NAME}"
    used, refused = set(), set()
    whole_lines, _, _ = audit_log.read_text().rpartition("\n")
    for line in whole_lines.splitlines():
        event = json.loads(line)
        if event["user"]["username"] != account or "objectRef" not in event:
            continue
        about = event["objectRef"]
        resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
        right = (about.get("apiGroup", ""), resource, event["verb"])
        used.add(right)
        if event.get("responseStatus", {}).get("code") == 403:
            refused.add(right)
    return used, refused
