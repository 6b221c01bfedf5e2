"""How a deployment stands: a row a part, and findings that say what is wrong."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubesteer.deploying.standing import Observed, standing
from kubesteer.model.api_objects import Thing

from .objects import certificate_pem, foreign, node, rolled_out, secret, thing, workload

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LEADS = "etcd_server_has_leader 1\netcd_server_is_leader 1\netcd_server_quota_backend_bytes 100\n"
FOLLOWS = LEADS.replace("is_leader 1", "is_leader 0")
KNOWS = {
    "ready": True,
    "waitingFor": [],
    "cluster": {"stale": False, "table_nodes": 3, "table_pods": 9},
    "rewards": {"last_error": None},
    "nodeStates": {"nodes": 3, "newest_age_s": 4.0},
}
WORKLOADS = [
    rolled_out(workload("StatefulSet", "kubesteer-etcd", replicas=3, image="quay.io/coreos/etcd:v3.7.3")),
    rolled_out(workload("Deployment", "kubesteer-extender", replicas=2)),
    rolled_out(workload("DaemonSet", "kubesteer-agent")),
    rolled_out(workload("Deployment", "kubesteer-scheduler", replicas=2)),
]


def lease(*, age_s: float = 3.0, holder: str = "kubesteer-scheduler-a_1f") -> Thing:
    renewed = (NOW - timedelta(seconds=age_s)).isoformat().replace("+00:00", "Z")
    spec = {"holderIdentity": holder, "renewTime": renewed}
    return foreign(thing("Lease", "kubesteer-scheduler", api="coordination.k8s.io/v1", spec=spec))


def certificate(begins: datetime, ends: datetime) -> Thing:
    pem = certificate_pem(begins, ends).encode()
    return secret("kubesteer-extender-server", **{"tls.crt": base64.b64encode(pem).decode()})


NODES = [node(f"node-{n}", egress="10G") for n in range(3)]
WELL = Observed(
    things=[*WORKLOADS, certificate(NOW - DAY, NOW + 89 * DAY), lease()],
    nodes=NODES,
    readyz={"kubesteer-extender-a": KNOWS, "kubesteer-extender-b": KNOWS},
    members={"kubesteer-etcd-0": LEADS, "kubesteer-etcd-1": FOLLOWS, "kubesteer-etcd-2": FOLLOWS},
)


def findings(**changes: Any) -> str:
    return "\n".join(standing(replace(WELL, **changes), NOW.timestamp()).findings)


def readyz(**changes: Any) -> dict[str, Any]:
    return {"kubesteer-extender-a": {**KNOWS, **changes}}


def test_where_all_is_well_each_part_says_who_does_what() -> None:
    found = standing(WELL, NOW.timestamp())
    assert (found.is_well, found.findings) == (True, ())
    notes = {row.part: " ".join(row.notes) for row in found.rows}
    assert "kubesteer-etcd-0 leads, members that answer: 3" in notes["etcd"]
    assert "knows 3 nodes, 9 pods" in notes["extender"]
    assert "3 nodes' network is told, the newest 4 s ago" in notes["agent"]
    assert "3 of 3 nodes publish" in notes["agent"]
    assert notes["scheduler"] == "kubesteer-scheduler-a leads"
    assert {row.part: row.version for row in found.rows}["etcd"] == "etcd:v3.7.3"


def test_the_first_certificate_to_expire_is_told() -> None:
    [row] = [each for each in standing(WELL, NOW.timestamp()).rows if each.part == "certificates"]
    assert row.notes == ("the first to expire is kubesteer-extender-server, in 89 days",)


def test_an_authority_near_its_end_is_told_with_where_the_steps_are() -> None:
    """10 years; 15 % of them are 1.5 years."""
    ends = NOW + 540 * DAY
    held = certificate(ends - 3650 * DAY, ends)
    held["metadata"]["name"] = "kubesteer-wire-authority"
    assert "docs/certificates.md has the steps to replace it" in findings(things=[*WORKLOADS, held, lease()])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"things": []}, "not deployed here", id="nothing there"),
        pytest.param(
            {"things": [*WORKLOADS, certificate(NOW - 91 * DAY, NOW - DAY), lease()]},
            "kubesteer-extender-server expired on 2026-11-21",
            id="over",
        ),
        pytest.param(
            {"things": [*WORKLOADS, certificate(NOW - 80 * DAY, NOW + 10 * DAY), lease()]},
            "was not renewed",
            id="10 of 90 days < 15 %",
        ),
        pytest.param({"things": WORKLOADS}, "nobody holds the lease", id="two schedulers and no leader"),
        pytest.param(
            {"things": [*WORKLOADS, lease(age_s=300)]}, "last renewed 5 minutes ago", id="a leader that is gone"
        ),
        pytest.param(
            {"members": {"kubesteer-etcd-0": FOLLOWS.replace("has_leader 1", "has_leader 0")}},
            "knows no leader",
            id="no quorum",
        ),
        pytest.param(
            {"members": {"kubesteer-etcd-0": f"{LEADS}etcd_mvcc_db_total_size_in_bytes 81\n"}},
            "81% of its quota",
            id="full",
        ),
        pytest.param(
            {"unreachable": {"kubesteer-etcd-1": "no answer"}}, "kubesteer-etcd-1: no answer", id="a silent member"
        ),
        pytest.param(
            {"unreachable": {"kubesteer-extender-b": "status 500"}},
            "kubesteer-extender-b: status 500",
            id="a silent extender",
        ),
        pytest.param({"readyz": readyz(waitingFor=["nodes from x"])}, "waits for nodes from x", id="not synced"),
        pytest.param(
            {"readyz": readyz(cluster={"stale": True, "last_error": "refused"})}, "is old: refused", id="an old view"
        ),
        pytest.param({"readyz": readyz(rewards={"last_error": "no etcd"})}, "rewards: no etcd", id="no etcd"),
        pytest.param(
            {"readyz": readyz(nodeStates={"nodes": 3, "newest_age_s": 600.0})}, "for 10 minutes", id="agents are silent"
        ),
        pytest.param(
            {"things": [rolled_out(WORKLOADS[1], 1), *WORKLOADS[2:], lease()]},
            "extender: not all of it is ready",
            id="one replica is away",
        ),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], words: str) -> None:
    assert words in findings(**changes)


def test_a_silent_node_is_told_and_is_no_fault_of_kubesteers() -> None:
    nodes = [node("a", egress="1G"), node("b", egress="1G"), node("c", ready=False)]
    things = [WORKLOADS[1], rolled_out(WORKLOADS[2], 2), WORKLOADS[3], lease()]
    found = standing(replace(WELL, things=things, nodes=nodes), NOW.timestamp())
    assert found.is_well, found.findings
    assert "1 nodes are silent" in " ".join(next(row for row in found.rows if row.part == "agent").notes)


def test_one_scheduler_alone_needs_no_lease() -> None:
    alone = rolled_out(workload("Deployment", "kubesteer-scheduler", replicas=1))
    assert findings(things=[*WORKLOADS[:3], alone]) == ""


def nightly(last: datetime | None, *, made: datetime = NOW - 40 * DAY) -> list[Thing]:
    job = thing("CronJob", "kubesteer-etcd-maintenance", api="batch/v1", spec={})
    job["metadata"]["creationTimestamp"] = f"{made:%Y-%m-%dT%H:%M:%SZ}"
    job["status"] = {"lastSuccessfulTime": f"{last:%Y-%m-%dT%H:%M:%SZ}"} if last else {}
    return [*WORKLOADS, job, lease()]


@pytest.mark.parametrize(
    ("things", "note"),
    [
        (nightly(NOW - 9 * timedelta(hours=1)), "the last snapshot is 9 hours old"),
        (nightly(None, made=NOW - DAY), "no snapshot yet"),
    ],
    ids=["of this night", "deployed yesterday"],
)
def test_the_row_of_etcd_tells_how_old_the_last_snapshot_is(things: list[Thing], note: str) -> None:
    found = standing(replace(WELL, things=things), NOW.timestamp())
    assert found.findings == ()
    assert note in next(row for row in found.rows if row.part == "etcd").notes


@pytest.mark.parametrize(
    "things", [nightly(NOW - 3 * DAY), nightly(None, made=NOW - 3 * DAY)], ids=["stopped", "never"]
)
def test_three_days_without_a_snapshot_are_wrong(things: list[Thing]) -> None:
    assert findings(things=things) == (
        "etcd: the last snapshot is 3 days old; see the newest Job of kubesteer-etcd-maintenance"
    )
