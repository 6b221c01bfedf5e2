"""Settings of the keeper, with their meaning and default; read from a YAML file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from kubesteer.certificates.values import MAINTENANCE, Lives
from kubesteer.clients.settings.given import given
from kubesteer.clients.settings.structs import converted, known_in
from kubesteer.model.errors import InvalidSettings

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Days = Annotated[float, Meta(gt=0, le=36_500)]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that belong together."""


class Cluster(Group, frozen=True):
    """How the API server is reached, and where kubesteer is."""

    kubeconfig: Annotated[Text | None, Meta(description="kubeconfig file; none takes the pod's service account.")] = (
        None
    )
    context: Annotated[Text | None, Meta(description="Context in it; none takes the current one.")] = None
    namespace: Annotated[str, Meta(min_length=1, description="kubesteer's namespace.")] = "kubesteer"
    timeout_s: Annotated[Seconds, Meta(description="Longest wait for an answer.")] = 30.0


class Certificates(Group, frozen=True):
    """Which certificates are made, and how long they last."""

    make: Annotated[bool, Meta(description="Make and renew every Secret; else others do.")] = False
    leaf_days: Annotated[Days, Meta(description="Life of a certificate; it is renewed at two thirds.")] = 90.0
    node_days: Annotated[Days, Meta(description="Life of an agent's own certificate.")] = 7.0
    authority_days: Annotated[Days, Meta(description="Life of an authority.")] = 3650.0
    members: Annotated[int, Meta(ge=1, le=9, description="Members of etcd's cluster.")] = 3

    def lives(self) -> Lives:
        """As times."""
        return Lives(*(timedelta(days=days) for days in (self.leaf_days, self.node_days, self.authority_days)))


class Etcd(Group, frozen=True):
    """Users, roles and authentication of etcd."""

    manage: Annotated[bool, Meta(description="Keep users and roles, and authentication on.")] = True
    endpoints: Annotated[list[Text], Meta(min_length=1, description="etcd endpoints, host:port.")] = field(
        default_factory=lambda: ["kubesteer-etcd.kubesteer.svc:2379"]
    )
    prefix: Annotated[str, Meta(min_length=1, description="As in the services' settings.")] = "/kubesteer"
    secret: Annotated[str, Meta(min_length=1, description="Secret with the certificate of etcd's root.")] = MAINTENANCE
    per_node: Annotated[bool, Meta(description="Each agent has a certificate, a user and a role of its own.")] = False
    looks: Annotated[int, Meta(ge=1, le=10_000, description="Nodes' roles looked at in a round.")] = 50
    forget_days: Annotated[
        Days, Meta(description="With per_node, the records of a node that has been gone so long are deleted.")
    ] = 7.0


class Pace(Group, frozen=True):
    """How often it looks."""

    every_s: Annotated[Seconds, Meta(description="Between two rounds.")] = 60.0
    retry_s: Annotated[Seconds, Meta(description="After a round with a fault, or with something done.")] = 5.0


class Ops(Group, frozen=True):
    """Health and metrics."""

    host: Annotated[Text, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port; 0 takes a free one.")] = 8891
    cert_file: Annotated[
        Text | None,
        Meta(description="Server certificate (PEM); switches TLS on. Until it is there, an unsigned one is shown."),
    ] = None
    key_file: Annotated[Text | None, Meta(description="Its key (PEM).")] = None
    auth: Annotated[
        Literal["none", "kubernetes"],
        Meta(
            description="kubernetes: /metrics needs a bearer token whose account has the right to `get` it (RBAC: "
            "nonResourceURLs), and /readyz tells its details to those alone who may get /readyz/details."
        ),
    ] = "none"
    audiences: Annotated[
        list[Text], Meta(description="Tokens must be for one of these audiences; none takes the API server's own.")
    ] = field(default_factory=list)


class Logs(Group, frozen=True):
    """What is written to standard output, as lines of JSON."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is told.")] = "info"


class KeeperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings, by group."""

    cluster: Cluster = Cluster()
    certificates: Certificates = Certificates()
    etcd: Etcd = field(default_factory=Etcd)
    pace: Pace = Pace()
    ops: Ops = field(default_factory=Ops)
    log: Logs = Logs()


def load(path: Path | None) -> KeeperSettings:
    """The settings of a file (none: defaults). Raises InvalidSettings that names each bad field."""
    settings = converted(given(path, known_in(KeeperSettings)), KeeperSettings)
    if settings.etcd.per_node and not (settings.certificates.make and settings.etcd.manage):
        raise InvalidSettings(f"{path}: etcd.per_node needs certificates.make and etcd.manage; set both to true")
    return settings
