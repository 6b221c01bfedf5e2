"""The ops ports of extender and agent, and the real API server behind them: real tokens of every kind, good and bad.

Both services run under their accounts' own tokens, with the rights that manifests/ give them and no other.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kubesteer.clients.kubernetes.reviews import ALLOWED_S, REFUSED_S
from tests.builders import pod
from tests.certificates import Authority
from tests.manifests.written import MANIFESTS, ROOT
from tools.cluster import objects
from tools.cluster.client import ApiError, Client
from tools.cluster.controlplane import API_SERVER, ControlPlane
from tools.cluster.extender import Extender
from tools.cluster.ports import free_ports
from tools.cluster.process import Guard, Process
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.cluster.build import Binaries

RIGHTS = ["base/common/namespace", "base/extender/rights", "base/agent/rights", "components/monitoring/rights"]
PAGES = ["/metrics", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"]
ISSUER = "https://kubernetes.default.svc"
KEPT_THERE_S = 10
"""The API server itself keeps what it thinks of a token this long."""
NODE = "node-1"
PROBES_HOST = "127.0.0.2"
"""The agent's ops.host is 127.0.0.1 here."""
EXPLAIN = {"Pod": pod(), "NodeNames": [NODE]}


@pytest.fixture(scope="module")
def bed(binaries: Binaries) -> Iterator[ControlPlane]:
    """With a controller manager, which fills the Secret that Prometheus' operator reads."""
    with ControlPlane(binaries, controller_manager=True) as running:
        for file in RIGHTS:
            running.kubectl("apply", "--server-side", "-f", str(MANIFESTS / f"{file}.yaml"))
        for account in ("reader", "nobody"):
            running.kubectl("create", "serviceaccount", account, "--namespace=kubesteer")
        running.kubectl(
            "create",
            "clusterrolebinding",
            "reader",
            "--clusterrole=kubesteer-ops-reader",
            "--serviceaccount=kubesteer:reader",
        )
        running.client.create(objects.node(NODE))
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def extender(bed: ControlPlane, authority: Authority) -> Iterator[str]:
    """The ops address of an extender with the base's settings for it."""
    base = yaml.safe_load((MANIFESTS / "base/extender/settings.yaml").read_text())
    cert_file, key_file = authority.issue("extender")
    settings = {
        "cluster": {
            "source": "kubernetes",
            "kubeconfig": str(bed.kubeconfig_for(token(bed, "kubesteer-extender"), "x")),
        },
        "tls": {"cert_file": str(cert_file), "key_file": str(key_file), "client_ca_file": str(authority.ca_file)},
        "ops": {**base["ops"], "host": "127.0.0.1"},
    }
    with Extender(settings) as running:
        yield running.ops


@pytest.fixture(scope="module")
def agent(bed: ControlPlane, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ops address of an agent, opened as the component monitoring opens it."""
    folder = tmp_path_factory.mktemp("agent")
    [port] = free_ports(1)
    cert_file, key_file = authority.issue("agent")
    settings = {
        "node": {"name": NODE},
        "cluster": {"kubeconfig": str(bed.kubeconfig_for(token(bed, "kubesteer-agent"), "agent"))},
        "store": {"kind": "memory"},
        "network": {"publish": False, "trust_virtual": True},
        "ops": {
            "port": port,
            "probes_host": PROBES_HOST,
            "auth": "kubernetes",
            "cert_file": str(cert_file),
            "key_file": str(key_file),
        },
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "monitor_agent", "--config", str(folder / "settings.yaml")]
    process = Process("agent", command, directory=ROOT, log=folder / "log", guard=Guard())
    url = f"https://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return get(url, authority, "/healthz").status_code == 200
        except httpx.TransportError:
            return False

    process.wait_until(answers, within_s=30)
    yield url
    process.stop()


def token(bed: ControlPlane, account: str, *more: str) -> str:
    return bed.kubectl("create", "token", account, "--namespace=kubesteer", *more).strip()


def get(
    url: str, authority: Authority, path: str, bearer: str | None = None, *, method: str = "GET", **more: Any
) -> httpx.Response:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    with httpx.Client(verify=authority.client()) as client:
        return client.request(method, url + path, headers=headers, timeout=20, **more)


def signed(bed: ControlPlane, claims: dict[str, Any], key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """A token as the API server makes them, with these claims; by its own key, or by another."""
    if key is None:
        loaded = serialization.load_pem_private_key((bed.layout.directory / "sa.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        key = loaded
    head, _, _ = token(bed, "kubesteer-metrics").split(".")
    text = b".".join([head.encode(), encoded(json.dumps(claims).encode())])
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return b".".join([text, encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))]).decode()


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims_of(bearer: str) -> dict[str, Any]:
    middle = bearer.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return found


def test_health_is_open_and_the_rest_is_not(extender: str, agent: str, authority: Authority) -> None:
    for url in (extender, agent):
        assert get(url, authority, "/healthz").status_code == 200
        assert get(url, authority, "/readyz").json().keys() == {"ready"}
        assert get(url, authority, "/metrics").status_code == 401


def test_the_kubelets_probes_need_no_tls_and_are_told_nothing_else(agent: str) -> None:
    probes = f"http://{PROBES_HOST}:{agent.rpartition(':')[2]}"
    assert httpx.get(f"{probes}/healthz").status_code == 200
    ready = httpx.get(f"{probes}/readyz")
    assert ready.json().keys() == {"ready"}
    assert httpx.get(f"{probes}/metrics").status_code == 404


def test_prometheus_reads_metrics_of_both_with_the_token_of_the_secret_and_nothing_else(
    bed: ControlPlane, extender: str, agent: str, authority: Authority
) -> None:
    """Kubernetes fills the Secret; what is in it is worth metrics."""

    def filled() -> str | None:
        secret = bed.client.get("Secret", "kubesteer-metrics-token", namespace="kubesteer")
        return secret.get("data", {}).get("token")

    bearer = base64.b64decode(eventually(filled, within_s=20, what="the token")).decode()
    assert "kubesteer_ready" in get(extender, authority, "/metrics", bearer).text
    assert "kubesteer_agent_ready" in get(agent, authority, "/metrics", bearer).text
    for path in PAGES[1:]:
        assert get(extender, authority, path, bearer).status_code == 403
    assert get(extender, authority, "/explain", bearer, method="POST", json=EXPLAIN).status_code == 403
    stolen = Client(bed.url, bearer, bed.layout.ca_file)
    for path in ("/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces/kubesteer/secrets", "/api/v1/namespaces/default"):
        with pytest.raises(ApiError) as refused:
            stolen.request("GET", path)
        assert refused.value.status == 403
    stolen.close()


def test_a_reader_reads_every_page(bed: ControlPlane, extender: str, authority: Authority) -> None:
    bearer = token(bed, "reader")
    for path in PAGES:
        assert get(extender, authority, path, bearer).status_code == 200
    assert get(extender, authority, "/explain", bearer, method="POST", json=EXPLAIN).json()["nodes"][0]["node"] == NODE
    assert get(extender, authority, "/readyz", bearer).json()["cluster"]["table_nodes"] == 1


def test_an_account_without_the_right_gets_no_further_than_any_account(
    bed: ControlPlane, extender: str, agent: str, authority: Authority
) -> None:
    """Kubernetes lets every account get /version and /readyz, of its own server and so of this one."""
    for account in ("nobody", "kubesteer-agent", "kubesteer-extender"):
        bearer = token(bed, account)
        for path in PAGES:
            answer = get(extender, authority, path, bearer)
            assert (answer.status_code, account in answer.json()["error"]) == (403, True)
        assert get(agent, authority, "/metrics", bearer).status_code == 403
        assert get(extender, authority, "/version", bearer).status_code == 200
        for url in (extender, agent):
            assert get(url, authority, "/readyz", bearer).json().keys() == {"ready"}


def bad_tokens(bed: ControlPlane) -> dict[str, str]:
    """Each differs from a good one of the reader by one thing."""
    good = token(bed, "reader")
    claims = claims_of(good)
    now_s = int(time.time())
    head, middle, signature = good.split(".")
    none = encoded(json.dumps({"alg": "none"}).encode()).decode()
    return {
        "expired": signed(bed, {**claims, "iat": now_s - 7200, "nbf": now_s - 7200, "exp": now_s - 3600}),
        "not yet valid": signed(bed, {**claims, "nbf": now_s + 3600, "exp": now_s + 7200}),
        "another audience": token(bed, "reader", "--audience=https://example.com"),
        "another issuer": signed(bed, {**claims, "iss": "https://example.com"}),
        "another key": signed(bed, claims, ec.generate_private_key(ec.SECP256R1())),
        "another account of this name": signed(
            bed,
            {**claims, "kubernetes.io": {**claims["kubernetes.io"], "serviceaccount": {"name": "reader", "uid": "0"}}},
        ),
        "no signature": f"{head}.{middle}.",
        "the algorithm none": f"{none}.{middle}.",
        "another's signature": ".".join([*token(bed, "nobody").split(".")[:2], signature]),
        "garbage": "x" * 2000,
        "the extender's client certificate": (bed.layout.ca_file).read_text().replace("\n", ""),
    }


def test_a_token_of_the_readers_own_making_is_taken(bed: ControlPlane, extender: str, authority: Authority) -> None:
    """The forger of the next test can forge: with nothing changed, its token is good."""
    assert get(extender, authority, "/metrics", signed(bed, claims_of(token(bed, "reader")))).status_code == 200


def test_bad_tokens_are_nobodys(bed: ControlPlane, extender: str, agent: str, authority: Authority) -> None:
    for what, bearer in bad_tokens(bed).items():
        for url in (extender, agent):
            answer = get(url, authority, "/metrics", bearer)
            assert (what, answer.status_code) == (what, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET //metrics", 403),
        ("GET /metrics/", 403),
        ("GET /%2fmetrics", 403),
        ("GET /healthz/../metrics", 403),
        ("GET /healthz/%2e%2e/docs", 403),
        ("GET /metrics/../docs", 403),
        ("HEAD /docs", 403),
        ("OPTIONS /metrics", 403),
        ("POST /metrics", 403),
        ("DELETE /metrics", 403),
        ("GET /docs", 403),
        ("GET /metrics", 200),
    ],
)
def test_a_scraper_gets_no_other_page_by_a_trick(
    bed: ControlPlane, extender: str, authority: Authority, line: str, status: int
) -> None:
    bearer = token(bed, "kubesteer-metrics")
    assert raw(extender, authority, f"{line} HTTP/1.1\r\nAuthorization: Bearer {bearer}") == status
    assert raw(extender, authority, f"{line} HTTP/1.1") == 401
    twice = f"\r\nAuthorization: Bearer {bearer}" * 2
    assert raw(extender, authority, f"{line} HTTP/1.1{twice}") == 401
    assert raw(extender, authority, f"{line}?access_token={bearer} HTTP/1.1") == 401


def raw(url: str, authority: Authority, request: str) -> int:
    """The status that a request gets whose bytes no client has put right."""
    host, _, port = url.removeprefix("https://").partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        authority.client().wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(f"{request}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(connection.recv(4096).split()[1])


def test_a_server_of_another_authority_is_noticed_before_the_token_is_sent(
    bed: ControlPlane, extender: str, agent: str, tmp_path: Path
) -> None:
    """As Prometheus is told to: whoever trusts the wire authority alone sends nothing to anybody else."""
    for url in (extender, agent):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            get(url, Authority(tmp_path, "another"), "/metrics", token(bed, "kubesteer-metrics"))


def test_a_right_and_a_token_that_are_taken_away_end_within_their_time(
    bed: ControlPlane, extender: str, agent: str, authority: Authority
) -> None:
    """A minute, and for a token the API server's own ten seconds before."""
    bed.client.create(
        objects.pod(
            "holder",
            namespace="kubesteer",
            spec=objects.RESTRICTED | {"nodeName": NODE, "serviceAccountName": "reader"},
        )
    )
    bound = token(bed, "reader", "--bound-object-kind=Pod", "--bound-object-name=holder")
    bed.kubectl("create", "serviceaccount", "former", "--namespace=kubesteer")
    bed.kubectl(
        "create",
        "clusterrolebinding",
        "former",
        "--clusterrole=kubesteer-metrics-reader",
        "--serviceaccount=kubesteer:former",
    )
    former = token(bed, "former")

    def statuses() -> list[int]:
        return [
            get(url, authority, "/metrics", one).status_code for url in (extender, agent) for one in (bound, former)
        ]

    eventually(lambda: statuses() == [200] * 4, within_s=REFUSED_S + 5, what="let in")
    bed.client.request("DELETE", "/api/v1/namespaces/kubesteer/pods/holder", {"gracePeriodSeconds": 0})
    bed.kubectl("delete", "clusterrolebinding", "former")
    taken_s = time.monotonic()
    limit_s = ALLOWED_S + KEPT_THERE_S + 5
    eventually(lambda: statuses() == [401, 403, 401, 403], within_s=limit_s, what="refused", every_s=1.0)
    print(f"refused after {time.monotonic() - taken_s:.0f} s")


def test_while_the_api_server_is_away_those_who_are_known_read_on_and_nobody_else(
    bed: ControlPlane, extender: str, agent: str, authority: Authority
) -> None:
    known, unknown = token(bed, "kubesteer-metrics"), token(bed, "reader")
    for url in (extender, agent):
        assert get(url, authority, "/metrics", known).status_code == 200
    bed.kill(API_SERVER)
    try:
        for url in (extender, agent):
            assert get(url, authority, "/metrics", known).status_code == 200
            assert get(url, authority, "/metrics", unknown).status_code == 503
            assert get(url, authority, "/metrics").status_code == 401
            assert get(url, authority, "/healthz").status_code == 200
    finally:
        bed.restart(API_SERVER)
    for url in (extender, agent):
        eventually(lambda url=url: get(url, authority, "/metrics", unknown).status_code == 200, within_s=20, what=url)  # type: ignore[misc]


def test_what_a_review_costs(bed: ControlPlane, extender: str, authority: Authority) -> None:
    """Printed, not judged: a first question (two reviews) against one that is known."""
    with httpx.Client(verify=authority.client(), base_url=extender) as client:
        client.get("/healthz")
        taken_ms: dict[str, list[float]] = {"asked": [], "known": []}
        for _ in range(20):
            headers = {"Authorization": f"Bearer {token(bed, 'kubesteer-metrics')}"}
            for taken in taken_ms.values():
                began_s = time.perf_counter()
                assert client.get("/metrics", headers=headers).status_code == 200
                taken.append(1000 * (time.perf_counter() - began_s))
    print({kind: f"{sorted(taken)[len(taken) // 2]:.1f} ms" for kind, taken in taken_ms.items()})
