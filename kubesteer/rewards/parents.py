"""What is believed of a pair before its own runs count: its parents, the type on other nodes and the node with others.

    prior of (type, node) = mean of the type on the other nodes + effect of the node on the other types, kept in 0..1
    prior of an untried type = global mean + effect of the node on all types

Everything counts pairs and not runs: a pair with evidence e weighs s = e / (e + 2), at most 1, so that one pair that
failed a thousand times says what one pair can say. Each level is shrunk toward the one above it by two pairs' worth:

    global mean = (2 prior_mean + sum of s m / S) / (2 + sum of s / S)          over all pairs
    type mean   = (2 global mean + sum of s m) / (2 + sum of s)                 over the type's nodes
    node effect = sum of s (m - type mean) / (2 + sum of s)                     over the node's types

S is the sum of s over the types of the pair's node, at least 1: in the global mean a node's types count as one pair
together, however many they are. Types are labels that anybody may invent, and a node with a hundred of them is still
one witness of what becomes of pods elsewhere.

Only arithmetic over rows, one pod type each. A fit is made row by row, so that its caller may do other things between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF_TRUSTED_RUNS = 2.0
"""A pair of so much evidence weighs one half."""
GLOBAL_PAIRS = 2.0
"""So many pairs of prior_mean stand beside all pairs."""
NODE_PAIRS = 1.0
"""The types of one node weigh so much together in the global mean, at most."""
TYPE_NODES = 2.0
"""So many nodes of the global mean stand beside a type's nodes."""
NODE_TYPES = 2.0
"""So many types without an effect stand beside a node's types."""


@dataclass(frozen=True, slots=True)
class RowPrior:
    """Of one type: its prior on each node, and on a node that nothing is known of."""

    on_nodes: Floats
    elsewhere: float


class _Capped(NamedTuple):
    """Weighted means and weights of nodes, and both over all nodes."""

    node_sum: Floats
    node_weight: Floats
    sum: float
    weight: float


class Fit:
    """Fits parents to rows of decayed records: count each row, then relate each, then ask for each prior.

    Rows are numbered as they were counted; a slot without a record has evidence 0.
    """

    def __init__(self, slots: int, prior_mean: float) -> None:
        self._prior_mean = prior_mean
        self._weights: list[Floats] = []
        self._weighted: list[Floats] = []
        self._row_weight: list[float] = []
        self._row_sum: list[float] = []
        self._global: _Capped | None = None
        self._node_weighted: Floats = np.zeros(slots)
        self._node_weight: Floats = np.zeros(slots)
        self._node_sum: Floats = np.zeros(slots)

    def count(self, mean: Floats, evidence: Floats) -> None:
        """Takes the next row."""
        weights = evidence / (evidence + HALF_TRUSTED_RUNS)
        weighted = weights * mean
        self._weights.append(weights)
        self._weighted.append(weighted)
        self._row_weight.append(float(weights.sum()))
        self._row_sum.append(float(weighted.sum()))
        self._node_weight += weights
        self._node_weighted += weighted

    def relate(self, row: int) -> None:
        """Holds a row against its type mean, once every row was counted."""
        self._node_sum += self._effects(row)

    def prior(self, row: int) -> RowPrior:
        """The prior of a row's pairs, once every row was related. A pair's own record is left out of its prior."""
        weights, weighted = self._weights[row], self._weighted[row]
        effect = self._node_sum - self._effects(row)
        node_weight = self._node_weight - weights
        effect /= NODE_TYPES + node_weight
        whole, rest = self._pairs(), np.maximum(node_weight, NODE_PAIRS)
        global_mean = self._node_weighted - weighted
        global_mean /= rest
        global_mean += GLOBAL_PAIRS * self._prior_mean + whole.sum - whole.node_sum
        global_mean /= GLOBAL_PAIRS + whole.weight - whole.node_weight + node_weight / rest
        prior = TYPE_NODES * global_mean + self._row_sum[row] - weighted
        prior /= TYPE_NODES + self._row_weight[row] - weights
        prior += effect
        return RowPrior(np.clip(prior, 0.0, 1.0, out=prior), self._type_mean(row))

    def unseen(self) -> RowPrior:
        """The prior of an untried type, once every row was related."""
        mean = self._global_mean()
        effect = self._node_sum / (NODE_TYPES + self._node_weight)
        return RowPrior(np.clip(mean + effect, 0.0, 1.0), mean)

    def _effects(self, row: int) -> Floats:
        """By how much the node did better than the type does, weighted."""
        effects: Floats = self._weighted[row] - self._weights[row] * self._type_mean(row)
        return effects

    def _type_mean(self, row: int) -> float:
        return (TYPE_NODES * self._global_mean() + self._row_sum[row]) / (TYPE_NODES + self._row_weight[row])

    def _global_mean(self) -> float:
        whole = self._pairs()
        return (GLOBAL_PAIRS * self._prior_mean + whole.sum) / (GLOBAL_PAIRS + whole.weight)

    def _pairs(self) -> _Capped:
        """All pairs, each node's cut to what it may weigh; once every row was counted."""
        if self._global is None:
            most = np.maximum(self._node_weight, NODE_PAIRS)
            node_sum, node_weight = self._node_weighted / most, self._node_weight / most
            self._global = _Capped(node_sum, node_weight, float(node_sum.sum()), float(node_weight.sum()))
        return self._global
