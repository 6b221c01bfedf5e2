"""A request is granted to the agent of the node that its token is bound to, and to nobody else for nothing else."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubesteer.certificates.requests import NODE_NAME, Denied, Granted, Request, ask, judge
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user
from tests.certificates_issued.world import MAKER

ACCOUNT = "system:serviceaccount:kubesteer:kubesteer-agent"
KEY = MAKER.key()
GOOD = Request(
    "kubesteer-agent-x",
    AGENT_SIGNER,
    ACCOUNT,
    {NODE_NAME: ["n1"]},
    ["client auth"],
    ask(agent_user("n1"), KEY),
)
LONG = "node-with-a-name-that-does-not-fit-into-a-common-name.eu-central-1.compute.internal"


def csr(*names: tuple[x509.ObjectIdentifier, str], key: Any = KEY, extensions: tuple[Any, ...] = ()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


OWN = (NameOID.COMMON_NAME, agent_user("n1"))


def broken(pem: bytes) -> bytes:
    """With another last byte, which is the signature's."""
    asked = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    text = base64.encodebytes(asked[:-1] + bytes([asked[-1] ^ 1])).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n".encode()


@pytest.mark.parametrize("node", ["n1", LONG], ids=["short", "long: told by its digest"])
@pytest.mark.parametrize("usages", [["client auth"], ["digital signature", "client auth"]], ids=str)
def test_an_agent_gets_a_certificate_for_its_own_node(node: str, usages: list[str]) -> None:
    request = replace(GOOD, extra={NODE_NAME: [node]}, usages=usages, pem=ask(agent_user(node), KEY))
    found = judge(request, account=ACCOUNT)
    assert isinstance(found, Granted)
    assert (found.node, found.user) == (node, agent_user(node))
    assert found.public_key == KEY.public_key()
    assert len(found.user) <= 64


def test_two_long_names_are_two_users_and_no_node_can_be_called_like_a_digest() -> None:
    """A `#` is in no node's name."""
    assert len({agent_user(LONG), agent_user(LONG + "x"), agent_user("n1")}) == 3
    assert agent_user(LONG).startswith("kubesteer-agent:#")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"signer": "kubernetes.io/kube-apiserver-client"}, "signerName", id="another signer"),
        pytest.param({"username": "system:serviceaccount:kubesteer:kubesteer-extender"}, "only", id="another account"),
        pytest.param({"username": "system:serviceaccount:other:kubesteer-agent"}, "only", id="another namespace"),
        pytest.param({"username": "system:node:n1"}, "only", id="the kubelet"),
        pytest.param({"extra": {}}, "names no node", id="a token of no pod"),
        pytest.param({"extra": {NODE_NAME: []}}, "names no node", id="no node"),
        pytest.param({"extra": {NODE_NAME: [""]}}, "names no node", id="an empty node"),
        pytest.param({"extra": {NODE_NAME: ["n1", "n2"]}}, "names no node", id="two nodes"),
        pytest.param({"extra": {NODE_NAME: ["n2"]}}, "CN=kubesteer-agent:n2", id="a token of another node"),
        pytest.param({"usages": ["client auth", "server auth"]}, "usages", id="a server too"),
        pytest.param({"usages": []}, "usages", id="no usage"),
        pytest.param({"usages": ["client auth", "cert sign"]}, "usages", id="signing"),
        pytest.param({"pem": b"nonsense"}, "cannot be read", id="no request"),
        pytest.param({"pem": csr()}, "subject", id="no name"),
        pytest.param({"pem": csr((NameOID.COMMON_NAME, "root"))}, "subject", id="etcd's root"),
        pytest.param({"pem": csr(OWN, (NameOID.COMMON_NAME, "root"))}, "subject", id="two names"),
        pytest.param({"pem": csr(OWN, (NameOID.ORGANIZATION_NAME, "system:masters"))}, "subject", id="a group"),
        pytest.param({"pem": csr((NameOID.ORGANIZATION_NAME, agent_user("n1")))}, "subject", id="a group alone"),
        pytest.param(
            {"pem": csr(OWN, extensions=(x509.SubjectAlternativeName([x509.DNSName("kubesteer-etcd.svc")]),))},
            "extensions",
            id="host names",
        ),
        pytest.param(
            {"pem": csr(OWN, extensions=(x509.BasicConstraints(ca=True, path_length=None),))},
            "extensions",
            id="an authority",
        ),
        pytest.param(
            {"pem": csr(OWN, extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),))},
            "extensions",
            id="a usage beside those told",
        ),
        pytest.param({"pem": csr(OWN, key=rsa.generate_private_key(65537, 2048))}, "P-256", id="RSA"),
        pytest.param({"pem": csr(OWN, key=ec.generate_private_key(ec.SECP384R1()))}, "P-256", id="another curve"),
        pytest.param({"pem": csr(OWN, key=ed25519.Ed25519PrivateKey.generate())}, "P-256", id="Ed25519"),
        pytest.param({"pem": broken(GOOD.pem)}, "not signed with its own key", id="a signature of another key"),
    ],
)
def test_everything_else_is_denied_with_its_reason(changes: dict[str, Any], said: str) -> None:
    found = judge(replace(GOOD, **changes), account=ACCOUNT)
    assert isinstance(found, Denied)
    assert said in found.reason
