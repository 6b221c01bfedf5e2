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

from kubesteer.certificates.requests import NODE_NAME, NODE_UID, Denied, Granted, Request, ask, judge
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user, is_of_node
from tests.certificates_issued.world import MAKER

ACCOUNT = "system:serviceaccount:kubesteer:kubesteer-agent"
KEY = MAKER.key()
GOOD = Request(
    "kubesteer-agent-x",
    AGENT_SIGNER,
    ACCOUNT,
    {NODE_NAME: ["n1"], NODE_UID: ["u1"]},
    ["client auth"],
    ask(KEY),
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


OWN = (NameOID.COMMON_NAME, agent_user("n1", "u1"))


def san(content: bytes) -> x509.UnrecognizedExtension:
    """Subject alternative names, as somebody who means harm writes them."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), content)


def of_another_version() -> bytes:
    """One that the library refuses with an error of its own kind."""
    der = bytearray(x509.load_pem_x509_csr(GOOD.pem).public_bytes(Encoding.DER))
    der[der.index(b"\x02\x01\x00") + 2] = 1
    return b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----\n" % base64.encodebytes(der)


def broken(pem: bytes) -> bytes:
    """With another last byte, which is the signature's."""
    asked = x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)
    text = base64.encodebytes(asked[:-1] + bytes([asked[-1] ^ 1])).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n".encode()


EDI = b"\x30\x07\xa5\x05\xa1\x03\x0c\x01x"
"""A name of the kind ediPartyName."""


@pytest.mark.parametrize("node", ["n1", LONG], ids=["short", "long: told by its digest"])
@pytest.mark.parametrize("usages", [["client auth"], ["digital signature", "client auth"]], ids=str)
def test_an_agent_gets_a_certificate_for_its_own_node(node: str, usages: list[str]) -> None:
    request = replace(GOOD, extra={NODE_NAME: [node], NODE_UID: ["u"]}, usages=usages)
    found = judge(request, account=ACCOUNT)
    assert isinstance(found, Granted)
    assert (found.node, found.uid, found.user) == (node, "u", agent_user(node, "u"))
    assert found.public_key == KEY.public_key()
    assert len(found.user) <= 64


def test_two_long_names_are_two_users_and_no_node_can_be_called_like_a_digest() -> None:
    """A `#` is in no node's name."""
    assert len({agent_user(LONG, "u"), agent_user(LONG + "x", "u"), agent_user("n1", "u")}) == 3
    assert agent_user(LONG, "u").startswith("kubesteer-agent:#")


@pytest.mark.parametrize("node", ["n1", "n" * 35, "n" * 36, LONG])
def test_two_nodes_of_one_name_are_two_users_of_one_node(node: str) -> None:
    users = {agent_user(node, uid) for uid in ("u1", "u2")}
    assert len(users) == 2
    for user in users:
        assert len(user) <= 64
        assert is_of_node(user, node)
        assert not any(is_of_node(user, other) for other in (node + "n", node[:-1] or "n", "n11"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"signer": "kubernetes.io/kube-apiserver-client"}, "signerName", id="another signer"),
        pytest.param({"username": "system:serviceaccount:kubesteer:kubesteer-extender"}, "only", id="another account"),
        pytest.param({"username": "system:serviceaccount:other:kubesteer-agent"}, "only", id="another namespace"),
        pytest.param({"username": "system:node:n1"}, "only", id="the kubelet"),
        pytest.param({"extra": {}}, "names no node", id="a token of no pod"),
        pytest.param({"extra": {NODE_NAME: [], NODE_UID: ["u"]}}, "names no node", id="no node"),
        pytest.param({"extra": {NODE_NAME: [""], NODE_UID: ["u"]}}, "names no node", id="an empty node"),
        pytest.param({"extra": {NODE_NAME: ["n1", "n2"], NODE_UID: ["u"]}}, "names no node", id="two nodes"),
        pytest.param({"extra": {NODE_NAME: ["n1"]}}, "names no node", id="no uid"),
        pytest.param({"usages": ["client auth", "server auth"]}, "usages", id="a server too"),
        pytest.param({"usages": []}, "usages", id="no usage"),
        pytest.param({"usages": ["client auth", "cert sign"]}, "usages", id="signing"),
        pytest.param({"pem": b"nonsense"}, "cannot be read", id="no request"),
        pytest.param({"pem": csr((NameOID.COMMON_NAME, "root"))}, "subject", id="etcd's root"),
        pytest.param({"pem": csr(OWN)}, "subject", id="its own name: the signer's to say"),
        pytest.param({"pem": csr(OWN, (NameOID.COMMON_NAME, "root"))}, "subject", id="two names"),
        pytest.param({"pem": csr(OWN, (NameOID.ORGANIZATION_NAME, "system:masters"))}, "subject", id="a group"),
        pytest.param({"pem": csr((NameOID.ORGANIZATION_NAME, "x"))}, "subject", id="a group alone"),
        pytest.param(
            {"pem": csr(extensions=(x509.SubjectAlternativeName([x509.DNSName("kubesteer-etcd.svc")]),))},
            "extensions",
            id="host names",
        ),
        pytest.param(
            {"pem": csr(extensions=(x509.BasicConstraints(ca=True, path_length=None),))},
            "extensions",
            id="an authority",
        ),
        pytest.param(
            {"pem": csr(extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),))},
            "extensions",
            id="a usage beside those told",
        ),
        pytest.param({"pem": csr(extensions=(san(EDI),))}, "extensions", id="names of a kind that is not read: EDI"),
        pytest.param({"pem": csr(extensions=(san(b"\x30\x02\xa3\x00"),))}, "extensions", id="the same: X.400"),
        pytest.param({"pem": csr(extensions=(san(b"nonsense"),))}, "extensions", id="names that are none"),
        pytest.param({"pem": of_another_version()}, "cannot be read", id="another version"),
        pytest.param({"pem": csr((NameOID.TITLE, "\x01" * 60_000))}, "bytes", id="60 kB"),
        pytest.param({"username": "x" * 10_000}, "only", id="a name of 10,000 letters"),
        pytest.param({"pem": csr(key=rsa.generate_private_key(65537, 2048))}, "P-256", id="RSA"),
        pytest.param({"pem": csr(key=ec.generate_private_key(ec.SECP384R1()))}, "P-256", id="another curve"),
        pytest.param({"pem": csr(key=ed25519.Ed25519PrivateKey.generate())}, "P-256", id="Ed25519"),
        pytest.param({"pem": broken(GOOD.pem)}, "not signed with its own key", id="a signature of another key"),
    ],
)
def test_everything_else_is_denied_with_its_reason(changes: dict[str, Any], said: str) -> None:
    found = judge(replace(GOOD, **changes), account=ACCOUNT)
    assert isinstance(found, Denied)
    assert said in found.reason
    assert len(found.reason) < 400
