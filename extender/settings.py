"""Every setting of the extender: meaning, unit, default and range in one place.

Only declarations; settings_file.py reads.
docs/settings.md is printed from here by settings_reference.py (`python -m extender settings`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource
from kubesteer.model.overrides import MOST_WEIGHT, Mode, Override
from kubesteer.placement.balance import RULES
from kubesteer.placement.policy import FilterPolicy, Policy, ScorePolicy
from kubesteer.rewards.probation import Probation
from kubesteer.rewards.table import Belief


def _no_empty_path(value: Any) -> Any:
    """An empty path would be the working folder."""
    if value == "":
        raise ValueError("a path must not be empty; leave it out for none")
    return value


Text = Annotated[str, Field(min_length=1)]
File = Annotated[Path, BeforeValidator(_no_empty_path)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Group):
    """Where kube-scheduler reaches the verbs."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all.")
    port: Port = Field(8888, description="Port; 0 takes a free one.")
    path_prefix: str = Field("", description="Path before the verbs, such as /scheduler; urlPrefix must end with it.")
    keep_alive_s: int = Field(
        120,
        ge=90,
        le=3600,
        description="Idle connections stay open this long; kube-scheduler's client keeps them 90 s.",
    )
    drain_s: float = Field(5.0, ge=0, le=600, description="After SIGTERM: not ready, but still answering, this long.")
    grace_s: float = Field(10.0, ge=0, le=600, description="After that: at most this long for requests under way.")

    @field_validator("path_prefix")
    @classmethod
    def _one_leading_slash(cls, value: str) -> str:
        return f"/{value.strip('/')}" if value.strip("/") else ""


class Ops(_Group):
    """The second port: health, readiness, metrics, documentation, explain."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: Port = Field(8889, description="Port; 0 takes a free one.")
    tls: bool = Field(False, description="Serve it with the certificate of group tls; none is asked of clients.")
    auth: Literal["none", "kubernetes"] = Field(
        "none",
        description="kubernetes: all but health needs a bearer token whose account has the right to `get` (or `post`) "
        "the path (RBAC: nonResourceURLs), and /readyz tells its details to those alone who may get /readyz/details.",
    )
    audiences: tuple[Text, ...] = Field(
        (), description="Tokens must be for one of these audiences; none takes the API server's own."
    )


class Tls(_Group):
    """TLS of the verbs' port. Files are read again when they change."""

    cert_file: File | None = Field(None, description="Server certificate (PEM); switches TLS on.")
    key_file: File | None = Field(None, description="Its key (PEM).")
    client_ca_file: File | None = Field(None, description="CA of client certificates (PEM); switches mTLS on.")
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest TLS version.")
    reload_s: float = Field(10.0, gt=0, le=3600, description="How often the files are looked at.")

    @model_validator(mode="after")
    def _complete(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; give both or neither")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("client_ca_file needs cert_file and key_file; give all three for mTLS")
        return self


class Limits(_Group):
    """Limits of one request."""

    names_body_bytes: int = Field(
        4 << 20, ge=1 << 10, le=1 << 30, description="Largest body with NodeNames; 5,000 names are about 220 kB."
    )
    nodes_body_bytes: int = Field(
        64 << 20, ge=1 << 10, le=1 << 30, description="Largest body with full Nodes; a node is 6 to 20 kB."
    )
    header_timeout_s: float = Field(5.0, gt=0, le=300, description="Longest wait for the head of a request.")
    body_timeout_s: float = Field(5.0, gt=0, le=300, description="Longest wait for its body.")
    answer_timeout_s: float = Field(
        10.0, gt=0, le=300, description="Longest wait for a client to read its answer; then its connection is cut."
    )
    deadline_ms: float = Field(
        300.0,
        gt=0,
        le=60_000,
        description="Past this, prioritize answers neutral and filter without its short list; "
        "keep it below the scheduler's httpTimeout.",
    )
    candidates: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Most nodes a request may name; none: twice the nodes there are, but 1,000 or more, and 100,000 "
        "until they are known.",
    )
    connections: int = Field(
        1024, ge=1, le=100_000, description="Connections at once; a new one takes the place of one that is idle."
    )


class Cluster(_Group):
    """Where nodes and pods come from."""

    source: Literal["file", "kubernetes"] = Field("file", description="A cluster file, or the Kubernetes API.")
    file: File = Field(
        Path("examples/cluster.yaml"),
        description="Output of `kubectl get nodes,pods -A -o yaml`; read when it changes.",
    )
    poll_s: float = Field(1.0, gt=0, le=3600, description="How often the file is looked at.")
    kubeconfig: File | None = Field(
        None,
        description="kubeconfig file; none takes in-cluster credentials. Its exec plugin may take 30 s and must "
        "not ask a person.",
    )
    context: Text | None = Field(None, description="Context in it; none takes the current one.")
    schedulers: tuple[Text, ...] = Field(
        ("kubesteer",),
        description="schedulerName of the pods that kubesteer ought to be asked about; metrics and an alert tell where "
        "it is not.",
    )
    stale_after_s: float = Field(
        120.0,
        gt=90,
        le=86_400,
        description="Without word from the source for this long, metrics and /readyz say stale. A quiet API server is "
        "heard about once a minute, and a watch that is silent for 90 s is replaced: shorter would say stale of both.",
    )


_PROBATION = Probation()


class Rewards(_Group):
    """Where learned rewards come from, and how they are read."""

    source: Literal["memory", "file", "etcd", "etcd3"] = Field(
        "memory", description="memory: none but what is put there; file; etcd; or etcd by the etcd3 package (extra)."
    )
    file: File = Field(Path("examples/rewards.yaml"), description="Rewards file; read when it changes.")
    poll_s: float = Field(1.0, gt=0, le=3600, description="How often the file is looked at.")
    endpoints: tuple[Text, ...] = Field(("127.0.0.1:2379",), min_length=1, description="etcd endpoints, host:port.")
    prefix: str = Field("/kubesteer", min_length=1, description="Keys are <prefix>/v1/<node>/<pod type>.")
    ca_file: File | None = Field(None, description="CA of etcd's certificate (PEM); switches TLS on.")
    cert_file: File | None = Field(None, description="Client certificate (PEM) for mTLS.")
    key_file: File | None = Field(None, description="Its key (PEM).")
    user: Text | None = Field(None, description="etcd user.")
    password_file: File | None = Field(None, description="File with the user's password.")
    policy: Literal["beta", "ewma", "none"] = Field(
        "beta",
        description="beta: decayed mean with a prior from type and node; ewma: as stored (kubeRL); none: no say.",
    )
    choice: Literal["mean", "thompson", "probation"] = Field(
        "mean",
        description="mean: score by the belief's mean. thompson: by a sample of it, drawn once a pod. probation: by "
        "the mean, but a pair believed bad is shut, then tried by one pod at a time. The last two need policy beta.",
    )
    sample_seed: int = Field(
        0, ge=0, lt=2**64, description="Seed of those samples, and of probation's jitter; the same for all replicas."
    )
    shut_s: float = Field(
        _PROBATION.shut_s,
        ge=0,
        description="probation: how long a pair is shut after it failed last, a quarter more or less.",
    )
    shut_below_prior: float = Field(
        _PROBATION.short_by,
        gt=0,
        lt=1,
        description="probation: a pair is believed bad when its belief is this far below what is expected of it.",
    )
    half_life_s: float = Field(21_600.0, gt=0, description="Age at which evidence counts half.")
    prior_mean: float = Field(0.5, ge=0, le=1, description="Reward of a pair while nothing is known of type or node.")
    prior_evidence: float = Field(4.0, gt=0, description="How many runs' worth a pair's prior counts.")
    startup_wait_s: float = Field(
        10.0, ge=0, le=3600, description="Readiness waits this long for the first list, then goes on without rewards."
    )
    stale_after_s: float = Field(
        300.0, gt=0, description="Without word from the store for this long, rewards become neutral."
    )

    @model_validator(mode="after")
    def _suits_the_policy(self) -> Rewards:
        if self.choice != "mean" and self.policy != "beta":
            raise ValueError(
                f"choice {self.choice} needs beliefs of policy beta, and policy is {self.policy}; change one"
            )
        return self

    def probation(self) -> Probation | None:
        """The rule by which pairs are shut and tried, where it is chosen."""
        return Probation(self.shut_below_prior, self.shut_s, self.sample_seed) if self.choice == "probation" else None

    def belief(self) -> Belief:
        """The part that the reward table needs."""
        return Belief(self.prior_mean, self.prior_evidence, self.half_life_s, self.policy)


class Direction(_Group):
    """One direction of network traffic."""

    direction: str = Field(min_length=1, description="Name in reasons and metrics.")
    resource_names: tuple[Text, ...] = Field(
        min_length=1, description="Extended resources in bit/s; a pod's first counts, a node's first is its capacity."
    )
    annotation: str = Field("", description="Bandwidth annotation read where no extended resource is asked for.")
    overcommit: float = Field(1.0, gt=0, le=100, description="Factor on the capacity for SLOs asked for by annotation.")


class Network(_Group):
    """Network resources."""

    directions: tuple[Direction, ...] = Field(
        tuple(
            Direction(
                direction=n.direction, resource_names=n.resource_names, annotation=n.annotation, overcommit=n.overcommit
            )
            for n in DEFAULT_NETWORK
        ),
        min_length=1,
        max_length=8,
        description="The directions, in order; DepCon2's rule reads the first.",
    )


_FILTER, _SCORE = FilterPolicy(), ScorePolicy()


class Filter(_Group):
    """Which nodes are refused."""

    refuse_unknown_capacity: bool = Field(
        _FILTER.refuse_unknown_capacity,
        description="Refuse an SLO asked for by annotation on nodes that publish no capacity.",
    )
    measured_fresh_s: float = Field(
        _FILTER.measured_fresh_s, ge=0, description="Measured traffic younger than this counts; 0 switches it off."
    )
    limit_fresh_s: float = Field(
        _FILTER.limit_fresh_s,
        ge=0,
        description="The link limit that an agent told counts for this long, where it is below the published "
        "capacity; 0 switches it off.",
    )
    quarantine_below: float = Field(
        _FILTER.quarantine_below, ge=0, le=1, description="Rewards below this refuse the node; 0 switches it off."
    )
    quarantine_evidence: float = Field(
        _FILTER.quarantine_evidence, ge=0, description="Least evidence, in runs, for a quarantine."
    )
    suspect_fraction: float = Field(
        _FILTER.suspect_fraction, ge=0, le=1, description="SLOs below this part of every capacity are named as suspect."
    )
    shortlist: int | None = Field(
        None, ge=1, description="Filter returns only this many best nodes; none returns all that fit."
    )


class Score(_Group):
    """How nodes are ordered."""

    balance_rule: Literal["level", "stddev", "upstream-1.21", "upstream-1.22", "upstream-1.36", "depcon2"] = Field(
        "level", description="How balance is computed; see docs/scoring.md."
    )
    balance_weight: float = Field(_SCORE.balance_weight, ge=0, le=100, description="Weight of balance.")
    reward_weight: float = Field(_SCORE.reward_weight, ge=0, le=100, description="Weight of the learned reward.")
    least_spread: float = Field(
        _SCORE.least_spread, ge=0, le=1, description="Score differences below this are not stretched to 0..10."
    )
    charge_ttl_s: float = Field(
        10.0,
        ge=0,
        le=600,
        description="A pod just placed counts on its node until the watch tells what became of it, else until the "
        "watch was heard this long after; 0 switches it off.",
    )

    @field_validator("balance_rule")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in RULES:
            raise ValueError(f"no such rule; one of {', '.join(RULES)}")
        return value

    @model_validator(mode="after")
    def _has_a_say(self) -> Score:
        if self.balance_weight == self.reward_weight == 0:
            raise ValueError(
                "balance_weight and reward_weight are both 0, so all nodes would score alike; give one of them a "
                "weight, or leave prioritizeVerb out of the scheduler's configuration"
            )
        return self


class NamespaceChoice(_Group):
    """Choices for the pods of one namespace."""

    mode: Literal["enforce", "observe"] | None = None
    reward_weight: float | None = Field(None, ge=0, le=MOST_WEIGHT)

    def override(self) -> Override:
        """As placement takes it."""
        return Override(None if self.mode is None else Mode(self.mode), self.reward_weight)


class Placement(_Group):
    """Whose placement kubesteer decides. A pod's annotations come before its namespace, and that before the rest."""

    mode: Literal["enforce", "observe"] = Field(
        "enforce",
        description="enforce: answers are decisions. observe: every node passes with the same score, and metrics and "
        "log tell what would have been decided. Pods may choose by annotation kubesteer.io/mode.",
    )
    namespaces: dict[Text, NamespaceChoice] = Field(
        {},
        description="By name of a namespace: `mode`, and `reward_weight` in place of score.reward_weight. Pods may "
        "choose by annotation kubesteer.io/reward-weight.",
    )


class Log(_Group):
    """The log, on standard output."""

    format: Literal["console", "json"] = Field("console", description="For people, or for machines.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug tells every decision.")


class Settings(_Group):
    """All settings, by group."""

    listen: Listen = Listen()
    ops: Ops = Ops()
    tls: Tls = Tls()
    limits: Limits = Limits()
    cluster: Cluster = Cluster()
    rewards: Rewards = Rewards()
    network: Network = Network()
    filter: Filter = Filter()
    score: Score = Score()
    placement: Placement = Placement()
    log: Log = Log()

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.ops.tls and self.tls.cert_file is None:
            raise ValueError("ops.tls is true and tls.cert_file is not given; give cert_file and key_file")
        if self.ops.auth == "kubernetes" and self.cluster.source != "kubernetes":
            raise ValueError(
                f"ops.auth is kubernetes and cluster.source is {self.cluster.source}: there is no API server to ask; "
                "change one"
            )
        return self

    def ops_tls(self) -> Tls:
        """TLS of the ops port: probes and Prometheus have no client certificate."""
        return self.tls.model_copy(update={"client_ca_file": None}) if self.ops.tls else Tls()

    def policy(self) -> Policy:
        """The part that the engine needs."""
        return Policy(
            network=tuple(NetworkResource(**direction.model_dump()) for direction in self.network.directions),
            filter=FilterPolicy(**self.filter.model_dump(exclude={"shortlist"})),
            score=ScorePolicy(**self.score.model_dump(exclude={"charge_ttl_s"})),
            mode=Mode(self.placement.mode),
            namespaces={name: choice.override() for name, choice in self.placement.namespaces.items()},
        )
