"""Who is who to etcd: a client certificate's common name is the user, and each user has the role of its own name."""

from __future__ import annotations

import hashlib

ROOT = "root"
"""May do everything; etcd itself gives this name its meaning."""
EXTENDER = "kubesteer-extender"
AGENT = "kubesteer-agent"
"""All agents together, where they share a certificate."""
AGENT_SIGNER = "kubesteer.io/etcd-agent"
"""Whom an agent's CertificateSigningRequest names."""
_LONGEST = 64
"""Characters in a common name, by X.509."""
_DIGITS = 40


def agent_user(node: str) -> str:
    """The user of one node's agent. A name too long for a certificate is told by its digest, after a `#`."""
    user = f"{AGENT}:{node}"
    if len(user) <= _LONGEST:
        return user
    return f"{AGENT}:#{hashlib.sha256(node.encode()).hexdigest()[:_DIGITS]}"


def is_of_an_agent(user: str) -> bool:
    """Whether a user is the agents' or one agent's."""
    return user == AGENT or user.startswith(f"{AGENT}:")
