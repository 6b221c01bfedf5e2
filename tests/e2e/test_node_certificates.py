"""A certificate for each node, on the real API server: a real agent's, and what other tokens and requests are told.

etcd is the one of the StatefulSet, with authentication on; the keeper has the rights of its own account.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from kubesteer.certificates.issuing import common_name_of, issue_authority, usages_of
from kubesteer.certificates.pems import cert_pem, key_pem, life, read_certificate
from kubesteer.certificates.requests import ask
from kubesteer.certificates.values import Usage, wanted
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user
from tests.certificates_issued.test_judging_requests import EDI, OWN, csr, san
from tests.certificates_issued.world import MAKER
from tests.manifests.written import MANIFESTS
from tools.cluster import objects
from tools.cluster.client import ApiError, Client

from .keeper_bed import NAMESPACE, KeeperBed, deployed, until, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.cluster.build import Binaries

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
ACCOUNT = "kubesteer-agent"
SEVERAL_ROUNDS_S = 3
TLS_FILES = {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}


@pytest.fixture(scope="module")
def bed(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperBed]:
    """The keeper at work and ready, and etcd."""
    if reason := why_not():
        pytest.skip(reason)
    with deployed(binaries, tmp_path_factory.mktemp("keeper")) as running:
        running.keep(etcd={"per_node": True})
        names = [leaf.secret for leaf in wanted(NAMESPACE).leaves]
        until(lambda: all((running.secrets / name).exists() for name in names), within_s=30, saying=running.logs)
        running.start_members()
        until(lambda: running.readyz().get("ready") is True, within_s=30, saying=running.logs)
        yield running


def token(bed: KeeperBed, node: str, account: str = ACCOUNT) -> str:
    """Bound to the agent's pod on a node; to no pod without one."""
    bound: list[str] = []
    if node:
        uid = bed.bed.client.get("Pod", f"agent-{node}", namespace=NAMESPACE)["metadata"]["uid"]
        bound = ["--bound-object-kind=Pod", f"--bound-object-name=agent-{node}", f"--bound-object-uid={uid}"]
    return bed.bed.kubectl("create", "token", account, f"--namespace={NAMESPACE}", *bound).strip()


def user_of(bed: KeeperBed, node: str) -> str:
    """etcd's user of the Node that there is now."""
    return agent_user(node, bed.bed.client.get("Node", node)["metadata"]["uid"])


def asked(bed: KeeperBed, bearer: str | None, pem: bytes, **spec: Any) -> str:
    """Makes a request, with the administrator's token without one; its name."""
    client = Client(bed.bed.url, bearer, bed.bed.layout.ca_file) if bearer else bed.bed.client
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "test-"},
        "spec": {
            "signerName": AGENT_SIGNER,
            "request": base64.b64encode(pem).decode(),
            "usages": ["client auth"],
            **spec,
        },
    }
    made = client.request("POST", REQUESTS, body)
    if bearer:
        client.close()
    name: str = made["metadata"]["name"]
    return name


def answer(bed: KeeperBed, name: str) -> tuple[set[str], str, bytes]:
    """What was decided, its message, and the certificate."""
    found: dict[str, Any] = {}

    def is_answered() -> bool:
        found.update(bed.bed.client.request("GET", f"{REQUESTS}/{name}").get("status", {}))
        verdicts = {each["type"] for each in found.get("conditions", ())}
        return bool(found.get("certificate") or verdicts & {"Denied", "Failed"})

    until(is_answered, within_s=30, saying=bed.logs)
    conditions = {each["type"]: each["message"] for each in found["conditions"]}
    return set(conditions), list(conditions.values())[-1], base64.b64decode(found.get("certificate", ""))


def test_an_agents_token_gets_a_client_certificate_for_its_own_node(bed: KeeperBed) -> None:
    verdicts, message, pem = answer(bed, asked(bed, token(bed, "n1"), ask(MAKER.key())))
    assert (verdicts, message) == ({"Approved"}, "asked by the agent on n1, for itself")
    certificate = read_certificate(pem)
    assert common_name_of(certificate.subject) == user_of(bed, "n1")
    assert usages_of(certificate) == {Usage.CLIENT}
    assert 7 <= life(certificate).total_seconds() / 86400 < 7.01


@pytest.mark.parametrize(
    ("node", "account", "pem", "said"),
    [
        pytest.param("n2", ACCOUNT, csr(OWN), "a subject is", id="another node's"),
        pytest.param("", ACCOUNT, ask(MAKER.key()), "names no node", id="a token of no pod"),
        pytest.param("n1", ACCOUNT, csr((NameOID.COMMON_NAME, "root")), "a subject is", id="etcd's root"),
        pytest.param("n1", ACCOUNT, csr((NameOID.COMMON_NAME, ACCOUNT)), "a subject is", id="the agents' shared name"),
        pytest.param(
            "n1",
            ACCOUNT,
            csr(extensions=(x509.SubjectAlternativeName([x509.DNSName("kubesteer-etcd.kubesteer.svc")]),)),
            "extensions",
            id="host names",
        ),
        pytest.param(
            "n1",
            ACCOUNT,
            csr(extensions=(x509.BasicConstraints(ca=True, path_length=None),)),
            "extensions",
            id="an authority",
        ),
    ],
)
def test_what_another_token_or_another_request_asks_for_is_denied(
    bed: KeeperBed, node: str, account: str, pem: bytes, said: str
) -> None:
    verdicts, message, certificate = answer(bed, asked(bed, token(bed, node, account), pem))
    assert (verdicts, certificate) == ({"Denied"}, b"")
    assert said in message


@pytest.mark.parametrize("usages", [["client auth", "server auth"], ["cert sign"]], ids=str)
def test_other_usages_are_denied(bed: KeeperBed, usages: list[str]) -> None:
    name = asked(bed, token(bed, "n1"), ask(MAKER.key()), usages=usages)
    assert answer(bed, name)[0] == {"Denied"}


def test_the_administrator_is_no_agent_either(bed: KeeperBed) -> None:
    verdicts, message, _ = answer(bed, asked(bed, None, ask(MAKER.key())))
    assert (verdicts, "only system:serviceaccount" in message) == ({"Denied"}, True)


def test_what_somebody_else_approved_is_not_signed_when_it_should_not_be(bed: KeeperBed) -> None:
    """The keeper looks for itself: somebody's automatic approval is no reason to sign."""
    pem = csr((NameOID.COMMON_NAME, "root"))
    body = {"conditions": [{"type": "Approved", "status": "True", "reason": "Auto", "message": "all are"}]}
    names = [asked(bed, None, pem) for _ in range(5)]
    for name in names:
        with suppress(ApiError):  # the keeper was faster
            path = f"{REQUESTS}/{name}/approval"
            bed.bed.client.request("PATCH", path, {"status": body}, content_type="application/merge-patch+json")
    for name in names:
        verdicts, _, certificate = answer(bed, name)
        assert (verdicts in ({"Denied"}, {"Approved", "Failed"}), certificate) == (True, b"")


@pytest.mark.parametrize(
    ("account", "spec", "said"),
    [
        ("kubesteer-extender", {}, "cannot create"),
        (ACCOUNT, {"signerName": "kubernetes.io/kube-apiserver-client"}, "asks for certificates for etcd"),
        (ACCOUNT, {"signerName": "kubernetes.io/kube-apiserver-client-kubelet"}, "asks for certificates for etcd"),
    ],
)
def test_the_api_server_refuses_requests_of_others_and_to_other_signers(
    bed: KeeperBed, account: str, spec: dict[str, Any], said: str
) -> None:
    bearer = token(bed, "n1") if account == ACCOUNT else token(bed, "", account)
    with pytest.raises(ApiError, match=said):
        asked(bed, bearer, ask(MAKER.key()), **spec)


@pytest.mark.parametrize("path", ["approval", "status"])
def test_an_agent_cannot_answer_its_own_request(bed: KeeperBed, path: str) -> None:
    bearer = token(bed, "n1")
    name = asked(bed, bearer, csr((NameOID.COMMON_NAME, "root")))
    client = Client(bed.bed.url, bearer, bed.bed.layout.ca_file)
    with pytest.raises(ApiError, match="is forbidden"):
        client.request(
            "PATCH", f"{REQUESTS}/{name}/{path}", {"status": {}}, content_type="application/merge-patch+json"
        )
    client.close()


def test_the_keeper_cannot_sign_for_another_signer(bed: KeeperBed) -> None:
    name = asked(
        bed, None, csr((NameOID.COMMON_NAME, "system:admin")), signerName="kubernetes.io/kube-apiserver-client"
    )
    keeper = Client(bed.bed.url, token(bed, "", "kubesteer-keeper"), bed.bed.layout.ca_file)
    condition = {"type": "Approved", "status": "True", "reason": "R", "message": "m"}
    signed = issue_authority("a", MAKER, now=datetime.now(UTC), lasts=timedelta(days=1)).certificate
    given = {"certificate": base64.b64encode(cert_pem(signed)).decode()}
    for path, status in (("approval", {"conditions": [condition]}), ("status", given)):
        with pytest.raises(ApiError, match="is forbidden"):
            keeper.request(
                "PATCH",
                f"{REQUESTS}/{name}/{path}",
                {"status": status},
                content_type="application/merge-patch+json",
            )
    keeper.close()


def rewards(bed: KeeperBed, files: dict[str, Path], *command: str) -> tuple[int, str]:
    """`kubesteer rewards` with a client certificate, at etcd's first member."""
    options = [part for name, file in files.items() for part in (f"--{name}-file", str(file))]
    told = bed.run(sys.executable, "-m", "kubesteer", "rewards", *command, "--etcd", bed.endpoints[0], *options)
    return told.returncode, told.stdout + told.stderr


def agent(bed: KeeperBed, node: str) -> dict[str, Path]:
    """Starts a real agent that asks for its own certificate; where it keeps it."""
    folder = bed.folder / f"agent-{node}"
    folder.mkdir()
    files = {"ca": bed.secrets / "kubesteer-agent-etcd/ca.crt", "cert": folder / "tls.crt", "key": folder / "tls.key"}
    settings = yaml.safe_load((MANIFESTS / "base/agent/settings.yaml").read_text())
    settings["cluster"] = {"kubeconfig": str(bed.bed.kubeconfig_for(token(bed, node), f"agent-{node}"))}
    settings["store"] |= {"endpoints": bed.endpoints, "certificate": "request"}
    settings["store"] |= {f"{name}_file": str(file) for name, file in files.items()}
    settings["network"] = {"trust_virtual": True}
    settings["ops"] = {"port": 0}
    del settings["kubelet"]
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    bed.start(f"agent-{node}", "env", f"NODE_NAME={node}", sys.executable, "-m", "monitor_agent", "--config", file)
    return files


def test_a_real_agent_gets_its_certificate_and_works_with_it_on_its_own_node_alone(bed: KeeperBed) -> None:
    files = agent(bed, "n1")
    until(lambda: '"certificate received"' in bed.log_of("agent-n1"), within_s=30, saying=bed.logs)
    until(lambda: '"column loaded"' in bed.log_of("agent-n1"), within_s=30, saying=bed.logs)
    assert files["key"].stat().st_mode & 0o77 == 0
    code, told = rewards(bed, files, "set", "web", "n1", "--mean", "0.5", "--evidence", "3")
    assert code == 0, told
    code, told = rewards(bed, files, "set", "web", "n2", "--mean", "0.5", "--evidence", "3")
    assert (code != 0, "permission denied" in told) == (True, True), told
    code, told = rewards(bed, files, "show")
    assert (code, "n1" in told) == (0, True)


def test_the_shared_certificate_writes_and_reads_nothing_here(bed: KeeperBed) -> None:
    shared = {name: bed.secrets / "kubesteer-agent-etcd" / file for name, file in TLS_FILES.items()}
    code, told = rewards(bed, shared, "show")
    assert (code != 0, "permission denied" in told) == (True, True), told


def test_with_its_node_goes_what_an_agents_certificate_is_worth(bed: KeeperBed, tmp_path: Path) -> None:
    """And it does not come back with a Node of the same name, nor does a token's that was bound to the one before."""
    user = user_of(bed, "n2")
    key = MAKER.key()
    _, _, pem = answer(bed, asked(bed, token(bed, "n2"), ask(key)))
    (tmp_path / "tls.crt").write_bytes(pem)
    (tmp_path / "tls.key").write_bytes(key_pem(key))
    files = {
        "ca": bed.secrets / "kubesteer-agent-etcd/ca.crt",
        "cert": tmp_path / "tls.crt",
        "key": tmp_path / "tls.key",
    }
    assert rewards(bed, files, "show")[0] == 0
    bearer = token(bed, "n2")
    bed.bed.client.delete("Node", "n2")
    until(lambda: f"user {user} removed" in bed.log_of("keeper"), within_s=30, saying=bed.logs)
    code, told = rewards(bed, files, "show")
    assert (code != 0, "permission denied" in told) == (True, True), told
    name = asked(bed, bearer, ask(MAKER.key()))
    time.sleep(SEVERAL_ROUNDS_S)
    assert not bed.bed.client.request("GET", f"{REQUESTS}/{name}").get("status", {}).get("certificate")
    bed.bed.client.create(objects.node("n2"))
    until(lambda: f"user {user_of(bed, 'n2')} made" in bed.log_of("keeper"), within_s=30, saying=bed.logs)
    code, told = rewards(bed, files, "show")
    assert (code != 0, "permission denied" in told) == (True, True), told
    time.sleep(SEVERAL_ROUNDS_S)
    assert not bed.bed.client.request("GET", f"{REQUESTS}/{name}").get("status", {}).get("certificate")
    _, _, pem = answer(bed, asked(bed, token(bed, "n2"), ask(MAKER.key())))
    assert common_name_of(read_certificate(pem).subject) == user_of(bed, "n2") != user


@pytest.mark.parametrize(
    "poison", [csr(extensions=(san(EDI),)), csr((NameOID.TITLE, "x" * 5_000))], ids=["EDI", "large"]
)
def test_a_request_that_means_harm_is_denied_and_the_keeper_goes_on(bed: KeeperBed, poison: bytes) -> None:
    verdicts, message, _ = answer(bed, asked(bed, token(bed, "n1"), poison))
    assert (verdicts, len(message) < 400) == ({"Denied"}, True)
    assert answer(bed, asked(bed, token(bed, "n1"), ask(MAKER.key())))[2]
    assert bed.readyz()["ready"] is True


HOSTILE = """
import sys
from pathlib import Path
import grpc
from aetcd import rpc
ca, cert, key = (Path(file).read_bytes() for file in sys.argv[2:])
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials(ca, key, cert))
cluster, keeping, keys = rpc.ClusterStub(channel), rpc.MaintenanceStub(channel), rpc.KVStub(channel)
members = [member.ID for member in cluster.MemberList(rpc.MemberListRequest(), timeout=5).members]
for call, request in (
    (cluster.MemberAdd, rpc.MemberAddRequest(peerURLs=["https://192.0.2.1:2380"])),
    (cluster.MemberRemove, rpc.MemberRemoveRequest(ID=members[0])),
    (keeping.MoveLeader, rpc.MoveLeaderRequest(targetID=members[0])),
    (keeping.Alarm, rpc.AlarmRequest(action=1, memberID=members[0], alarm=rpc.NOSPACE)),
    (keeping.HashKV, rpc.HashKVRequest()),
    (keys.Compact, rpc.CompactionRequest(revision=1)),
):
    try:
        call(request, timeout=5)
        print("done", type(request).__name__)
    except grpc.RpcError as exc:
        print("permission denied" in exc.details() and "denied" or exc.details())
"""


def test_an_agents_certificate_does_nothing_to_the_members_of_etcd(bed: KeeperBed) -> None:
    """That holds with the etcd of the StatefulSet (3.7); 3.5 lets any user raise an alarm, which ends all writes."""
    files = {name: bed.folder / "agent-n1" / file for name, file in TLS_FILES.items() if name != "ca"}
    told = bed.run(
        sys.executable, "-c", HOSTILE, bed.endpoints[0], bed.secrets / "kubesteer-agent-etcd/ca.crt", *files.values()
    )
    assert told.stdout.splitlines() == ["denied"] * 6, told.stdout + told.stderr


def test_what_the_keeper_counts(bed: KeeperBed) -> None:
    assert bed.ask_keeper("/metrics").status_code == 401
    text = bed.ask_keeper("/metrics", bed.admin_token).text
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    assert counts['kubesteer_keeper_requests_total{verdict="signed"}'] >= 4
    assert counts['kubesteer_keeper_requests_total{verdict="denied"}'] >= 10
    assert counts['kubesteer_keeper_fault{part="requests"}'] == 0
    days = counts['kubesteer_certificate_expiry_seconds{secret="kubesteer-etcd-server"}'] / 86400
    assert 89.9 < days <= 90
    assert json.dumps(bed.readyz()).count("faults") == 1
