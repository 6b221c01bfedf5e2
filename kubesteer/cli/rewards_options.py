"""What every `kubesteer rewards` command takes: which store, and how its records become beliefs.

Nothing is opened or read here, and nothing heavy is imported: `--help` must be quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from kubesteer.model.errors import InvalidSettings

DEFAULT_ENDPOINT = "127.0.0.1:2379"
DEFAULT_PREFIX = "/kubesteer"
VARIABLES = {
    "etcd": "KUBESTEER_ETCD",
    "prefix": "KUBESTEER_ETCD_PREFIX",
    "ca_file": "KUBESTEER_ETCD_CA_FILE",
    "cert_file": "KUBESTEER_ETCD_CERT_FILE",
    "key_file": "KUBESTEER_ETCD_KEY_FILE",
    "server_name": "KUBESTEER_ETCD_SERVER_NAME",
    "user": "KUBESTEER_ETCD_USER",
    "password_file": "KUBESTEER_ETCD_PASSWORD_FILE",
    "file": "KUBESTEER_REWARDS_FILE",
}
"""Environment variable of each option that has one. The command line counts before all of them."""

_STORE = Group("Store", sort_key=1)
_CLUSTER = Group("Store on a cluster: any of these reaches the deployed etcd through kubectl", sort_key=2)
_BELIEF = Group("Belief", sort_key=3)


_OF_A_CLUSTER = ("context", "kubeconfig", "namespace", "secret", "kubectl")


def _option(name: str, text: str) -> Parameter:
    return Parameter(help=f"{text} [{VARIABLES[name]}]", group=_STORE)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where the rewards are; None where it was not given."""

    etcd: Annotated[
        str | None, _option("etcd", f"etcd endpoints, host:port[,host:port..]; without any, {DEFAULT_ENDPOINT}.")
    ] = None
    prefix: Annotated[str | None, _option("prefix", f"Keys are below it; without it, {DEFAULT_PREFIX}.")] = None
    ca_file: Annotated[Path | None, _option("ca_file", "CA of etcd's certificate (PEM); switches TLS on.")] = None
    cert_file: Annotated[Path | None, _option("cert_file", "Client certificate (PEM).")] = None
    key_file: Annotated[Path | None, _option("key_file", "Its key (PEM).")] = None
    server_name: Annotated[
        str | None, _option("server_name", "What etcd's certificate must name; without it, the endpoint.")
    ] = None
    user: Annotated[str | None, _option("user", "etcd user.")] = None
    password_file: Annotated[Path | None, _option("password_file", "File with the user's password.")] = None
    file: Annotated[Path | None, _option("file", "A rewards file (YAML, or JSON) instead of etcd.")] = None
    context: Annotated[str | None, Parameter(help="Of the kubeconfig; the current one.", group=_CLUSTER)] = None
    kubeconfig: Annotated[Path | None, Parameter(help="As kubectl finds it: $KUBECONFIG.", group=_CLUSTER)] = None
    namespace: Annotated[str | None, Parameter(help="Of the deployment; kubesteer.", group=_CLUSTER)] = None
    secret: Annotated[
        str | None,
        Parameter(
            help="With the client certificate; kubesteer-extender-etcd to read, kubesteer-agent-etcd to write.",
            group=_CLUSTER,
        ),
    ] = None
    kubectl: Annotated[str | None, Parameter(help="The program; kubectl.", group=_CLUSTER)] = None

    @property
    def on_a_cluster(self) -> bool:
        """Whether the deployed etcd is meant."""
        return any(getattr(self, name) is not None for name in _OF_A_CLUSTER)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class BeliefOptions:
    """How old evidence fades and what is believed without any: as the extender's settings say."""

    half_life_s: Annotated[
        float,
        Parameter(
            help="Age at which evidence counts half, 1 or more: as rewards.half_life_s of the extender and"
            " learning.half_life_s of the agents.",
            group=_BELIEF,
        ),
    ] = 21_600.0
    policy: Annotated[
        Literal["beta", "ewma", "none"], Parameter(help="How records are read, as rewards.policy.", group=_BELIEF)
    ] = "beta"
    prior_mean: Annotated[
        float, Parameter(help="Belief where nothing is known, as rewards.prior_mean.", group=_BELIEF)
    ] = 0.5
    prior_evidence: Annotated[
        float, Parameter(help="How many runs' worth that is, as rewards.prior_evidence.", group=_BELIEF)
    ] = 4.0


def completed(options: StoreOptions, environ: Mapping[str, str]) -> StoreOptions:
    """The options, and for those not given, the environment's about the same store.

    Raises InvalidSettings for a file and etcd at once, or either and a cluster.
    """
    if options.on_a_cluster:
        return _of_a_cluster(options, environ)
    given = {each.name: value for each in fields(options) if (value := getattr(options, each.name)) is not None}
    told: dict[str, Any] = {name: environ[variable] for name, variable in VARIABLES.items() if environ.get(variable)}
    if "file" in given:
        told = {}
    elif given:
        told.pop("file", None)
    if "file" in (names := {**told, **given}) and len(names) > 1:
        sources = (f"--{name.replace('_', '-')}" if name in given else VARIABLES[name] for name in names)
        raise InvalidSettings(f"{', '.join(sources)}: give a file or etcd, not both")
    paths = {name: Path(value) if name.endswith("file") else value for name, value in told.items()}
    return replace(options, **{**paths, **given})


def _of_a_cluster(options: StoreOptions, environ: Mapping[str, str]) -> StoreOptions:
    """The cluster says where etcd is and gives its certificate, so the environment's store does not count."""
    for name in VARIABLES:
        if name != "prefix" and getattr(options, name) is not None:
            cluster = next(each for each in _OF_A_CLUSTER if getattr(options, each) is not None)
            raise InvalidSettings(f"--{name.replace('_', '-')}, --{cluster}: give a store or a cluster, not both")
    return replace(options, prefix=options.prefix or environ.get(VARIABLES["prefix"]) or None)
