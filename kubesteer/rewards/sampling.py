"""Random numbers and samples of beliefs that depend on nothing but what they are for: a decision, a node and a seed.

Chance is counter-based: each number is a hash of (seed, decision, node, which number), so a node's sample is the same
whichever nodes are asked about with it, in whatever order, and asked again it is the same again. No generator, no
state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_TO_52_BITS, _UNIT = np.uint64(12), 2.0**-52
_64_BITS = (1 << 64) - 1
_OTHER = np.uint64(0xD1B54A32D192ED03)
"""Sets the stream of a Beta's second gamma apart from the first's."""
_BOOST, _RADIUS, _ANGLE, _ACCEPT = range(4)
"""What a number is for; each round of each gamma takes its own three, and the boost is drawn once."""
_NUMBERS_A_ROUND = 4


def beta_samples(mean: Floats, evidence: Floats, nodes: Hashes, *, decision: int, seed: int = 0) -> Floats:
    """One sample a node, 0..1, of Beta(mean x evidence, (1 - mean) x evidence).

    mean: 0..1; evidence: above 0; nodes: a hash of each node's name; decision: a hash of what is decided. A mean of 0
    or 1 is certain.
    """
    starts = _streams(nodes, decision, seed)
    shapes = np.concatenate((mean * evidence, (1.0 - mean) * evidence))
    logs = _log_gammas(shapes, np.concatenate((starts, _mixed(starts + _OTHER))))
    # x / (x + y), of logarithms: a small shape's x and y may both be too small for a float.
    with np.errstate(over="ignore", divide="ignore"):
        samples: Floats = 1.0 / (1.0 + np.exp(logs[len(mean) :] - logs[: len(mean)]))
    return samples


def uniforms(nodes: Hashes, *, decision: int, seed: int = 0) -> Floats:
    """One number a node, above 0 and below 1, by the same hashes."""
    return _uniform(_streams(nodes, decision, seed), 0)


def _log_gammas(shapes: Floats, streams: Hashes) -> Floats:
    """Logarithms of Gamma(shape, 1) samples, by Marsaglia and Tsang: rounds of rejection, each over who is left.

    A shape below 1 is sampled as shape + 1 and multiplied by u^(1 / shape). About 19 of 20 are done after one round.
    """
    small = shapes < 1.0
    d = np.where(small, shapes + 1.0, shapes) - 1.0 / 3.0
    logs = np.empty(len(shapes))
    left, number = np.arange(len(shapes)), 0
    while left.size:
        stream, d_left = streams[left], d[left]
        normal = np.sqrt(-2.0 * np.log(_uniform(stream, number + _RADIUS)))
        normal *= np.cos(2.0 * np.pi * _uniform(stream, number + _ANGLE))
        root = 1.0 + normal / np.sqrt(9.0 * d_left)
        above = root > 0.0
        log_v = 3.0 * np.log(np.where(above, root, 1.0))
        bound = 0.5 * normal * normal + d_left * (1.0 - np.exp(log_v) + log_v)
        accepted = above & (np.log(_uniform(stream, number + _ACCEPT)) < bound)
        logs[left[accepted]] = np.log(d_left[accepted]) + log_v[accepted]
        left = left[~accepted]
        number += _NUMBERS_A_ROUND
    if small.any():
        with np.errstate(divide="ignore", over="ignore"):
            logs[small] += np.log(_uniform(streams[small], _BOOST)) / shapes[small]
    return logs


def _streams(nodes: Hashes, decision: int, seed: int) -> Hashes:
    """Where the numbers of each node begin."""
    start = _mixed(np.array([seed & _64_BITS], np.uint64)) ^ np.uint64(decision & _64_BITS)
    return _mixed(_mixed(start) ^ _mixed(nodes))


def _uniform(streams: Hashes, number: int) -> Floats:
    """The number-th uniform number of each stream, above 0 and below 1."""
    bits = _mixed(streams + np.uint64((number + 1) * _STEP & _64_BITS)) >> _TO_52_BITS
    uniform: Floats = (bits.astype(np.float64) + 0.5) * _UNIT
    return uniform


def _mixed(values: Hashes) -> Hashes:
    """Every bit of the answer depends on every bit of the value (the finaliser of SplitMix64)."""
    values = (values ^ (values >> _SHIFT_1)) * _MIX_1
    values = (values ^ (values >> _SHIFT_2)) * _MIX_2
    return values ^ (values >> _SHIFT_3)
