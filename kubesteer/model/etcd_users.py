"""Names of etcd's users: a client certificate's common name is the user, and each user has the role of its own name."""

from __future__ import annotations

import hashlib

ROOT = "root"
"""May do everything; etcd itself gives this name its meaning."""
EXTENDER = "kubesteer-extender"
AGENT = "kubesteer-agent"
"""All agents together, where they share a certificate."""
AGENT_SIGNER = "kubesteer.io/etcd-agent"
"""Whom an agent's CertificateSigningRequest names."""
_LONGEST_NODE = 35
"""Characters: a common name has at most 64, by X.509."""
_NODE_DIGITS, _UID_DIGITS = 32, 12


def agent_user(node: str, uid: str) -> str:
    """The user of one node's agent. uid: the Node's, so that one of the same name made later is another user.

    The uid is told by its digest, after a `#`; so is a name too long for a certificate.
    """
    return f"{_of_node(node)}{_digest(uid, _UID_DIGITS)}"


def is_of_node(user: str, node: str) -> bool:
    """Whether a user is the agent's of a Node of this name, whatever its uid."""
    return user.startswith(_of_node(node))


def _of_node(node: str) -> str:
    name = node if len(node) <= _LONGEST_NODE else f"#{_digest(node, _NODE_DIGITS)}"
    return f"{AGENT}:{name}#"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
