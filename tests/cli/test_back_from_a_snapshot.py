"""What docs/operations.md prints for work on etcd by hand, run as it stands there: an etcd that knows its clients by their
certificates, as the default deployment's does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from aetcd import rpc

from kubesteer.clients.rewards.etcd_access import agents_role, extender_role, root_role
from kubesteer.model.reward import encode_key
from tests.cli.command import EtcdCase, record, run
from tests.etcd_access.by_hand import POD, ByHand, printed
from tests.etcd_access.secured import SERVICE, SecuredEtcd
from tests.manifests.written import ROOT, pod_spec, written

PREFIX = "/kubesteer"
POD_IS_THERE, BACKUP, FROM_A_SNAPSHOT = printed("Backup and restore of rewards")
[FULL] = printed("etcd is full")
QUOTA = 16 << 20


@pytest.fixture
def etcd() -> Iterator[SecuredEtcd]:
    with SecuredEtcd(f"--quota-backend-bytes={QUOTA}") as running:
        with_users(running)
        yield running


def with_users(etcd: SecuredEtcd) -> None:
    """As the keeper makes them."""

    async def mend() -> None:
        access = etcd.access()
        await access.mend([root_role(), extender_role(PREFIX), agents_role(PREFIX)], {}, looks=9)
        await access.close()

    asyncio.run(mend())


def means(etcd: SecuredEtcd) -> dict[tuple[str, str], float]:
    return {pair: each.mean for pair, each in EtcdCase(etcd, PREFIX).held().items()}


def forget(etcd: SecuredEtcd) -> None:
    etcd.call(rpc.KVStub, "DeleteRange", rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0"))


def test_a_backup_is_put_back_into_an_etcd_that_lost_everything(etcd: SecuredEtcd, tmp_path: Path) -> None:
    pod = ByHand(tmp_path / "pod", etcd)
    EtcdCase(etcd, PREFIX).fill([record("n1", "web", 0.1), record("n2", "web", 0.9)])
    export, *put_back = BACKUP.splitlines()
    pod.run(f"{POD_IS_THERE}\n{export}")
    forget(etcd)
    assert means(etcd) == {}
    pod.run("\n".join([POD_IS_THERE, *put_back]))
    assert means(etcd) == {("n1", "web"): 0.1, ("n2", "web"): 0.9}


def test_the_rewards_of_a_snapshot_come_into_an_etcd_that_knows_none_of_them(etcd: SecuredEtcd, tmp_path: Path) -> None:
    """n2's agent wrote again before; what is newer stays."""
    pod = ByHand(tmp_path / "pod", etcd)
    case = EtcdCase(etcd, PREFIX)
    case.fill([record("n1", "web", 0.1, age_s=90), record("n2", "web", 0.9, age_s=90)])
    pod.run(f"{POD_IS_THERE}\nby_hand etcd -- etcdctl snapshot save /snapshots/night.db")
    forget(etcd)
    case.fill([record("n2", "web", 0.5, age_s=5)])
    told = pod.run(POD_IS_THERE + FROM_A_SNAPSHOT, {"SNAPSHOT": "night"})
    assert "night.db" in told
    assert (pod.here / "night.db").read_bytes() == (pod.snapshots / "night.db").read_bytes()
    assert means(etcd) == {("n1", "web"): 0.1, ("n2", "web"): 0.5}


def test_an_etcd_that_is_full_takes_writes_again(etcd: SecuredEtcd, tmp_path: Path) -> None:
    """One node filled it; another one's records stay."""
    pod = ByHand(tmp_path / "pod", etcd)
    EtcdCase(etcd, PREFIX).fill([record("n1", "web", 0.1)])
    etcd.fill(f"{PREFIX}/v1/evil".encode())
    key = encode_key(PREFIX, "n1", "db")
    with pytest.raises(grpc.RpcError, match="space exceeded"):
        etcd.put(key, b"{}")
    assert "NOSPACE" in pod.run(POD_IS_THERE + FULL, {"NODE": "evil"})
    etcd.put(key, b"{}")
    assert {each.key for each in etcd.entries(PREFIX)} == {key, encode_key(PREFIX, "n1", "web")}  # type: ignore[attr-defined]


def test_through_a_tunnel_the_certificates_name_is_told(etcd: SecuredEtcd) -> None:
    """Its end is reached at an address that the certificate does not have."""
    EtcdCase(etcd, PREFIX).fill([record("n1", "web", 0.1)])
    cert, key = etcd.identities.of("root")
    there = ("--etcd", f"127.0.0.1:{etcd.port}", "--ca-file", str(etcd.identities.ca))
    own = ("--cert-file", str(cert), "--key-file", str(key))
    refused = run("rewards", "show", "--json", *there, *own)
    assert refused.code == 1
    [found] = run("rewards", "show", "--json", *there, *own, "--server-name", SERVICE).json["rewards"]
    assert found["node"] == "n1"


def test_the_pod_has_the_images_the_label_and_the_guards_of_the_nightly_job() -> None:
    pod: dict[str, Any] = yaml.safe_load(POD.read_text())
    assert POD.relative_to(ROOT).as_posix() in POD_IS_THERE
    [job] = [each.object for each in written() if each.object["kind"] == "CronJob"]
    nightly = pod_spec(job)
    assert nightly is not None
    assert pod["metadata"]["labels"] == job["metadata"]["labels"]
    for field in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "nodeSelector"):
        assert pod["spec"][field] == nightly[field]
    containers = [*nightly["initContainers"], *nightly["containers"]]
    assert {each["image"] for each in pod["spec"]["containers"]} == {each["image"] for each in containers}
    for each in pod["spec"]["containers"]:
        assert each["securityContext"] == containers[0]["securityContext"]
