"""What is wanted of certificates: authorities, leaves, how long they last. Only values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT


class Usage(Enum):
    """What a certificate is good for, in the words of Kubernetes."""

    SERVER = "server auth"
    CLIENT = "client auth"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate of one purpose, in a Secret. authority: the Secret of the one that signs it."""

    secret: str
    authority: str
    common_name: str
    usages: frozenset[Usage]
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that one namespace needs. authorities: their Secrets."""

    authorities: tuple[str, ...]
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Lives:
    """How long certificates last. A leaf is renewed at two thirds of its life. node: of an agent's own certificate."""

    leaf: timedelta = timedelta(days=90)
    node: timedelta = timedelta(days=7)
    authority: timedelta = timedelta(days=3650)


WIRE, ETCD, PEER = "kubesteer-wire-authority", "kubesteer-etcd-authority", "kubesteer-etcd-peer-authority"
MAINTENANCE = "kubesteer-etcd-maintenance"
"""The Secret with root's certificate."""
_SERVER, _CLIENT, _BOTH = frozenset({Usage.SERVER}), frozenset({Usage.CLIENT}), frozenset(Usage)


def wanted(namespace: str, *, members: int = 3) -> Wanted:
    """The Secrets of docs/manifests.md. members: of etcd's cluster.

    Three authorities, so that a certificate for one purpose is worth nothing for another.
    """
    hosts = tuple(f"kubesteer-etcd-{number}.kubesteer-etcd-members.{namespace}.svc" for number in range(members))
    extender = f"kubesteer-extender.{namespace}.svc"
    return Wanted(
        authorities=(WIRE, ETCD, PEER),
        leaves=(
            Leaf("kubesteer-extender-server", WIRE, "kubesteer-extender", _SERVER, (extender,)),
            Leaf("kubesteer-agent-server", WIRE, AGENT, _SERVER, (f"kubesteer-agent.{namespace}.svc",)),
            Leaf("kubesteer-keeper-server", WIRE, "kubesteer-keeper", _SERVER, (f"kubesteer-keeper.{namespace}.svc",)),
            Leaf("kubesteer-scheduler-client", WIRE, "kubesteer-scheduler", _CLIENT),
            Leaf("kubesteer-etcd-server", ETCD, "kubesteer-etcd", _SERVER, (f"kubesteer-etcd.{namespace}.svc", *hosts)),
            Leaf("kubesteer-extender-etcd", ETCD, EXTENDER, _CLIENT),
            Leaf("kubesteer-agent-etcd", ETCD, AGENT, _CLIENT),
            Leaf(MAINTENANCE, ETCD, ROOT, _CLIENT),
            # Each member looks whether these names lead to the address that calls: a wildcard would need reverse DNS.
            Leaf("kubesteer-etcd-peer", PEER, "kubesteer-etcd", _BOTH, hosts),
        ),
    )
