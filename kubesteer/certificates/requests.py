"""What an agent may ask of the signer: a client certificate for the node that it runs on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kubesteer.certificates.values import Usage
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user

NODE_NAME = "authentication.kubernetes.io/node-name"
"""In a token that is bound to a pod: the node that the pod is on. The API server writes it, not who asks."""
_USAGES = ({Usage.CLIENT.value}, {Usage.CLIENT.value, "digital signature"})


@dataclass(frozen=True, slots=True)
class Request:
    """A CertificateSigningRequest. username, extra: who asks, as the API server found out. pem: what is asked for."""

    name: str
    signer: str
    username: str
    extra: Mapping[str, Sequence[str]]
    usages: Sequence[str]
    pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Granted:
    """What may be signed. user: the certificate's common name, and the user to etcd."""

    node: str
    user: str
    public_key: ec.EllipticCurvePublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing may be signed."""

    reason: str


def judge(request: Request, *, account: str) -> Granted | Denied:
    """Nothing of the request but its key goes into a certificate. account: the user name that agents have."""
    if request.signer != AGENT_SIGNER:
        return Denied(f"signerName is {request.signer!r}, not {AGENT_SIGNER}")
    if request.username != account:
        return Denied(f"only {account} may ask; this was asked by {request.username!r}")
    nodes = request.extra.get(NODE_NAME, ())
    if len(nodes) != 1 or not nodes[0]:
        return Denied("the token names no node: it is not bound to a pod that runs on one")
    if set(request.usages) not in _USAGES:
        return Denied(f"usages are {', '.join(request.usages) or 'none'}; ask for {Usage.CLIENT.value} alone")
    try:
        asked = x509.load_pem_x509_csr(request.pem)
        key, is_signed, subject, extensions = (
            asked.public_key(),
            asked.is_signature_valid,
            list(asked.subject),
            list(asked.extensions),
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        return Denied(f"the request cannot be read: {exc}")
    user = agent_user(nodes[0])
    if [(each.oid, each.value) for each in subject] != [(NameOID.COMMON_NAME, user)]:
        return Denied(f"the subject is {asked.subject.rfc4514_string()!r}; for this token it is CN={user}")
    if extensions:
        return Denied(f"extensions are asked for ({extensions[0].oid.dotted_string}); ask for none")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return Denied("the key is not one of ECDSA P-256")
    if not is_signed:
        return Denied("the request is not signed with its own key")
    return Granted(nodes[0], user, key)


def ask(user: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A request that `judge` grants to the agent whose user this is, in PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return asked.public_bytes(Encoding.PEM)
