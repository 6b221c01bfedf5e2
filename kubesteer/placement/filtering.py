"""Which candidate nodes a pod may go to, and why not. One vector comparison a resource; words are made elsewhere.

No scores, no clock: the time comes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kubesteer.model.cluster import NO_CAPACITY
from kubesteer.model.quantity import MOST, format_rate
from kubesteer.placement.table import NETWORK, is_slower
from kubesteer.placement.verdicts import Cause, Verdicts, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kubesteer.model.cluster import PodSummary
    from kubesteer.placement.candidates import Candidates, Circumstances
    from kubesteer.placement.policy import Policy
    from kubesteer.placement.table import NodeTable

    Mask = NDArray[np.bool_]
    Amounts = NDArray[np.int64]

_FITS = int(Cause.FITS)
"""numpy compares with a plain number ten times faster."""
_MOST_SUSPECT_BPS = 100_000
"""An SLO of more is no unit mistake, however large the nodes are."""


def all_fit(
    pod: PodSummary,
    table: NodeTable,
    rows: NDArray[np.intp],
    charged: Amounts | None,
    unseen_bps: Amounts | None,
    policy: Policy,
) -> bool:
    """Whether `judge` would let every one of these rows pass, found by little reading; False where it is not sure."""
    rules = policy.filter
    if pod.fault is not None or table.slow_rows or rules.measured_fresh_s > 0 or rules.quarantine_below > 0:
        return False
    if not rows.size or not table.open.take(rows).all():
        return False
    for direction, asked_bps in enumerate(pod.requests.network_bps):
        if not asked_bps:
            continue
        room_bps = table.room_bps[direction].take(rows)
        if pod.requests.by_annotation[direction]:
            if policy.network[direction].overcommit != 1:
                return False
            if charged is not None:
                room_bps -= charged[NETWORK + direction]
        elif unseen_bps is not None:
            room_bps -= unseen_bps[direction]
        if int(room_bps.min()) < asked_bps:
            return False
    return True


def judge(pod: PodSummary, candidates: Candidates, circumstances: Circumstances, policy: Policy) -> Verdicts:
    """A verdict for every candidate."""
    ruling = _Ruling(len(candidates))
    known = candidates.known
    if pod.fault is not None:
        ruling.refuse(np.ones(len(candidates), np.bool_), Cause.POD_FAULT)
    if not (known & candidates.usable & candidates.ready).all():
        if circumstances.synced:
            ruling.refuse(~known, Cause.UNKNOWN_NODE)
        ruling.refuse(known & ~candidates.usable, Cause.NODE_FAULT)
        if not pod.tolerates_not_ready:
            ruling.refuse(known & ~candidates.ready, Cause.NOT_READY)
    for direction, asked_bps in enumerate(pod.requests.network_bps):
        if asked_bps and ruling.leaves_any():
            _judge_direction(ruling, direction, pod, candidates, circumstances, policy)
    _judge_rewards(ruling, circumstances, policy)
    return Verdicts(
        ruling.cause,
        ruling.direction,
        ruling.left,
        ruling.of,
        wanted=_wanted(pod, policy),
        below=policy.filter.quarantine_below,
        pod_fault=pod.fault,
        node_faults=candidates.faults,
    )


def none_refused(count: int) -> Verdicts:
    """The verdicts of candidates that all fit."""
    none, nothing = np.zeros(count, np.uint8), np.zeros(count)
    return Verdicts(none, none, nothing, nothing)


def _wanted(pod: PodSummary, policy: Policy) -> Sequence[Wanted]:
    return [
        Wanted(resource.direction, bps, resource.resource_names)
        for resource, bps in zip(policy.network, pod.requests.network_bps, strict=False)
    ]


class _Ruling:
    """Collects refusals; the first cause that hits a node is the one that counts."""

    def __init__(self, count: int) -> None:
        self.cause = np.zeros(count, np.uint8)
        self.direction = np.zeros(count, np.uint8)
        self.left = np.zeros(count)
        self.of = np.zeros(count)

    def leaves_any(self) -> bool:
        """Some candidate is not refused yet."""
        return not self.cause.all()

    def refuse(
        self,
        where: Mask,
        cause: Cause,
        direction: int = 0,
        left: NDArray[np.int64] | NDArray[np.float64] | None = None,
        of: NDArray[np.int64] | NDArray[np.float64] | None = None,
    ) -> None:
        newly = where & (self.cause == _FITS)
        if not newly.any():
            return
        self.cause[newly] = int(cause)
        self.direction[newly] = direction
        if left is not None:
            self.left[newly] = left[newly]
        if of is not None:
            self.of[newly] = of[newly]


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
    elif not by_annotation and circumstances.unseen_bps is not None:
        promised_bps = promised_bps + circumstances.unseen_bps[direction]
    limit_bps = _overcommitted(capacity_bps, resource.overcommit) if by_annotation else capacity_bps
    published = (capacity_bps != NO_CAPACITY) & candidates.known
    has_room = promised_bps + asked_bps <= limit_bps
    if not (has_room & published).all():
        if not published.all() and (not by_annotation or policy.filter.refuse_unknown_capacity):
            ruling.refuse(~published & candidates.known, Cause.NO_CAPACITY, direction)
        too_small = asked_bps > limit_bps
        if too_small.any():
            ruling.refuse(published & too_small, Cause.TOO_SMALL, direction, of=limit_bps)
        left_bps = np.maximum(limit_bps - promised_bps, 0)
        ruling.refuse(published & ~has_room, Cause.INSUFFICIENT, direction, left=left_bps, of=limit_bps)
    slower = _slower_links(direction, candidates, circumstances, policy)
    if slower is not None and candidates.limit_bps is not None:
        capacity_bps = np.where(slower, candidates.limit_bps[direction], capacity_bps)
        published = published | slower
        carried_bps = _overcommitted(capacity_bps, resource.overcommit) if by_annotation else capacity_bps
        left_bps = np.maximum(carried_bps - promised_bps, 0)
        ruling.refuse(slower & (asked_bps > carried_bps), Cause.LINK, direction, of=carried_bps)
        ruling.refuse(
            slower & (promised_bps + asked_bps > carried_bps),
            Cause.LINK_INSUFFICIENT,
            direction,
            left=left_bps,
            of=carried_bps,
        )
    if policy.filter.measured_fresh_s > 0:
        measured_bps = candidates.measured_bps[direction]
        fresh = _is_fresh(candidates.measured_at_s, circumstances.now_s, policy.filter.measured_fresh_s)
        too_much = published & fresh & (measured_bps + asked_bps > capacity_bps)
        ruling.refuse(too_much, Cause.MEASURED, direction, left=measured_bps, of=capacity_bps)


def _slower_links(direction: int, candidates: Candidates, circumstances: Circumstances, policy: Policy) -> Mask | None:
    """Where an agent told, lately, that the link carries less than the node publishes; None where that is nowhere."""
    limit_bps, limit_at_s, fresh_s = candidates.limit_bps, candidates.limit_at_s, policy.filter.limit_fresh_s
    if limit_bps is None or limit_at_s is None or fresh_s <= 0:
        return None
    slower = is_slower(limit_bps[direction], candidates.allocatable[NETWORK + direction])
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
    limit_bps: NDArray[np.int64] = np.floor(np.minimum(capacity_bps * factor * (1 + 2**-50), MOST)).astype(np.int64)
    return limit_bps


def _judge_rewards(ruling: _Ruling, circumstances: Circumstances, policy: Policy) -> None:
    """Quarantine, which never takes the last node that is left."""
    mean = circumstances.reward if circumstances.mean is None else circumstances.mean
    evidence, below = circumstances.evidence, policy.filter.quarantine_below
    if below <= 0 or mean is None or evidence is None:
        return
    bad = (mean < below) & (evidence >= policy.filter.quarantine_evidence)
    if ((ruling.cause == _FITS) & ~bad).any():
        ruling.refuse(bad, Cause.QUARANTINE, left=mean, of=evidence)


def suspect_units(pod: PodSummary, capacity_range_bps: Sequence[tuple[int, int] | None], policy: Policy) -> str | None:
    """Says so where an SLO is nearly always a unit mistake: far below, or above, the capacity of every node."""
    for direction, capacities in enumerate(capacity_range_bps):
        asked_bps = pod.requests.network_bps[direction]
        if not asked_bps or capacities is None:
            continue
        smallest, largest = capacities
        name = policy.network[direction].direction
        if asked_bps < min(policy.filter.suspect_fraction * smallest, _MOST_SUSPECT_BPS):
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
