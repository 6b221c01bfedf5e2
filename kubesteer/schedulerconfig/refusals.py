"""What kube-scheduler refuses at its start, beside fields and types (schema.py).

All of it holds for any extender. Plugins' args and the files that TLS names are not looked into.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubesteer.schedulerconfig.findings import Finding, error, warning
from kubesteer.schedulerconfig.minors import OLDEST
from kubesteer.schedulerconfig.schema import seconds

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"
POLICY = "Policy"
"""The kind of before 1.23, with predicates, priorities and much the same extenders."""

_GONE_PLUGINS = ("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits")
_SCORING_STRATEGY = "enable NodeResourcesFit, with args.scoringStrategy.type: {}"
_REPLACED_PLUGINS = {
    "NodeResourcesLeastAllocated": _SCORING_STRATEGY.format("LeastAllocated"),
    "NodeResourcesMostAllocated": _SCORING_STRATEGY.format("MostAllocated"),
    "RequestedToCapacityRatio": _SCORING_STRATEGY.format("RequestedToCapacityRatio"),
    "SelectorSpread": "leave it out: PodTopologySpread does this now",
    "NodePreferAvoidPods": "leave it out: its annotation went with it",
}
"""Plugins of the tree that v1 no longer has, and what does their work."""
_PLUGINS = (
    *("DefaultBinder", "DefaultPreemption", "DeferredPodScheduling", "DynamicResources", "GangScheduling"),
    *("ImageLocality", "InterPodAffinity", "NodeAffinity", "NodeDeclaredFeatures", "NodeName", "NodePorts"),
    *("NodeResourcesBalancedAllocation", "NodeResourcesFit", "NodeUnschedulable", "NodeVolumeLimits"),
    *("PodGroupPodsCount", "PodTopologySpread", "PrioritySort", "SchedulingGates", "TaintToleration"),
    *("TopologyPlacementGenerator", "VolumeBinding", "VolumeRestrictions", "VolumeZone"),
)
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUOTA_PREFIX = "requests."
_LONGEST_DOMAIN = 253

Config = Mapping[str, Any]


def head(document: Config) -> Iterator[Finding]:
    """The version and kind, by which the scheduler chooses how to read the rest."""
    version, kind = document.get("apiVersion"), document.get("kind")
    if version != API_VERSION:
        reason = f"from 1.{OLDEST} on the scheduler reads {API_VERSION} only"
        yield error("api-version", "apiVersion", version, reason, f"write {API_VERSION}")
    if kind == POLICY:
        reason = "the Policy API went with 1.23, and the flag --policy-config-file with it"
        yield error("kind", "kind", kind, reason, f"write {KIND}, keep its extenders, and name the file by --config")
    elif kind != KIND:
        yield error("kind", "kind", kind, "the scheduler reads no other kind", f"write {KIND}")


def refusals(config: Config) -> Iterator[Finding]:
    """Everything else; `config` has been through schema.conform."""
    yield from _numbers(config)
    yield from _leader_election(config.get("leaderElection", {}))
    yield from _profiles(config.get("profiles", []))
    yield from _extenders(config.get("extenders", []))


def _numbers(config: Config) -> Iterator[Finding]:
    parallelism, burst = config.get("parallelism", 16), config.get("clientConnection", {}).get("burst", 0)
    if parallelism <= 0:
        yield error("parallelism", "parallelism", parallelism, "it must be above 0", "leave it out: 16")
    if burst < 0:
        yield error("client-burst", "clientConnection.burst", burst, "it must not be negative", "leave it out: 100")
    first, last = config.get("podInitialBackoffSeconds", 1), config.get("podMaxBackoffSeconds", 10)
    if first <= 0:
        yield error("backoff", "podInitialBackoffSeconds", first, "it must be above 0", "leave it out: 1")
    if last < first:
        reason = f"it must not be below podInitialBackoffSeconds, {first}"
        yield error("backoff", "podMaxBackoffSeconds", last, reason, "raise it")
    yield from _percentage("percentageOfNodesToScore", config)


def _percentage(path: str, fields: Config) -> Iterator[Finding]:
    percent = fields.get("percentageOfNodesToScore", 0)
    if not 0 <= percent <= 100:
        yield error(
            "percentage-range", path, percent, "it must be 0 to 100", "leave it out, or write 100 for all nodes"
        )


def _leader_election(election: Config) -> Iterator[Finding]:
    if not election.get("leaderElect", True):
        return
    lock = election.get("resourceLock") or "leases"
    if lock != "leases":
        yield error("lease-lock", "leaderElection.resourceLock", lock, "only leases are left", "write leases")
    times = {"leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s"}
    spans = {name: seconds(election.get(name, usual)) or seconds(usual) for name, usual in times.items()}
    for name, span in spans.items():
        if span < 0:
            path = f"leaderElection.{name}"
            yield error("lease-times", path, election[name], "it must be above 0", f"leave it out: {times[name]}")
    if spans["leaseDuration"] <= spans["renewDeadline"]:
        reason = "a lease must last longer than renewDeadline"
        value = election.get("leaseDuration", times["leaseDuration"])
        yield error("lease-times", "leaderElection.leaseDuration", value, reason, "leave both out: 15s and 10s")


def _profiles(profiles: list[Config]) -> Iterator[Finding]:
    names: list[str | None] = []
    for number, profile in enumerate(profiles):
        path = f"profiles[{number}]"
        name = profile.get("schedulerName")
        unnamed = not name and (name == "" or len(profiles) > 1)
        if unnamed:
            reason = "each profile needs a name by which pods choose it"
            yield error("profile-name", f"{path}.schedulerName", name, reason, "give each its own schedulerName")
        elif name in names:
            reason = f"profiles[{names.index(name)}] has this name already"
            yield error("profile-name", f"{path}.schedulerName", name, reason, "give each its own schedulerName")
        names.append(name)
        yield from _percentage(f"{path}.percentageOfNodesToScore", profile)
        yield from _plugins(path, profile)
        if _queue_sort(profile) != _queue_sort(profiles[0]):
            reason = "all profiles share one queue, so one way to sort it"
            where = f"{path}.plugins.queueSort"
            yield error("queue-sort", where, _queue_sort(profile)[0], reason, "write the same in each profile")


def _plugins(path: str, profile: Config) -> Iterator[Finding]:
    points = profile.get("plugins", {})
    for point, plugins in points.items():
        names = [each.get("name", "") for each in plugins.get("enabled", [])]
        for number, name in enumerate(names):
            yield from _plugin(f"{path}.plugins.{point}.enabled[{number}].name", name, names[:number])
            if (weight := plugins["enabled"][number].get("weight", 0)) < 0:
                reason = "it turns the plugin's order around, and the scheduler may refuse it as an overflow"
                where = f"{path}.plugins.{point}.enabled[{number}].weight"
                yield warning("negative-weight", where, weight, reason, "write 1 or more")
    sorts = points.get("queueSort", {}).get("enabled", [])
    if len(sorts) > 1:
        names = [each.get("name") for each in sorts]
        yield error("queue-sort", f"{path}.plugins.queueSort.enabled", names, "only one can sort the queue", "keep one")
    seen = set()
    for number, each in enumerate(profile.get("pluginConfig", [])):
        if each.get("name") in seen:
            where = f"{path}.pluginConfig[{number}].name"
            yield error("plugin-config", where, each["name"], "this plugin has its args already", "merge the two")
        seen.add(each.get("name"))


def _plugin(path: str, name: str, earlier: list[str]) -> Iterator[Finding]:
    if name in earlier:
        yield error("plugin-twice", path, name, "this plugin is enabled here already", "keep one of the two")
    elif not name:
        yield error("plugin-name", path, None, "there is no plugin without a name", "write its name")
    elif name in _GONE_PLUGINS:
        yield error("gone-plugin", path, name, "v1 has no such plugin", "NodeVolumeLimits does this now")
    elif name not in _PLUGINS:
        fix = "leave it out, unless this scheduler was built with it"
        if name in _REPLACED_PLUGINS:
            fix = _REPLACED_PLUGINS[name]
        elif close := next((known for known in _PLUGINS if _is_slip(name, known)), None):
            fix = f"write {close}"
        yield warning("unknown-plugin", path, name, "the stock scheduler has no such plugin, and refuses the file", fix)


def _is_slip(name: str, known: str) -> bool:
    """Whether one letter is wrong, missing or too many, or two are swapped. More, and it is another plugin's name."""
    blocks = difflib.SequenceMatcher(None, name.lower(), known.lower()).get_matching_blocks()
    return max(len(name), len(known)) - sum(each.size for each in blocks) <= 1


def _queue_sort(profile: Config) -> tuple[list[Any], list[Any]]:
    plugins = profile.get("plugins", {}).get("queueSort", {})
    return plugins.get("enabled", []), plugins.get("disabled", [])


def _extenders(extenders: list[Config]) -> Iterator[Finding]:
    binders = [number for number, each in enumerate(extenders) if each.get("bindVerb")]
    if len(binders) > 1:
        paths = ", ".join(f"extenders[{number}]" for number in binders)
        reason = f"{paths} all have a bindVerb, and only one extender may bind"
        yield error(
            "two-binders", "extenders", [extenders[number]["bindVerb"] for number in binders], reason, "keep one"
        )
    managed: dict[str, str] = {}
    for number, entry in enumerate(extenders):
        path = f"extenders[{number}]"
        weight = entry.get("weight")
        if entry.get("prioritizeVerb") and (weight or 0) <= 0:
            reason = "prioritizeVerb needs a weight above 0"
            yield error("weight-missing", f"{path}.weight", weight, reason, "see `kubesteer config make --weight half`")
        yield from _tls(path, entry)
        for place, resource in enumerate(entry.get("managedResources", [])):
            yield from _resource(f"{path}.managedResources[{place}].name", resource.get("name", ""), managed)


def _tls(path: str, entry: Config) -> Iterator[Finding]:
    tls = entry.get("tlsConfig", {})
    if tls.get("insecure") and (tls.get("caFile") or tls.get("caData")):
        reason = "it says to trust anybody, and a CA is given too"
        yield error("tls-contradiction", f"{path}.tlsConfig.insecure", True, reason, "leave insecure out")


def _resource(path: str, name: str, managed: dict[str, str]) -> Iterator[Finding]:
    if not _is_extended(name):
        reason = "it is no name of an extended resource"
        yield error("resource-name", path, name, reason, "write domain/name, such as kubesteer.io/egress-bps")
    elif name in managed:
        reason = f"{managed[name]} has it already, and one extender alone may manage a resource"
        yield error("resource-twice", path, name, reason, "keep one of the two")
    managed.setdefault(name, path)


def _is_extended(name: str) -> bool:
    domain, _, rest = name.partition("/")
    return (
        _NAME.fullmatch(rest) is not None
        and _DOMAIN.fullmatch(domain) is not None
        and len(_QUOTA_PREFIX + domain) <= _LONGEST_DOMAIN
        and not f"{domain}/".endswith("kubernetes.io/")
        and not name.startswith(_QUOTA_PREFIX)
    )
