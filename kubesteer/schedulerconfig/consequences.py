"""What follows from a configuration for kubesteer's say: which pods come, what nodes it sees, how much it counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubesteer.schedulerconfig.findings import Finding, note, warning
from kubesteer.schedulerconfig.minors import BATCHING, FULL_NODES_LOSE_LOAD
from kubesteer.schedulerconfig.score_plugins import LEAST_SHARE, POINTS, profile_weights, share, share_weight
from kubesteer.schedulerconfig.service import Service
from kubesteer.schedulerconfig.surroundings import DEFAULT_SCHEDULER, scheduler_names

_LEASE = ("kube-system", "kube-scheduler")

Fields = Mapping[str, Any]


def of_entry(path: str, entry: Fields, config: Fields, minor: int, service: Service) -> Iterator[Finding]:
    """What follows from one entry of `extenders`, which is kubesteer's."""
    yield from _nodes(f"{path}.nodeCacheCapable", entry, minor)
    yield from _when_away(f"{path}.ignorable", entry, _uncounted(config, service))
    yield from _resources(f"{path}.managedResources", entry, service)
    if entry.get("prioritizeVerb"):
        others = {name: weight for name, weight in _extender_weights(config).items() if name != path}
        for place, weights in _profiles(config, minor):
            yield from _weight(path, int(entry.get("weight", 0)), place, weights, others)
        if service.shortlist == 1:
            reason = "filter.shortlist is 1: of one node the scheduler asks no score, so this verb is never called"
            yield note("never-asked", f"{path}.prioritizeVerb", entry["prioritizeVerb"], reason)
    elif entry.get("filterVerb") and service.shortlist is None:
        reason = "kubesteer only filters: without filter.shortlist in its settings, its scores count nowhere"
        yield note("filter-only", f"{path}.prioritizeVerb", None, reason)


def of_scheduler(config: Fields, ours: Sequence[tuple[str, Fields]], minor: int) -> Iterator[Finding]:
    """What follows from the rest of the file, and from having an extender at all; ours: kubesteer's entries."""
    if not config.get("extenders"):
        return
    if minor >= BATCHING:
        reason = f"from 1.{BATCHING} on any extender turns opportunistic batching off: equal pods are scored one by one"
        yield note("batching", "extenders", None, reason)
    yield from _twice(ours)
    yield from _lease(config)
    yield from _sampling(config)


def _nodes(path: str, entry: Fields, minor: int) -> Iterator[Finding]:
    if entry.get("nodeCacheCapable"):
        return
    reason = "full nodes cost both sides more than everything else"
    if minor >= FULL_NODES_LOSE_LOAD and entry.get("filterVerb"):
        reason += (
            f"; and from 1.{FULL_NODES_LOSE_LOAD} on the scheduler's own scores then take every node for empty"
            " (kubernetes/kubernetes#141781)"
        )
    yield warning(
        "full-nodes", path, entry.get("nodeCacheCapable"), reason, "write true; kubesteer watches nodes itself"
    )


def _when_away(path: str, entry: Fields, uncounted: Sequence[str]) -> Iterator[Finding]:
    ignorable, managed = entry.get("ignorable"), entry.get("managedResources", [])
    if ignorable:
        held = "SLOs asked for as extended resources still hold"
        if uncounted:
            held = f"nothing then counts {', '.join(uncounted)}: ignoredByScheduler is true"
        yield note("when-away", path, ignorable, f"while kubesteer is away pods are placed without it; {held}")
    elif managed:
        yield note("when-away", path, ignorable, "while kubesteer is away, pods with these resources wait for it")
    else:
        reason = "while kubesteer is away no pod is scheduled at all, not even kubesteer's own"
        yield warning(
            "when-away", path, ignorable, reason, "write true, or name managedResources: only those pods wait"
        )


def _uncounted(config: Fields, service: Service) -> list[str]:
    """Of kubesteer's resources those that the scheduler leaves out of its own count; any entry can say so."""
    ignored = [
        each.get("name", "")
        for entry in config.get("extenders", [])
        for each in entry.get("managedResources", [])
        if each.get("ignoredByScheduler")
    ]
    return [name for name in service.resource_names if name in ignored]


def _resources(path: str, entry: Fields, service: Service) -> Iterator[Finding]:
    managed = entry.get("managedResources", [])
    names = [each.get("name", "") for each in managed]
    for number, (name, each) in enumerate(zip(names, managed, strict=True)):
        if name not in service.resource_names:
            reason = f"kubesteer counts {', '.join(service.resource_names)}; of this one nothing is counted"
            fix = "leave it out, or add it to network.directions (--settings FILE tells this check of them)"
            yield warning("resource-unknown", f"{path}[{number}].name", name, reason, fix)
        if each.get("ignoredByScheduler"):
            reason = "the scheduler's own count of it, the only one without a race, is off"
            if entry.get("ignorable"):
                reason += "; and as the entry is ignorable, nothing counts it while kubesteer is away"
            where = f"{path}[{number}].ignoredByScheduler"
            yield warning("uncounted", where, True, reason, "write false: kubesteer counts as well")
    if names:
        reason = (
            "other pods do not come: none with an SLO by annotation only"
            f" ({', '.join(service.annotations) or 'none is set'}), and rewards steer none of them"
        )
        yield note("pods", path, names, reason)


def _profiles(config: Fields, minor: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Each profile's path and Score plugins; profiles with the same weights once."""
    seen = []
    for number, profile in enumerate(config.get("profiles") or [{}]):
        weights = profile_weights(profile, minor)
        if weights not in seen:
            yield f"profiles[{number}]", weights
        seen.append(weights)


def _extender_weights(config: Fields) -> dict[str, int]:
    """The weight of each entry that gives scores, by its path."""
    return {
        f"extenders[{number}]": int(entry.get("weight", 0))
        for number, entry in enumerate(config.get("extenders", []))
        if entry.get("prioritizeVerb")
    }


def _weight(
    path: str, weight: int, place: str, plugins: Mapping[str, int], extenders: Mapping[str, int]
) -> Iterator[Finding]:
    if weight <= 0:
        return
    beside = {**plugins, **extenders}
    part = share(weight, beside)
    meaning = (
        f"up to {weight * POINTS:,} points beside the {sum(plugins.values()) * POINTS:,} of the {len(plugins)} Score"
        f" plugins of {place}"
    )
    if extenders:
        meaning += f" and the {sum(extenders.values()) * POINTS:,} of {', '.join(extenders)}"
    meaning += f": at least {int(100 * part + 1e-9)}% of the score"
    if part < LEAST_SHARE:
        fix = f"write {share_weight(0.5, beside)} for half of the score; less than {LEAST_SHARE:.0%} is mostly outvoted"
        yield warning("weight-small", f"{path}.weight", weight, meaning, fix)
    else:
        yield note("weight", f"{path}.weight", weight, meaning)


def _twice(ours: Sequence[tuple[str, Fields]]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for path, entry in ours:
        url = str(entry.get("urlPrefix", "")).rstrip("/")
        for field in ("filterVerb", "prioritizeVerb"):
            if not (verb := entry.get(field)):
                continue
            call = f"{url}/{verb}"
            if call in seen:
                reason = f"{seen[call]} calls the same address: kubesteer is asked twice a pod, and counts twice"
                yield warning("same-url", f"{path}.urlPrefix", None, reason, "merge the two")
                break
            seen[call] = path


def _lease(config: Fields) -> Iterator[Finding]:
    names = scheduler_names(config)
    election = config.get("leaderElection", {})
    lease = (election.get("resourceNamespace") or _LEASE[0], election.get("resourceName") or _LEASE[1])
    if DEFAULT_SCHEDULER not in names and election.get("leaderElect", True) and lease == _LEASE:
        reason = f"{names[0]} would wait for the lease of the cluster's own scheduler, {'/'.join(lease)}, for good"
        path = "leaderElection.resourceName"
        yield warning(
            "lease", path, election.get("resourceName"), reason, f"write a lease of its own, such as {names[0]}"
        )


def _sampling(config: Fields) -> Iterator[Finding]:
    everywhere = config.get("percentageOfNodesToScore", 0)
    for number, profile in enumerate(config.get("profiles") or [{}]):
        percent = profile.get("percentageOfNodesToScore", everywhere)
        own = "percentageOfNodesToScore" in profile
        path = f"profiles[{number}].percentageOfNodesToScore" if own else "percentageOfNodesToScore"
        if percent == 100:
            reason = "every node that fits is a candidate: the best choice, and the dearest for each pod"
        elif percent:
            reason = f"kubesteer sees {percent}% of the nodes, at least 100: the best node may not be among them"
        else:
            reason = "above 100 nodes kubesteer sees a sample, 420 of 1,000 and 500 of 5,000; 100 makes it all of them"
        yield note("sampling", path, percent or None, reason)
        if not own:
            return
