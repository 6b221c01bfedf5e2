"""What an operator chooses about placement, as values. Parsed elsewhere; no defaults are hidden in the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kubesteer.model.network import DEFAULT_NETWORK, NetworkResource
from kubesteer.model.overrides import Mode, Override

if TYPE_CHECKING:
    from kubesteer.model.cluster import PodSummary


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """Which nodes are refused.

    refuse_unknown_capacity: refuse an SLO asked for by annotation on nodes that publish no capacity.
    measured_fresh_s: measured traffic younger than this counts; 0 switches it off.
    limit_fresh_s: a link limit that the node's agent told and that is younger than this counts beside the published
        capacity; 0 switches it off.
    quarantine_below: pod types whose reward on a node is below this, with at least quarantine_evidence runs' worth of
        evidence, are kept off it; 0 switches it off.
    suspect_fraction: an SLO below this part of every node's capacity, 100k at most, is taken for a unit mistake.
    """

    refuse_unknown_capacity: bool = False
    measured_fresh_s: float = 0.0
    limit_fresh_s: float = 300.0
    quarantine_below: float = 0.0
    quarantine_evidence: float = 3.0
    suspect_fraction: float = 1e-4


@dataclass(frozen=True, slots=True)
class ScorePolicy:
    """How nodes are ordered.

    balance_rule: a name in balance.RULES. The two weights are relative to each other.
    least_spread: differences of the weighted score (0..1) smaller than this in all are not stretched to 0..10.
    """

    balance_rule: str = "level"
    balance_weight: float = 1.0
    reward_weight: float = 0.7
    least_spread: float = 0.05


@dataclass(frozen=True, slots=True)
class Policy:
    """All that is chosen about placement. namespaces: what is chosen otherwise for their pods."""

    network: tuple[NetworkResource, ...] = DEFAULT_NETWORK
    filter: FilterPolicy = FilterPolicy()
    score: ScorePolicy = ScorePolicy()
    mode: Mode = Mode.ENFORCE
    namespaces: Mapping[str, Override] = field(default_factory=dict)

    def of(self, pod: PodSummary) -> Policy:
        """The policy for one pod: its annotations come first, then its namespace, then what holds for all."""
        if pod.override is None and not self.namespaces:
            return self
        policy = self
        for override in (self.namespaces.get(pod.namespace), pod.override):
            if override is not None and override.mode is not None:
                policy = replace(policy, mode=override.mode)
            if override is not None and override.reward_weight is not None:
                policy = replace(policy, score=replace(policy.score, reward_weight=override.reward_weight))
        return policy
