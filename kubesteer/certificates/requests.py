"""What an agent may ask of the signer: a client certificate for the node that it runs on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from kubesteer.certificates.values import Usage
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user

NODE_NAME = "authentication.kubernetes.io/node-name"
"""In a token that is bound to a pod: the node that the pod is on. The API server writes it, not who asks."""
NODE_UID = "authentication.kubernetes.io/node-uid"
"""The same of that Node's uid. A Node of the same name that was made later has another."""
_LARGEST_BYTES = 4096
"""Of a request: what `ask` makes has less than 400."""
_LONGEST_REASON = 300
"""Characters: parts of it may be what a stranger wrote."""
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
    """What may be signed. uid: the Node's. user: the certificate's common name, and the user to etcd."""

    node: str
    uid: str
    user: str
    public_key: ec.EllipticCurvePublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing may be signed."""

    reason: str


def judge(request: Request, *, account: str) -> Granted | Denied:
    """Nothing of the request but its key goes into a certificate. account: the user name that agents have."""
    who = _who(request, account)
    if isinstance(who, Denied):
        return who
    if set(request.usages) not in _USAGES:
        return _denied(f"usages are {', '.join(request.usages) or 'none'}; ask for {Usage.CLIENT.value} alone")
    key = _key(request.pem)
    if isinstance(key, Denied):
        return key
    return Granted(*who, agent_user(*who), key)


def _who(request: Request, account: str) -> tuple[str, str] | Denied:
    """The Node's name and uid, by what the API server found out of who asks."""
    if request.signer != AGENT_SIGNER:
        return _denied(f"signerName is {request.signer!r}, not {AGENT_SIGNER}")
    if request.username != account:
        return _denied(f"only {account} may ask; this was asked by {request.username!r}")
    node, uid = (_only(request.extra.get(name, ())) for name in (NODE_NAME, NODE_UID))
    if node is None or uid is None:
        return _denied("the token names no node: it is not bound to a pod that runs on one")
    return node, uid


def _key(pem: bytes) -> ec.EllipticCurvePublicKey | Denied:
    """The key of a request that asks for nothing else."""
    if len(pem) > _LARGEST_BYTES:
        return _denied(f"the request has {len(pem)} bytes; {_LARGEST_BYTES} are enough")
    try:
        asked = x509.load_pem_x509_csr(pem)
        key, is_signed, names = asked.public_key(), asked.is_signature_valid, len(asked.subject.rdns)
        # Extensions are an attribute. What is in one is not looked at: a stranger wrote it.
        attributes = len(asked.attributes)
    except Exception as exc:  # noqa: BLE001 - a stranger's bytes; the library has errors outside any common class
        return _denied(f"the request cannot be read: {exc}")
    if names:
        return _denied("a subject is asked for; ask for none: the signer puts the user there")
    if attributes:
        return _denied("extensions are asked for; ask for none")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return _denied("the key is not one of ECDSA P-256")
    return key if is_signed else _denied("the request is not signed with its own key")


def ask(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A request that `judge` grants to any agent, in PEM: its token says which."""
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return asked.public_bytes(Encoding.PEM)


def _only(values: Sequence[str]) -> str | None:
    """The one value that there is, and that says something."""
    return values[0] if len(values) == 1 and values[0] else None


def _denied(reason: str) -> Denied:
    return Denied(reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}...")
