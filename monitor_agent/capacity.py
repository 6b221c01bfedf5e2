"""What a node publishes of its network, what kubesteer believes of it, and what is told about it.

Pure: the link's reading, the promises, what the node publishes now and the time come in; one plan comes out. Nothing
is written from here.

A kubelet that restarts admits its running pods again, against allocatable, and fails those that no longer fit. So the
published number never falls below what the pods on the node were promised; it follows down as they leave. What the
link carries really is told by `limit_bps`, by Events and, where the settings say so, by a condition or a taint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from kubesteer.model import objects
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource
from kubesteer.model.quantity import MAX_INT64, format_rate
from kubesteer.model.requests import pod_requests
from monitor_agent.probes.links import LinkReading

CONDITION = "kubesteer.io/NetworkDegraded"
TAINT_KEY = "kubesteer.io/network-degraded"
"""Its effect is NoSchedule: pods that run stay."""

_TERMINAL = frozenset({"Succeeded", "Failed"})
_MOST_OVERCOMMIT = 1000


class Mark(StrEnum):
    """How a degraded network is shown on the node object, beside the Event."""

    NONE = "none"
    CONDITION = "condition"
    TAINT = "taint"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class DirectionRule:
    """One direction of traffic as the node publishes it.

    resource_names: the extended resources that get the number. Each is counted by itself by kube-scheduler and the
        kubelet, so with two of them pods can be promised twice the link; only kubesteer counts them as one.
    overcommit: published = link, less the reserve, times this.
    annotation_overcommit: what the extender allows of SLOs asked for by annotation, so that it is not told as too much.
    fixed_bps: the link's speed in bit/s where the reading has none, or a wrong one; None takes the reading's.
    """

    direction: str
    resource_names: tuple[str, ...]
    overcommit: float = 1.0
    annotation_overcommit: float = 1.0
    fixed_bps: int | None = None

    def __post_init__(self) -> None:
        for name in ("overcommit", "annotation_overcommit"):
            factor = getattr(self, name)
            if not 0 < factor <= _MOST_OVERCOMMIT:
                raise InvalidSettings(f"{self.direction}.{name} {factor} is not above 0 and at most {_MOST_OVERCOMMIT}")
        if self.fixed_bps is not None and not 0 < self.fixed_bps <= MAX_INT64:
            raise InvalidSettings(f"{self.direction}.fixed_bps {self.fixed_bps} is not a speed; write bit/s above 0")


DEFAULT_DIRECTIONS = tuple(DirectionRule(each.direction, each.resource_names[:1]) for each in DEFAULT_NETWORK)


@dataclass(frozen=True, slots=True)
class CapacityRules:
    """How capacity follows from the link.

    reserve: share of the link kept for the system, 0 to below 1.
    worse_after_s: how long a lost link or a lower speed must last before the API server hears of it.
    better_after_s: the same for a link that is back or a higher speed. A link that flaps faster than this counts as
        lost, and is told once.
    """

    directions: tuple[DirectionRule, ...] = DEFAULT_DIRECTIONS
    reserve: float = 0.05
    worse_after_s: float = 5.0
    better_after_s: float = 60.0
    mark: Mark = Mark.NONE

    def __post_init__(self) -> None:
        if not 0 <= self.reserve < 1:
            raise InvalidSettings(f"reserve {self.reserve} is not a share; write 0 or more and less than 1")
        for name in ("worse_after_s", "better_after_s"):
            if getattr(self, name) < 0:
                raise InvalidSettings(f"{name} {getattr(self, name)} is negative; write seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class PublishedCapacity:
    """The node object's extended resources now, in bit/s; a name that is absent is not published."""

    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PodDemand:
    """Bandwidth that the pods on the node asked for, bit/s.

    by_resource: as extended resources, which the kubelet checks. by_direction: with what annotations ask for.
    """

    by_resource: Mapping[str, int] = field(default_factory=dict)
    by_direction: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """An Event to write about the node."""

    kind: Literal["Warning", "Normal"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeCondition:
    """The condition to keep on the node; type CONDITION."""

    status: Literal["True", "False"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DebouncedValue:
    """A value that the API server was told, and whether another is on its way to take its place.

    value: None before there was one. heading: +1 while the value seen is higher, -1 while it is lower, 0 while it is
    the same. since_s: when it took that heading.
    """

    value: int | None = None
    heading: int = 0
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanState:
    """State of `plan` from one call to the next; a new agent starts with PlanState().

    up: 1 or 0. speed_bps: by direction. fits: by direction, 1 or 0 where more is promised than the link carries.
    no_speed_told: directions whose unknown speed was told.
    """

    up: DebouncedValue = DebouncedValue()
    speed_bps: Mapping[str, DebouncedValue] = field(default_factory=dict)
    fits: Mapping[str, DebouncedValue] = field(default_factory=dict)
    no_speed_told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be written now.

    numbers: extended resources that have to change, in bit/s; empty where nothing has to.
    limit_bps: for NodeState, what the link carries now, less the reserve; a direction that is unknown is left out.
    degraded: why the network is worse than what was promised, empty where it is not.
    condition, taint: how the node object has to look; None and False where the settings want no such mark.
    """

    numbers: Mapping[str, int]
    limit_bps: Mapping[str, int]
    events: tuple[NodeEvent, ...]
    degraded: str
    condition: NodeCondition | None
    taint: bool


def promises(pods: Iterable[objects.Pod], network: Sequence[NetworkResource]) -> PodDemand:
    """What these pods were promised, counted as the kubelet and the scheduler count it. Pods that ended do not count.

    Raises InvalidQuantity for a pod that cannot be read; go on with the promises known before.
    """
    names = sorted({name for resource in network for name in resource.resource_names})
    counted = [*network, *(NetworkResource(name, (name,), annotation="") for name in names)]
    totals = [0] * len(counted)
    for pod in pods:
        if pod.status is not None and pod.status.phase in _TERMINAL:
            continue
        totals = [total + bps for total, bps in zip(totals, pod_requests(pod, counted).network_bps, strict=True)]
    directions = [resource.direction for resource in network]
    return PodDemand(
        by_resource=dict(zip(names, totals[len(network) :], strict=True)),
        by_direction=dict(zip(directions, totals, strict=False)),
    )


def plan(
    link: LinkReading,
    rules: CapacityRules,
    published: PublishedCapacity,
    promised: PodDemand,
    memory: PlanState,
    *,
    now_s: float,
) -> tuple[Publication, PlanState]:
    """What to write now, and what to hand in the next time. now_s: a monotonic clock's.

    Call it after every reading of the link and after every change of the node object or its pods: a number that
    somebody else set, a kubelet that registered the node anew say, is set right.
    """
    after = _remembered(link, rules, promised, memory, now_s)
    lost = after.up.value == 0
    broken = tuple(_broken_promises(rules, after))
    degraded = f"the link of {link.interface} is down" if lost else "; ".join(broken)
    told = _link_events(link, promised, memory, after), _promise_events(rules, promised, memory, after)
    unknown = _without_speed(link, rules)
    return (
        Publication(
            numbers=_numbers(rules, published, promised, after),
            limit_bps=_limits(link, rules, after),
            events=(*told[0], *told[1], *_unknown_event(link, rules, unknown - memory.no_speed_told)),
            degraded=degraded,
            condition=_condition(lost, degraded) if rules.mark in {Mark.CONDITION, Mark.BOTH} else None,
            taint=bool(degraded) and rules.mark in {Mark.TAINT, Mark.BOTH},
        ),
        replace(after, no_speed_told=memory.no_speed_told | unknown),
    )


def why_told(link: LinkReading, rules: CapacityRules) -> str:
    """What the reading says of itself, and what to do where a speed is missed that the settings do not give."""
    if link.interface and _without_speed(link, rules):
        return f"{link.why}; write its speed_bps in network.directions"
    return link.why


def _remembered(
    link: LinkReading, rules: CapacityRules, promised: PodDemand, memory: PlanState, now_s: float
) -> PlanState:
    """The memory with this reading in it. A link that is down tells nothing of its speed, nor of broken promises."""

    def settle(before: DebouncedValue, seen: int | None) -> DebouncedValue:
        return _settled(before, seen, rules, now_s)

    up = settle(memory.up, int(link.up) if link.interface else None)
    speed_bps = {
        rule.direction: settle(memory.speed_bps.get(rule.direction, DebouncedValue()), _speed_bps(link, rule))
        for rule in rules.directions
    }
    fits = {}
    for rule in rules.directions:
        before, speed = memory.fits.get(rule.direction, DebouncedValue(1)), speed_bps[rule.direction].value
        known = up.value != 0 and speed is not None
        most = _carried(speed or 0, rules, max(rule.overcommit, rule.annotation_overcommit))
        fits[rule.direction] = settle(
            before, int(promised.by_direction.get(rule.direction, 0) <= most) if known else None
        )
    return replace(memory, up=up, speed_bps=speed_bps, fits=fits)


def _settled(before: DebouncedValue, seen: int | None, rules: CapacityRules, now_s: float) -> DebouncedValue:
    """The value that counts: the one before until another has kept to one side of it for long enough."""
    if seen is None or before.value is None or seen == before.value:
        return DebouncedValue(before.value if seen is None else seen)
    heading = 1 if seen > before.value else -1
    since_s = before.since_s if before.heading == heading else now_s
    after_s = rules.better_after_s if heading > 0 else rules.worse_after_s
    return DebouncedValue(seen) if now_s - since_s >= after_s else DebouncedValue(before.value, heading, since_s)


def _speed_bps(link: LinkReading, rule: DirectionRule) -> int | None:
    if rule.fixed_bps is not None:
        return rule.fixed_bps
    return link.speed_bps if link.up else None


def _carried(speed_bps: int, rules: CapacityRules, overcommit: float = 1.0) -> int:
    """The speed x (1 - reserve) x overcommit, exactly, rounded down: 10G x 0.95 = 9500000000."""
    share = (1 - Decimal(str(rules.reserve))) * Decimal(str(overcommit))
    return min(int(speed_bps * share), MAX_INT64)


def _numbers(
    rules: CapacityRules, published: PublishedCapacity, promised: PodDemand, after: PlanState
) -> dict[str, int]:
    """The numbers that differ from what the node has, in capacity or in allocatable."""
    numbers = {}
    for rule in rules.directions:
        speed = after.speed_bps[rule.direction].value
        for name in rule.resource_names:
            current = published.capacity.get(name)
            if speed is None and current is None:
                continue
            target = current or 0
            if speed is not None:
                target = 0 if after.up.value == 0 else _carried(speed, rules, rule.overcommit)
            wanted = max(target, promised.by_resource.get(name, 0))
            if not wanted == current == published.allocatable.get(name):
                numbers[name] = wanted
    return numbers


def _limits(link: LinkReading, rules: CapacityRules, after: PlanState) -> dict[str, int]:
    """What the link carries, by direction: bad news at once, good news once it has lasted."""
    limits = {}
    for rule in rules.directions:
        seen, settled = _speed_bps(link, rule), after.speed_bps[rule.direction].value
        if after.up.value == 0 or (link.interface and not link.up):
            limits[rule.direction] = 0
        elif seen is not None and settled is not None:
            limits[rule.direction] = _carried(min(seen, settled), rules)
    return limits


def _without_speed(link: LinkReading, rules: CapacityRules) -> frozenset[str]:
    if link.interface and not link.up:
        return frozenset()
    return frozenset(rule.direction for rule in rules.directions if _speed_bps(link, rule) is None)


def _unknown_event(link: LinkReading, rules: CapacityRules, directions: frozenset[str]) -> Iterator[NodeEvent]:
    if directions:
        text = f"{' and '.join(sorted(directions))}: {why_told(link, rules)}; nothing new is published until then"
        yield NodeEvent("Warning", "NetworkSpeedUnknown", text)


def _link_events(link: LinkReading, promised: PodDemand, before: PlanState, after: PlanState) -> Iterator[NodeEvent]:
    if after.up.value == 0 and before.up.value != 0:
        held = ", ".join(f"{name} {format_rate(bps)}" for name, bps in promised.by_direction.items() if bps)
        pods = f"; promised to the pods here: {held}" if held else ""
        yield NodeEvent("Warning", "NetworkLinkLost", f"{link.interface} is down ({link.why}){pods}")
    elif after.up.value == 1 and before.up.value == 0:
        yield NodeEvent("Normal", "NetworkLinkBack", f"{link.interface} is up again: {link.why}")
    changes: dict[tuple[int, int], list[str]] = {}
    for direction, settled in after.speed_bps.items():
        old, new = before.speed_bps.get(direction, DebouncedValue()).value, settled.value
        if old is not None and new is not None and old != new:
            changes.setdefault((old, new), []).append(direction)
    for (old, new), directions in changes.items():
        text = f"{link.interface} went from {format_rate(old)} to {format_rate(new)} ({link.why})"
        kind: Literal["Normal", "Warning"] = "Normal" if new > old else "Warning"
        yield NodeEvent(kind, "NetworkSpeedChanged", f"{' and '.join(directions)}: {text}")


def _promise_events(
    rules: CapacityRules, promised: PodDemand, before: PlanState, after: PlanState
) -> Iterator[NodeEvent]:
    for rule in rules.directions:
        direction = rule.direction
        old, new = before.fits.get(direction, DebouncedValue(1)).value, after.fits[direction].value
        if old == new:
            continue
        most = _carried(after.speed_bps[direction].value or 0, rules, max(rule.overcommit, rule.annotation_overcommit))
        figures = f"{format_rate(promised.by_direction.get(direction, 0))} promised, {format_rate(most)} to give"
        if new == 0:
            text = f"{direction}: {figures}; the published number stays above what is promised: move pods away"
            yield NodeEvent("Warning", "NetworkPromisesExceedLink", text)
        else:
            yield NodeEvent("Normal", "NetworkPromisesFit", f"{direction}: {figures}")


def _broken_promises(rules: CapacityRules, after: PlanState) -> Iterator[str]:
    for rule in rules.directions:
        if after.fits[rule.direction].value == 0:
            yield f"{rule.direction}: more is promised than the link carries"


def _condition(lost: bool, degraded: str) -> NodeCondition:
    if not degraded:
        return NodeCondition("False", "LinkAsPromised", "the link carries what is promised to the pods here")
    return NodeCondition("True", "LinkLost" if lost else "PromisesExceedLink", degraded)
