"""Which candidate nodes a pod may go to, and why not. One vector comparison a resource; words only for nodes that fail.

No scores, no clock: the time comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NO_CAPACITY
from kubesteer.model.quantity import format_rate
from kubesteer.placement.table import NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.candidates import Candidates, Circumstances
    from kubesteer.placement.policy import Policy

    Mask = NDArray[np.bool_]


class Cause(StrEnum):
    """Why a node is refused: the label of a metric, so few and fixed."""

    UNKNOWN_NODE = "unknown-node"
    NODE_FAULT = "node-fault"
    NOT_READY = "not-ready"
    NO_CAPACITY = "no-capacity"
    TOO_SMALL = "too-small"
    INSUFFICIENT = "insufficient"
    LINK = "link"
    MEASURED = "measured-traffic"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why one candidate does not fit. resolvable: evicting pods could help."""

    position: int
    cause: Cause
    reason: str
    resolvable: bool = False


def judge(
    pod: PodSummary, candidates: Candidates, circumstances: Circumstances, policy: Policy
) -> tuple[Mask, list[Verdict]]:
    """The candidates that fit, as a mask, and a verdict for every one that does not."""
    ruling = _Ruling(len(candidates))
    known = candidates.known
    if circumstances.synced:
        ruling.refuse(~known, Cause.UNKNOWN_NODE, lambda _: "node is unknown to kubesteer")
    ruling.refuse(known & ~candidates.usable, Cause.NODE_FAULT, lambda p: f"node object: {candidates.faults[p]}")
    if not pod.tolerates_not_ready:
        ruling.refuse(known & ~candidates.ready, Cause.NOT_READY, lambda _: "node is not ready")
    for direction, asked_bps in enumerate(pod.requests.network_bps):
        if asked_bps:
            _judge_direction(ruling, direction, pod, candidates, circumstances, policy)
    _judge_rewards(ruling, circumstances, policy)
    return ruling.fits, ruling.verdicts


class _Ruling:
    """Collects refusals; the first cause that hits a node is the one that counts."""

    def __init__(self, count: int) -> None:
        self.fits = np.ones(count, np.bool_)
        self.verdicts: list[Verdict] = []

    def refuse(self, where: Mask, cause: Cause, reason: Callable[[int], str], *, resolvable: bool = False) -> None:
        newly = where & self.fits
        if newly.any():
            self.fits &= ~newly
            self.verdicts += [Verdict(p, cause, reason(p), resolvable) for p in np.flatnonzero(newly).tolist()]


def _judge_direction(
    ruling: _Ruling,
    direction: int,
    pod: PodSummary,
    candidates: Candidates,
    circumstances: Circumstances,
    policy: Policy,
) -> None:
    """SLOs promised on the node, and traffic measured there, against its capacity in one direction."""
    resource, asked_bps = policy.network[direction], pod.requests.network_bps[direction]
    by_annotation = pod.requests.by_annotation[direction]
    capacity_bps, promised_bps = candidates.allocatable[NETWORK + direction], candidates.requested[NETWORK + direction]
    if by_annotation and circumstances.charged is not None:
        # Only here: what is asked for as an extended resource, kube-scheduler counts at once and exactly.
        promised_bps = promised_bps + circumstances.charged[NETWORK + direction]
    limit_bps = _overcommitted(capacity_bps, resource.overcommit) if by_annotation else capacity_bps
    wants = f"{resource.direction}: wants {format_rate(asked_bps)}"
    published = (capacity_bps != NO_CAPACITY) & candidates.known
    has_room = promised_bps + asked_bps <= limit_bps
    if not (has_room & published).all():
        if not by_annotation or policy.filter.refuse_unknown_capacity:
            names = " or ".join(resource.resource_names)
            ruling.refuse(
                ~published & candidates.known, Cause.NO_CAPACITY, lambda _: f"{wants}, the node publishes no {names}"
            )
        ruling.refuse(
            published & (asked_bps > limit_bps),
            Cause.TOO_SMALL,
            lambda p: f"{wants}, the node has {format_rate(int(limit_bps[p]))} in all",
        )
        ruling.refuse(
            published & ~has_room,
            Cause.INSUFFICIENT,
            lambda p: (
                f"{wants}, {format_rate(max(int(limit_bps[p] - promised_bps[p]), 0))} of {format_rate(int(limit_bps[p]))} left"  # noqa: E501
            ),
            resolvable=True,
        )
    slower = _slower_links(direction, candidates, circumstances, policy)
    if slower is not None and candidates.limit_bps is not None:
        capacity_bps = np.where(slower, candidates.limit_bps[direction], capacity_bps)
        published = published | slower
        carried_bps = _overcommitted(capacity_bps, resource.overcommit) if by_annotation else capacity_bps
        ruling.refuse(
            slower & (asked_bps > carried_bps),
            Cause.LINK,
            lambda p: f"{wants}, the link carries {format_rate(int(carried_bps[p]))} now",
        )
        ruling.refuse(
            slower & (promised_bps + asked_bps > carried_bps),
            Cause.LINK,
            lambda p: (
                f"{wants}, {format_rate(max(int(carried_bps[p] - promised_bps[p]), 0))} left of the "
                f"{format_rate(int(carried_bps[p]))} that the link carries now"
            ),
            resolvable=True,
        )
    if policy.filter.measured_fresh_s > 0:
        measured_bps = candidates.measured_bps[direction]
        fresh = _is_fresh(candidates.measured_at_s, circumstances.now_s, policy.filter.measured_fresh_s)
        ruling.refuse(
            published & fresh & (measured_bps + asked_bps > capacity_bps),
            Cause.MEASURED,
            lambda p: (
                f"{wants}, {format_rate(float(measured_bps[p]))} of {format_rate(int(capacity_bps[p]))} measured in use"
            ),
        )


def _slower_links(direction: int, candidates: Candidates, circumstances: Circumstances, policy: Policy) -> Mask | None:
    """Where an agent told, lately, that the link carries less than the node publishes; None where that is nowhere."""
    limit_bps, limit_at_s, fresh_s = candidates.limit_bps, candidates.limit_at_s, policy.filter.limit_fresh_s
    if limit_bps is None or limit_at_s is None or fresh_s <= 0:
        return None
    # Read as unsigned, NO_CAPACITY is above every number: a limit that is not known is never the lower one, and one
    # that is known always is where nothing is published.
    capacity_bps = candidates.allocatable[NETWORK + direction]
    slower: Mask = limit_bps[direction].view(np.uint64) < capacity_bps.view(np.uint64)
    slower &= candidates.known
    if not slower.any():
        return None
    slower &= _is_fresh(limit_at_s, circumstances.now_s, fresh_s)
    return slower


def _is_fresh(at_s: NDArray[np.float64], now_s: float, fresh_s: float) -> Mask:
    """A time far ahead is a wrong clock, and would stay fresh for as long as it is ahead."""
    fresh: Mask = np.abs(now_s - at_s) <= fresh_s
    return fresh


def _overcommitted(capacity_bps: NDArray[np.int64], factor: float) -> NDArray[np.int64]:
    """Whole bit/s; a last bit lost in rounding (100 x 1.15 = 114.99999999999999) does not cost one."""
    limit_bps: NDArray[np.int64] = np.floor(capacity_bps * factor * (1 + 2**-50)).astype(np.int64)
    return limit_bps


def _judge_rewards(ruling: _Ruling, circumstances: Circumstances, policy: Policy) -> None:
    """Quarantine, which never takes the last node that is left."""
    mean = circumstances.reward if circumstances.mean is None else circumstances.mean
    evidence, below = circumstances.evidence, policy.filter.quarantine_below
    if below <= 0 or mean is None or evidence is None:
        return
    bad = (mean < below) & (evidence >= policy.filter.quarantine_evidence)
    if (ruling.fits & ~bad).any():
        ruling.refuse(
            bad,
            Cause.QUARANTINE,
            lambda p: f"reward: {mean[p]:.2f} for this pod type is below {below:g} ({evidence[p]:.3g} runs)",
        )


def suspect_units(pod: PodSummary, candidates: Candidates, policy: Policy) -> str | None:
    """Says so where an SLO is nearly always a unit mistake: far below, or above, the capacity of every candidate."""
    for direction, asked_bps in enumerate(pod.requests.network_bps):
        if not asked_bps:
            continue
        capacity_bps = candidates.allocatable[NETWORK + direction]
        capacity_bps = capacity_bps[candidates.known & (capacity_bps > 0)]
        if not capacity_bps.size:
            continue
        smallest, largest = int(capacity_bps.min()), int(capacity_bps.max())
        name = policy.network[direction].direction
        if asked_bps < policy.filter.suspect_fraction * smallest:
            return (
                f"{name} SLO is {asked_bps} bit/s, less than {policy.filter.suspect_fraction:g} of every node's "
                f"capacity (smallest {format_rate(smallest)}): SLOs are in bit/s, 100 Mbit/s is 100M"
            )
        if asked_bps > largest:
            return (
                f"{name} SLO is {format_rate(asked_bps)} bit/s, more than any node has "
                f"(largest {format_rate(largest)}): SLOs are in bit/s, 100 Mbit/s is 100M"
            )
    return None
