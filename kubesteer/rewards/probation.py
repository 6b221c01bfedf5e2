"""The choice rule probation: a pair believed bad is shut for a while, then tried by one pod at a time.

Nothing counts but what every replica knows: the records, the priors, who is on the nodes, and the time. So all replicas
answer alike, and a restart forgets nothing. Arithmetic over arrays; no clock, no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.standing import Standing
from kubesteer.rewards.sampling import uniforms

if TYPE_CHECKING:
    from kubesteer.rewards.table import Beliefs, Records

Floats = NDArray[np.float64]

JITTER = 0.25
"""A pair is shut for shut_s, up to so much of it less or more: nodes that failed together are not tried together."""
_SAME_SECOND_S = 1.0
"""The API tells when a pod came in whole seconds, the record's time is finer."""


@dataclass(frozen=True, slots=True)
class Probation:
    """The rule's measures. Raises InvalidSettings when a field breaks its rule.

    short_by: a pair is believed bad when its belief, as of its last outcome, is this much below its prior. shut_s: for
    how long it is shut then. seed: of the jitter.
    """

    short_by: float = 0.1
    shut_s: float = 13 * 3600.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.short_by < 1:
            raise InvalidSettings(f"short_by {self.short_by!r} is not above 0 and below 1")
        if not 0 <= self.shut_s < np.inf:
            raise InvalidSettings(f"shut_s {self.shut_s!r} is not a finite number of 0 or more")


class Standings(NamedTuple):
    """Where each pair stands."""

    state: NDArray[np.int8]
    """A Standing."""
    shut_until_s: Floats
    """Unix seconds; -inf unless it is believed bad."""
    reward: Floats
    """What the score goes by, 0..1."""


def believed_bad(beliefs: Beliefs, records: Records, prior_evidence: float, short_by: float) -> NDArray[np.bool_]:
    """Whether each pair failed, and did so much worse than its prior; evidence counts as of the record, undecayed.

    Runs that were slow and no more lower the mean, and shut nothing.
    Decay would let a bad node slip back unnoticed, and many pods with it. Time decides when it is tried instead.
    """
    short = (beliefs.prior - records.mean) * records.evidence
    bad: NDArray[np.bool_] = short > short_by * (prior_evidence + records.evidence)
    bad &= records.failed_s > 0
    return bad


def shut_until(records: Records, rule: Probation, nodes: NDArray[np.uint64], pod_type: int) -> Floats:
    """When each pair may be tried again, had it to be shut: shut_s after it failed last, give or take the jitter.

    nodes, pod_type: hashes of the names.
    """
    failed_s = np.maximum(records.failed_s, 0.0)
    lots = uniforms(nodes ^ failed_s.astype(np.uint64), decision=pod_type, seed=rule.seed)
    until_s: Floats = failed_s + rule.shut_s * (1.0 + JITTER * (2.0 * lots - 1.0))
    return until_s


def cut_short(shut_until_s: Floats, records: Records, repaired_s: Floats) -> Floats:
    """A sign of repair after the last failure ends the time at once; repaired_s is -inf where there was none."""
    ended: Floats = np.where(repaired_s > records.failed_s, np.minimum(shut_until_s, repaired_s), shut_until_s)
    return ended


def all_open(beliefs: Beliefs) -> Standings:
    """Where nothing is held against any pair."""
    count = len(beliefs.mean)
    return Standings(np.zeros(count, np.int8), np.full(count, -np.inf), beliefs.mean)


def standings(
    beliefs: Beliefs,
    records: Records,
    bad: NDArray[np.bool_],
    shut_until_s: Floats,
    newest_pod_s: Floats,
    now_s: float,
) -> Standings:
    """What each pair may get now.

    One that is shut or tried counts 0, so that it gets a pod only where nothing better takes it. One whose time is over
    counts as much as the best, on probation or open again: what is left of its old failures would keep pods away from a
    node that was repaired. Any other by its mean. newest_pod_s: when the newest of the type's pods came to the
    node, -inf where none did lately: while the record tells of nothing since, that pod is the one that tries.
    """
    is_over = now_s >= shut_until_s
    is_tried = newest_pod_s + _SAME_SECOND_S > records.time_s
    held = np.where(is_over, np.where(is_tried, Standing.TRIED, Standing.ON_PROBATION), Standing.SHUT)
    state = np.where(bad, held, Standing.OPEN).astype(np.int8)
    best = np.maximum(beliefs.prior, beliefs.mean.max(where=~bad, initial=0.0))
    forgiven = np.where(is_over & (records.failed_s > 0), best, beliefs.mean)
    reward = np.where((state == Standing.SHUT) | (state == Standing.TRIED), 0.0, forgiven)
    return Standings(state, np.where(bad, shut_until_s, -np.inf), reward)
