"""What is wanted of certificates: authorities, leaves, how long they last. Only values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Literal

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.etcd_users import AGENT, EXTENDER, ROOT


class Usage(Enum):
    """What a certificate is good for, in the words of Kubernetes."""

    SERVER = "server auth"
    CLIENT = "client auth"


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs leaves. secret: where it is kept. signs_nodes: agents' certificates too, which are in no Secret."""

    secret: str
    signs_nodes: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate of one purpose, in a Secret. authority: the Secret of who signs it."""

    secret: str
    authority: str
    common_name: str
    usages: frozenset[Usage]
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """A workload that reads its authorities only when it starts, so that a new one takes a restart."""

    kind: Literal["Deployment", "StatefulSet"]
    name: str
    authorities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that one namespace needs."""

    authorities: tuple[Authority, ...]
    leaves: tuple[Leaf, ...]
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True)
class Lives:
    """How long things last. A leaf is renewed at two thirds of its life. Raises InvalidSettings."""

    leaf: timedelta = timedelta(days=90)
    node: timedelta = timedelta(days=7)
    """Of an agent's own certificate."""
    authority: timedelta = timedelta(days=3650)
    authority_early: timedelta = timedelta(days=365)
    """So long before its end an authority is followed by another."""
    spread: timedelta = timedelta(minutes=5)
    """Until every pod has a changed Secret in its files: the kubelet takes one to two minutes."""

    def __post_init__(self) -> None:
        for shorter, longer in (
            ("leaf", "authority_early"),
            ("node", "authority_early"),
            ("authority_early", "authority"),
        ):
            if not timedelta(0) < getattr(self, shorter) < getattr(self, longer):
                raise InvalidSettings(
                    f"certificates: {shorter} {getattr(self, shorter)} is not above 0 and below {longer}"
                    f" {getattr(self, longer)}"
                )


WIRE, ETCD, PEER = "kubesteer-wire-authority", "kubesteer-etcd-authority", "kubesteer-etcd-peer-authority"
MAINTENANCE = "kubesteer-etcd-maintenance"
"""The Secret with root's certificate."""
_SERVER, _CLIENT, _BOTH = frozenset({Usage.SERVER}), frozenset({Usage.CLIENT}), frozenset(Usage)


def wanted(namespace: str, *, members: int = 3, per_node: bool = False) -> Wanted:
    """The Secrets of docs/manifests.md. members: of etcd's cluster. per_node: agents have certificates of their own.

    Three authorities, so that a certificate for one purpose is worth nothing for another.
    """
    hosts = tuple(f"kubesteer-etcd-{number}.kubesteer-etcd-members.{namespace}.svc" for number in range(members))
    extender = f"kubesteer-extender.{namespace}.svc"
    return Wanted(
        authorities=(Authority(WIRE), Authority(ETCD, signs_nodes=per_node), Authority(PEER)),
        leaves=(
            Leaf("kubesteer-extender-server", WIRE, "kubesteer-extender", _SERVER, (extender,)),
            Leaf("kubesteer-agent-server", WIRE, AGENT, _SERVER, (f"kubesteer-agent.{namespace}.svc",)),
            Leaf("kubesteer-scheduler-client", WIRE, "kubesteer-scheduler", _CLIENT),
            Leaf("kubesteer-etcd-server", ETCD, "kubesteer-etcd", _SERVER, (f"kubesteer-etcd.{namespace}.svc", *hosts)),
            Leaf("kubesteer-extender-etcd", ETCD, EXTENDER, _CLIENT),
            Leaf("kubesteer-agent-etcd", ETCD, AGENT, _CLIENT),
            Leaf(MAINTENANCE, ETCD, ROOT, _CLIENT),
            # Each member looks whether these names lead to the address that calls: a wildcard would need reverse DNS.
            Leaf("kubesteer-etcd-peer", PEER, "kubesteer-etcd", _BOTH, hosts),
        ),
        readers=(
            Reader("Deployment", "kubesteer-scheduler", (WIRE,)),
            Reader("StatefulSet", "kubesteer-etcd", (ETCD, PEER)),
        ),
    )
