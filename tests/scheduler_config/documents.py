"""KubeSchedulerConfigurations with one thing wrong each, and what the check has to say of it.

The same table is held against the real kube-scheduler in tests/e2e: it refuses what has an error here, and starts with
the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubesteer.schedulerconfig.checking import check
from kubesteer.schedulerconfig.findings import Finding, Severity

CA = "/etc/kubesteer/ca.crt"
KUBECONFIG = "/etc/kubernetes/scheduler.conf"


def entry(**changes: Any) -> dict[str, Any]:
    """A faultless entry for kubesteer; None takes a field out."""
    fields = {
        "urlPrefix": "http://127.0.0.1:8888",
        "filterVerb": "filter",
        "prioritizeVerb": "prioritize",
        "weight": 15,
        "httpTimeout": "1s",
        "nodeCacheCapable": True,
        "ignorable": True,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def document(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A faultless file with these extenders, or the one of entry(); None takes a field out."""
    whole = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": KUBECONFIG},
        "extenders": list(entries) or [entry()],
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def found(findings: list[Finding], *severities: Severity) -> list[str]:
    """Rule and path of those findings, as the table writes them."""
    return sorted(f"{each.rule} {each.path}".strip() for each in findings if each.severity in severities)


@dataclass(frozen=True, slots=True)
class Case:
    """errors, warnings: rule and path of each, sorted."""

    document: Any
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    minor: int = 37
    in_pod: bool | None = None

    def findings(self) -> list[Finding]:
        return check(self.document, self.minor, in_pod=self.in_pod)


def profile(name: str | None, **plugins: Any) -> dict[str, Any]:
    given = {"schedulerName": name, "plugins": plugins or None}
    return {field: value for field, value in given.items() if value is not None}


def managing(*names: str, **changes: Any) -> dict[str, Any]:
    return entry(managedResources=[{"name": name} for name in names], **changes)


EGRESS, INGRESS, SLO = "kubesteer.io/egress-bps", "kubesteer.io/ingress-bps", "example.com/SLO"
E0, M0 = "extenders[0]", "extenders[0].managedResources[0]"
HTTPS = "https://10.96.0.88:8888"
BY_NAME = "https://kubesteer-extender.kubesteer.svc:8888"
GPU = {
    "urlPrefix": "http://127.0.0.1:32766/gpushare-scheduler",
    "filterVerb": "filter",
    "bindVerb": "bind",
    "nodeCacheCapable": True,
    "managedResources": [{"name": "aliyun.com/gpu-mem"}],
}
"""A well-known extender, as its documentation configures it: right for itself, and none of kubesteer's."""
TASTE = {"urlPrefix": "http://taste.example:9999/api", "prioritizeVerb": "score", "weight": 100}
POLICY = {
    "kind": "Policy",
    "apiVersion": "v1",
    "predicates": [{"name": "PodFitsResources"}],
    "priorities": [{"name": "LeastRequestedPriority", "weight": 1}],
    "extenders": [
        {
            "urlPrefix": "http://127.0.0.1:8888",
            "filterVerb": "filter",
            "prioritizeVerb": "prioritize",
            "weight": 1,
            "enableHttps": False,
            "httpTimeout": 30000000000,
            "nodeCacheCapable": True,
            "ignorable": True,
        }
    ],
    "hardPodAffinitySymmetricWeight": 10,
    "alwaysCheckAllPredicates": False,
}
"""A scheduler policy of before 1.23: its time-out counts nanoseconds."""
TLS = {"caFile": CA}

REFUSED = {
    "no object": Case(["a"], ("type",)),
    "nothing": Case(None, ("type",)),
    "no version": Case(document(apiVersion=None), ("api-version apiVersion",)),
    "v1beta3": Case(document(apiVersion="kubescheduler.config.k8s.io/v1beta3"), ("api-version apiVersion",)),
    "v1beta2": Case(document(apiVersion="kubescheduler.config.k8s.io/v1beta2"), ("api-version apiVersion",)),
    "no kind": Case(document(kind=None), ("kind kind",)),
    "an empty Policy": Case(
        {"kind": "Policy", "apiVersion": "v1"},
        ("api-version apiVersion", "kind kind"),
        ("no-extender extenders", "no-kubeconfig clientConnection.kubeconfig"),
    ),
    "a whole Policy": Case(
        POLICY,
        (
            "api-version apiVersion",
            "kind kind",
            f"old-name {E0}.enableHttps",
            "old-name alwaysCheckAllPredicates",
            "old-name hardPodAffinitySymmetricWeight",
            "old-name predicates",
            "old-name priorities",
            f"type {E0}.httpTimeout",
        ),
        ("no-kubeconfig clientConnection.kubeconfig", f"weight-small {E0}.weight"),
    ),
    "a kind that is a list": Case(document(kind=["a"]), ("kind kind",)),
    "another kind": Case({"kind": "Deployment", "apiVersion": "apps/v1"}, ("api-version apiVersion", "kind kind")),
    "extenders in a profile": Case(
        document(extenders=None, profiles=[profile("default-scheduler") | {"extenders": [entry()]}]),
        ("unknown-field profiles[0].extenders",),
    ),
    "a verb at the top": Case(document(filterVerb="filter"), ("unknown-field filterVerb",)),
    "plugins at the top": Case(document(plugins={}), ("unknown-field plugins",)),
    "an extension point in a profile": Case(
        document(profiles=[profile("default-scheduler") | {"score": {}}]), ("unknown-field profiles[0].score",)
    ),
    "wrong case": Case(document(entry(urlprefix="x")), (f"unknown-field {E0}.urlprefix",)),
    "enableHttps": Case(document(entry(enableHttps=True)), (f"old-name {E0}.enableHttps",)),
    "algorithmSource": Case(document(algorithmSource={}), ("old-name algorithmSource",)),
    "healthzBindAddress": Case(document(healthzBindAddress=":10251"), ("old-name healthzBindAddress",)),
    "schedulerName at the top": Case(document(schedulerName="x"), ("old-name schedulerName",)),
    "field of a managed resource": Case(
        document(entry(managedResources=[{"name": SLO, "ignored": True}])), (f"unknown-field {M0}.ignored",)
    ),
    "time-out as a number": Case(document(entry(httpTimeout=1000000000)), (f"type {E0}.httpTimeout",)),
    "time-out without a unit": Case(document(entry(httpTimeout="5")), (f"type {E0}.httpTimeout",)),
    "weight as text": Case(document(entry(weight="15")), (f"type {E0}.weight",)),
    "weight with a fraction": Case(document(entry(weight=1.5)), (f"type {E0}.weight",)),
    "ignorable as text": Case(document(entry(ignorable="true")), (f"type {E0}.ignorable",)),
    "extenders as an object": Case(document(extenders=entry()), ("type extenders",)),
    "managedResources as names": Case(
        document(entry(managedResources=[SLO])),
        (f"type {M0}",),
    ),
    "caData no base64": Case(
        document(entry(urlPrefix=HTTPS, tlsConfig={"caData": "-----BEGIN"})),
        (f"type {E0}.tlsConfig.caData",),
        (f"tls-no-ca {E0}.tlsConfig.caFile",),
    ),
    "a later minor's extension point": Case(
        document(profiles=[profile("default-scheduler", placementScore={})]),
        ("unknown-field profiles[0].plugins.placementScore",),
        minor=34,
    ),
    "unreserve": Case(
        document(profiles=[profile("default-scheduler", unreserve={})]), ("old-name profiles[0].plugins.unreserve",)
    ),
    "parallelism 0": Case(document(parallelism=0), ("parallelism parallelism",)),
    "negative burst": Case(
        document(clientConnection={"kubeconfig": KUBECONFIG, "burst": -1}), ("client-burst clientConnection.burst",)
    ),
    "back-off 0": Case(document(podInitialBackoffSeconds=0), ("backoff podInitialBackoffSeconds",)),
    "back-off backwards": Case(document(podInitialBackoffSeconds=20), ("backoff podMaxBackoffSeconds",)),
    "percentage 101": Case(document(percentageOfNodesToScore=101), ("percentage-range percentageOfNodesToScore",)),
    "a profile's percentage": Case(
        document(profiles=[profile("default-scheduler") | {"percentageOfNodesToScore": -1}]),
        ("percentage-range profiles[0].percentageOfNodesToScore",),
    ),
    "two profiles, one unnamed": Case(
        document(profiles=[profile("default-scheduler"), profile(None)]), ("profile-name profiles[1].schedulerName",)
    ),
    "an empty profile name": Case(
        document(profiles=[profile("")]),
        ("profile-name profiles[0].schedulerName",),
        ("lease leaderElection.resourceName",),
    ),
    "two profiles of a name": Case(
        document(profiles=[profile("default-scheduler")] * 2), ("profile-name profiles[1].schedulerName",)
    ),
    "two orders of the queue": Case(
        document(
            profiles=[
                profile("default-scheduler"),
                profile("b", queueSort={"disabled": [{"name": "*"}], "enabled": [{"name": "PrioritySort"}]}),
            ]
        ),
        ("queue-sort profiles[1].plugins.queueSort",),
    ),
    "a plugin that is gone": Case(
        document(profiles=[profile("default-scheduler", filter={"enabled": [{"name": "EBSLimits"}]})]),
        ("gone-plugin profiles[0].plugins.filter.enabled[0].name",),
    ),
    "a plugin twice": Case(
        document(profiles=[profile("default-scheduler", score={"enabled": [{"name": "NodeAffinity"}] * 2})]),
        ("plugin-twice profiles[0].plugins.score.enabled[1].name",),
    ),
    "two plugins of a weight below 0": Case(
        document(
            profiles=[
                profile(
                    "default-scheduler",
                    score={
                        "enabled": [{"name": "NodeAffinity", "weight": -1}, {"name": "ImageLocality", "weight": -1}]
                    },
                )
            ]
        ),
        warnings=tuple(f"negative-weight profiles[0].plugins.score.enabled[{number}].weight" for number in (0, 1)),
    ),
    "a plugin without a name": Case(
        document(profiles=[profile("default-scheduler", score={"enabled": [{"weight": 2}]})]),
        ("plugin-name profiles[0].plugins.score.enabled[0].name",),
    ),
    "time-out null": Case(document(entry() | {"httpTimeout": None}), (f"type {E0}.httpTimeout",)),
    "args twice": Case(
        document(profiles=[profile("default-scheduler") | {"pluginConfig": [{"name": "Mine"}, {"name": "Mine"}]}]),
        ("plugin-config profiles[0].pluginConfig[1].name",),
    ),
    "lock of another kind": Case(
        document(leaderElection={"resourceLock": "endpoints"}), ("lease-lock leaderElection.resourceLock",)
    ),
    "lease shorter than its renewal": Case(
        document(leaderElection={"leaseDuration": "10s"}), ("lease-times leaderElection.leaseDuration",)
    ),
    "negative retry": Case(
        document(leaderElection={"retryPeriod": "-2s"}), ("lease-times leaderElection.retryPeriod",)
    ),
    "prioritize without weight": Case(document(entry(weight=None)), (f"weight-missing {E0}.weight",)),
    "weight 0": Case(document(entry(weight=0)), (f"weight-missing {E0}.weight",)),
    "two binders": Case(
        document(
            entry(bindVerb="bind"),
            managing("a.io/b", urlPrefix="http://127.0.0.1:1", bindVerb="bind", filterVerb=None, prioritizeVerb=None),
        ),
        ("two-binders extenders",),
        (f"verb {E0}.bindVerb",),
    ),
    "insecure with a CA": Case(
        document(entry(urlPrefix=HTTPS, enableHTTPS=True, tlsConfig=TLS | {"insecure": True})),
        (f"tls-contradiction {E0}.tlsConfig.insecure",),
        (f"tls-insecure {E0}.tlsConfig.insecure",),
    ),
    "a native resource": Case(
        document(managing("cpu")), (f"resource-name {M0}.name",), (f"resource-unknown {M0}.name",)
    ),
    "kubernetes.io's resource": Case(
        document(managing("node.kubernetes.io/x")), (f"resource-name {M0}.name",), (f"resource-unknown {M0}.name",)
    ),
    "a quota's resource": Case(
        document(managing("requests.example.com/x")), (f"resource-name {M0}.name",), (f"resource-unknown {M0}.name",)
    ),
    "a name with a space": Case(
        document(managing("example.com/a b")), (f"resource-name {M0}.name",), (f"resource-unknown {M0}.name",)
    ),
    "a domain in capitals": Case(
        document(managing("Example.com/SLO")), (f"resource-name {M0}.name",), (f"resource-unknown {M0}.name",)
    ),
    "one resource twice": Case(document(managing(SLO, SLO)), ("resource-twice extenders[0].managedResources[1].name",)),
    "one resource of two extenders": Case(
        document(managing(SLO), managing(SLO, urlPrefix="http://127.0.0.1:1")),
        ("resource-twice extenders[1].managedResources[0].name",),
    ),
}
"""What no kube-scheduler starts with."""

TAKEN = {
    "all is well": Case(document()),
    "null is as good as absent": Case(document(entry() | {"tlsConfig": None}) | {"profiles": None}),
    "mutual TLS": Case(document(entry(urlPrefix=HTTPS, enableHTTPS=True, tlsConfig=TLS))),
    "no extender": Case(document(extenders=[]), warnings=("no-extender extenders",)),
    "https without a CA": Case(
        document(entry(urlPrefix=HTTPS, enableHTTPS=True)), warnings=(f"tls-insecure {E0}.tlsConfig.caFile",)
    ),
    "https by the address only": Case(document(entry(urlPrefix=HTTPS)), warnings=(f"tls-no-ca {E0}.tlsConfig.caFile",)),
    "insecure": Case(
        document(entry(urlPrefix=HTTPS, tlsConfig={"insecure": True})),
        warnings=(f"tls-insecure {E0}.tlsConfig.insecure",),
    ),
    "half a certificate": Case(
        document(entry(urlPrefix=HTTPS, enableHTTPS=True, tlsConfig=TLS | {"certFile": CA})),
        warnings=(f"half-certificate {E0}.tlsConfig",),
    ),
    "enableHTTPS over http": Case(document(entry(enableHTTPS=True)), warnings=(f"https-scheme {E0}.enableHTTPS",)),
    "clear text over the network": Case(
        document(entry(urlPrefix="http://10.96.0.88:8888")),
        warnings=(f"clear-text {E0}.urlPrefix",),
    ),
    "no address": Case(document(entry(urlPrefix=None)), warnings=(f"url {E0}.urlPrefix",)),
    "an address without a scheme": Case(document(entry(urlPrefix="127.0.0.1:8888")), warnings=(f"url {E0}.urlPrefix",)),
    "an address with a query": Case(
        document(entry(urlPrefix="http://127.0.0.1:8888?a=b")), warnings=(f"url {E0}.urlPrefix",)
    ),
    "an address with a password": Case(
        document(entry(urlPrefix="http://me:secret@127.0.0.1:8888")), warnings=(f"url-password {E0}.urlPrefix",)
    ),
    "the ops port": Case(document(entry(urlPrefix="http://127.0.0.1:8889")), warnings=(f"url-port {E0}.urlPrefix",)),
    "a verb in the address": Case(
        document(entry(urlPrefix="http://127.0.0.1:8888/filter")), warnings=(f"url-path {E0}.urlPrefix",)
    ),
    "a path": Case(
        document(entry(urlPrefix="http://127.0.0.1:8888/scheduler/")), warnings=(f"url-path {E0}.urlPrefix",)
    ),
    "a slash at the end": Case(document(entry(urlPrefix="http://127.0.0.1:8888/"))),
    "another verb": Case(document(entry(filterVerb="predicates")), warnings=(f"verb {E0}.filterVerb",)),
    "a verb with a slash": Case(document(entry(filterVerb="/filter")), warnings=(f"verb {E0}.filterVerb",)),
    "bind": Case(document(entry(bindVerb="bind")), warnings=(f"verb {E0}.bindVerb",)),
    "preempt": Case(document(entry(preemptVerb="preempt")), warnings=(f"verb {E0}.preemptVerb",)),
    "no verb": Case(document(entry(filterVerb=None, prioritizeVerb=None)), warnings=(f"no-verb {E0}",)),
    "no time-out": Case(document(entry(httpTimeout=None)), warnings=(f"timeout {E0}.httpTimeout",)),
    "time-out 0": Case(document(entry(httpTimeout="0s")), warnings=(f"timeout {E0}.httpTimeout",)),
    "a long time-out": Case(document(entry(httpTimeout="1m30s")), warnings=(f"timeout {E0}.httpTimeout",)),
    "a negative time-out": Case(document(entry(httpTimeout="-1s")), warnings=(f"timeout {E0}.httpTimeout",)),
    "a time-out below kubesteer's deadline": Case(
        document(entry(httpTimeout="200ms")), warnings=(f"timeout {E0}.httpTimeout",)
    ),
    "full nodes": Case(document(entry(nodeCacheCapable=None)), warnings=(f"full-nodes {E0}.nodeCacheCapable",)),
    "all pods wait": Case(document(entry(ignorable=False)), warnings=(f"when-away {E0}.ignorable",)),
    "some pods wait": Case(document(managing(SLO, ignorable=False))),
    "the scheduler does not count": Case(
        document(entry(managedResources=[{"name": SLO, "ignoredByScheduler": True}])),
        warnings=(f"uncounted {M0}.ignoredByScheduler",),
    ),
    "a resource that kubesteer does not know": Case(
        document(managing("example.com/net-mbps")), warnings=(f"resource-unknown {M0}.name",)
    ),
    "a weight that is outvoted": Case(document(entry(weight=1)), warnings=(f"weight-small {E0}.weight",)),
    "asked twice": Case(
        document(entry(), entry(urlPrefix="http://127.0.0.1:8888/")), warnings=("same-url extenders[1].urlPrefix",)
    ),
    "a second scheduler that runs alone": Case(
        document(profiles=[profile("kubesteer")], leaderElection={"leaderElect": False})
    ),
    "a second scheduler with a lease of that name in another namespace": Case(
        document(profiles=[profile("kubesteer")], leaderElection={"resourceNamespace": "kubesteer"})
    ),
    "the cluster's own scheduler with a profile more": Case(
        document(profiles=[profile("kubesteer"), profile("default-scheduler")])
    ),
    "a second scheduler on the first one's lease": Case(
        document(profiles=[profile("kubesteer")]), warnings=("lease leaderElection.resourceName",)
    ),
    "a second scheduler on its own": Case(
        document(profiles=[profile("kubesteer")], leaderElection={"resourceName": "kubesteer"})
    ),
    "beside an extender for other resources": Case(
        document(
            managing(SLO), managing("example.com/gpu", urlPrefix="http://gpu.svc/x", httpTimeout="30s", filterVerb="f")
        )
    ),
    "no kubeconfig": Case(document(clientConnection=None), warnings=("no-kubeconfig clientConnection.kubeconfig",)),
    "an empty kubeconfig": Case(
        document(clientConnection={"kubeconfig": "", "qps": 50}),
        warnings=("no-kubeconfig clientConnection.kubeconfig",),
    ),
    "no kubeconfig, in a pod": Case(document(clientConnection=None), in_pod=True),
    "no kubeconfig, but a name that only pods resolve": Case(
        document(entry(urlPrefix=BY_NAME, enableHTTPS=True, tlsConfig=TLS), clientConnection=None)
    ),
    "a name that only pods resolve, from the host": Case(
        document(entry(urlPrefix=BY_NAME, enableHTTPS=True, tlsConfig=TLS)),
        warnings=(f"cluster-dns {E0}.urlPrefix",),
    ),
    "the same with its zone, of another extender": Case(
        document(entry(), GPU | {"urlPrefix": "http://gpu.kube-system.svc.cluster.local/gpushare-scheduler"}),
        warnings=("cluster-dns extenders[1].urlPrefix",),
    ),
    "a name that the node's DNS may know": Case(
        document(entry(urlPrefix="https://extender.corp.example:8888", enableHTTPS=True, tlsConfig=TLS))
    ),
    "the Service's name from a pod of its own with a kubeconfig": Case(
        document(entry(urlPrefix=BY_NAME, enableHTTPS=True, tlsConfig=TLS)), in_pod=True
    ),
    "another extender beside": Case(document(GPU, entry())),
    "another extender beside, by name": Case(
        document(GPU, entry(urlPrefix=BY_NAME, enableHTTPS=True, tlsConfig=TLS)), in_pod=True
    ),
    "another extender only": Case(document(GPU), warnings=("no-extender extenders",)),
    "other extenders only": Case(
        document(TASTE, TASTE | {"urlPrefix": "http://other.example:1"}), warnings=("no-extender extenders",)
    ),
    # 15 / (15 + 15 of the plugins + 100) = 11.5 %
    "another extender that outvotes": Case(document(entry(), TASTE), warnings=(f"weight-small {E0}.weight",)),
    "bind, and pods wait": Case(
        document(managing(SLO, bindVerb="bind", ignorable=False)), warnings=(f"verb {E0}.bindVerb",)
    ),
    "another tree's plugin": Case(
        document(profiles=[profile("default-scheduler", filter={"enabled": [{"name": "NodeResourcesFitPlus"}]})]),
        warnings=("unknown-plugin profiles[0].plugins.filter.enabled[0].name",),
    ),
    "a verb that has the path": Case(
        document(entry(urlPrefix="http://127.0.0.1:8888//", filterVerb="x/filter")),
        warnings=(f"verb {E0}.filterVerb",),
    ),
    "a verb with a query": Case(document(entry(filterVerb="filter?from=scheduler"))),
    "a day for a name": Case(document(profiles=[profile("2026-01-01"), profile("default-scheduler")])),
}
"""What a kube-scheduler starts with, and which warnings it deserves."""

CASES = REFUSED | TAKEN
