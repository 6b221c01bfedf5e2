"""Every setting of the agent: meaning, unit, default and range in one place. Only declarations; settings_file.py reads.

A YAML file gives them by group; environment variables KUBESTEER_AGENT_<GROUP>__<NAME> come over it.
docs/agent-settings.md is printed from here (`python -m monitor_agent settings`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from kubesteer.model.network import DEFAULT_NETWORK

_DAY_S = 86_400
_YEAR_S = 365 * _DAY_S

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=_YEAR_S)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that belong together."""


class Node(Group, frozen=True):
    """Which node the agent is for."""

    name: Annotated[str, Meta(description="Its name; none takes the variable NODE_NAME.")] = ""
    holder: Annotated[
        str, Meta(description="The agent's own name in its claim; none takes POD_NAME, else host name and process.")
    ] = ""


class Cluster(Group, frozen=True):
    """How the API server is reached."""

    kubeconfig: Annotated[
        Text | None,
        Meta(description="kubeconfig file, for trials (45 MB more); none takes the pod's service account."),
    ] = None
    context: Annotated[Text | None, Meta(description="Context in it; none takes the current one.")] = None
    service_account: Annotated[
        str,
        Meta(
            min_length=1,
            description="Folder with the service account's ca.crt and token, where there is no kubeconfig.",
        ),
    ] = "/var/run/secrets/kubernetes.io/serviceaccount"
    timeout_s: Annotated[Seconds, Meta(description="Longest wait for an answer.")] = 30.0


class Store(Group, frozen=True):
    """Where rewards and node states are kept."""

    kind: Annotated[
        Literal["etcd", "memory"], Meta(description="memory keeps nothing: to look at an agent without etcd.")
    ] = "etcd"
    endpoints: Annotated[list[Text], Meta(min_length=1, description="etcd endpoints, host:port.")] = field(
        default_factory=lambda: ["127.0.0.1:2379"]
    )
    prefix: Annotated[str, Meta(min_length=1, description="Keys are <prefix>/v1/<node>/<pod type>.")] = "/kubesteer"
    ca_file: Annotated[Text | None, Meta(description="CA of etcd's certificate (PEM); switches TLS on.")] = None
    certificate: Annotated[
        Literal["file", "request"],
        Meta(description="request: asked of the API server for this node alone, and kept in cert_file and key_file."),
    ] = "file"
    cert_file: Annotated[Text | None, Meta(description="Client certificate (PEM) for mTLS.")] = None
    key_file: Annotated[Text | None, Meta(description="Its key (PEM).")] = None
    user: Annotated[Text | None, Meta(description="etcd user.")] = None
    password_file: Annotated[Text | None, Meta(description="File with the user's password.")] = None
    flush_s: Annotated[Seconds, Meta(description="Changes are gathered this long and written together.")] = 1.0
    longest_wait_s: Annotated[Seconds, Meta(description="Longest wait between attempts while etcd is away.")] = 10.0
    claim_ttl_s: Annotated[
        int, Meta(ge=3, le=600, description="An agent that is silent this long loses its node to another that asks.")
    ] = 15
    claim_wait_s: Annotated[
        float, Meta(ge=0, le=3600, description="At the start, an agent killed before is waited for this long.")
    ] = 20.0
    column_ttl_s: Annotated[
        int, Meta(ge=60, le=_YEAR_S, description="A node's rewards are deleted so long after its agent's last word.")
    ] = 7 * _DAY_S


class Learning(Group, frozen=True):
    """Which events count as outcomes, and how a belief follows from outcomes."""

    learner: Annotated[
        Literal["beta", "ewma", "none"],
        Meta(description="beta: outcomes counted with decay; ewma: kubeRL's rule; none: nothing is learned."),
    ] = "beta"
    half_life_s: Annotated[
        Seconds, Meta(description="beta: age at which an outcome counts half. Readers must have the same.")
    ] = 21_600.0
    ewma_weight: Annotated[float, Meta(gt=0, le=1, description="ewma: weight of the newest outcome.")] = 0.1
    success_after_s: Annotated[Seconds, Meta(description="A container that ran this long is a success.")] = 120.0
    mttf_s: Annotated[Seconds, Meta(description="A run that failed later than this counts 0.5, not 0.")] = 600.0
    slow_from: Annotated[
        float, Meta(ge=1, description="A start-up or duration is slow from so many times its type's usual on.")
    ] = 2.0
    stuck_after_s: Annotated[
        Seconds,
        Meta(description="A pod not started so long after it was scheduled is stuck; its Events are asked for."),
    ] = 30.0
    judge_every_s: Annotated[Seconds, Meta(description="All pods are judged anew this often.")] = 5.0
    types: Annotated[
        int, Meta(ge=1, le=999, description="Pod types with a record of their own; rarer ones are put together.")
    ] = 500


class Trouble(Group, frozen=True):
    """Pods that do not get started, or that a probe may have killed: their Events tell why."""

    every_s: Annotated[
        Seconds,
        Meta(description="Wait before Events of one pod are asked for again; doubles, to 32 times, while it is stuck."),
    ] = 30.0
    pods: Annotated[int, Meta(ge=1, le=1000, description="Pods asked about in one round; the rest wait.")] = 10


class Others(Group, frozen=True):
    """A sample of other nodes, for what is usual of a pod type."""

    every_s: Annotated[Seconds, Meta(description="How often a sample is taken.")] = 300.0
    records: Annotated[int, Meta(ge=0, le=100_000, description="Records in it; 0 takes none.")] = 500


class Direction(Group, frozen=True):
    """One direction of traffic."""

    direction: Annotated[Literal["egress", "ingress"], Meta(description="Which.")]
    resource_names: Annotated[
        list[Text],
        Meta(min_length=1, description="Extended resources; the first is published, all are read from pods."),
    ]
    annotation: Annotated[str, Meta(description="Bandwidth annotation read where no resource is asked for.")] = ""
    overcommit: Annotated[float, Meta(gt=0, le=1000, description="Published = (speed - reserve) x this.")] = 1.0
    annotation_overcommit: Annotated[
        float, Meta(gt=0, le=1000, description="The extender's `overcommit` for SLOs asked for by annotation.")
    ] = 1.0
    speed_bps: Annotated[
        Annotated[int, Meta(gt=0)] | Text | None,
        Meta(description="The link's speed in bit/s, such as 10G, where it cannot be read, or is wrong."),
    ] = None


def _directions() -> list[Direction]:
    return [
        Direction(
            direction=each.direction,  # type: ignore[arg-type]
            resource_names=list(each.resource_names),
            annotation=each.annotation,
            annotation_overcommit=each.overcommit,
        )
        for each in DEFAULT_NETWORK
    ]


class Network(Group, frozen=True):
    """The node's link: its capacity is published, its traffic is measured."""

    publish: Annotated[bool, Meta(description="Publish capacity as the node's extended resources.")] = True
    interface: Annotated[Text | None, Meta(description="The link; none takes the default route's.")] = None
    trust_virtual: Annotated[bool, Meta(description="Believe the speed that a virtual interface reports.")] = False
    reserve: Annotated[float, Meta(ge=0, lt=1, description="Share of the speed kept back for the system.")] = 0.05
    worse_after_s: Annotated[
        float, Meta(ge=0, le=3600, description="A lost or slower link is told after it lasted so long.")
    ] = 5.0
    better_after_s: Annotated[
        float, Meta(ge=0, le=3600, description="A link that is back or faster is told after so long.")
    ] = 60.0
    mark: Annotated[
        Literal["none", "condition", "taint", "both"],
        Meta(description="How a degraded link is shown on the node, beside an Event."),
    ] = "none"
    read_s: Annotated[Seconds, Meta(description="Link and counters are read this often.")] = 5.0
    smooth_s: Annotated[float, Meta(ge=0, le=3600, description="Time constant of the measured rates.")] = 15.0
    write_s: Annotated[Seconds, Meta(description="The state is written this often at the latest.")] = 30.0
    write_change: Annotated[Share, Meta(description="And at once when a rate changed by this share of the link.")] = (
        0.05
    )
    directions: Annotated[list[Direction], Meta(min_length=1, max_length=2, description="The directions.")] = field(
        default_factory=_directions
    )


class Kubelet(Group, frozen=True):
    """Traffic of single pods, from the kubelet's /stats/summary."""

    url: Annotated[Text | None, Meta(description="Such as https://127.0.0.1:10250; none asks nothing.")] = None
    ca_file: Annotated[Text | None, Meta(description="CA of the kubelet's certificate (PEM).")] = None
    insecure: Annotated[bool, Meta(description="Do not check its certificate, which is often signed by itself.")] = (
        False
    )
    every_s: Annotated[Seconds, Meta(description="How often it is asked.")] = 15.0


class Measure(Group, frozen=True):
    """The application's own measure, 0 worst .. 1 best, from Prometheus; kubesteer.io/reward on a pod comes over it."""

    prometheus: Annotated[Text | None, Meta(description="URL, such as http://prometheus.monitoring:9090.")] = None
    every_s: Annotated[Seconds, Meta(description="How often the queries are evaluated.")] = 30.0
    queries: Annotated[
        dict[str, Text],
        Meta(description="PromQL by pod type; its answer is told apart by the labels namespace and pod."),
    ] = field(default_factory=dict)


class Ops(Group, frozen=True):
    """Health and metrics."""

    host: Annotated[Text, Meta(description="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 takes a free one.")] = 8890
    probes_host: Annotated[
        Text | None,
        Meta(
            description="One more address, at the same port, for the kubelet's probes alone: health without TLS, with "
            "connections of its own. 127.0.0.1 where host is the node's address; none has health at host alone.",
        ),
    ] = None
    cert_file: Annotated[
        Text | None,
        Meta(description="Server certificate (PEM); switches TLS on. Read again when it changes."),
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
    """The log, on standard output, as lines of JSON."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is told.")] = "info"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings, by group."""

    node: Node = Node()
    cluster: Cluster = Cluster()
    store: Store = field(default_factory=Store)
    learning: Learning = Learning()
    trouble: Trouble = Trouble()
    others: Others = Others()
    network: Network = field(default_factory=Network)
    kubelet: Kubelet = Kubelet()
    measure: Measure = field(default_factory=Measure)
    ops: Ops = field(default_factory=Ops)
    log: Logs = Logs()
