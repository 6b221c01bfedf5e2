"""Samples of Beta beliefs: their distribution, that they depend on nothing but pod, node and seed, and their cost."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from kubesteer.rewards.sampling import beta_samples

NODES = np.arange(1000, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)


def samples(a: float, b: float, *, decisions: int = 20, seed: int = 0) -> np.ndarray:
    """Of Beta(a, b): one a node and decision."""
    mean, evidence = np.full(len(NODES), a / (a + b)), np.full(len(NODES), a + b)
    return np.concatenate([beta_samples(mean, evidence, NODES, decision=d, seed=seed) for d in range(decisions)])


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1), (4, 2), (0.5, 0.5), (0.05, 1), (1, 30), (0.2, 7), (50, 3), (2000, 500), (0.01, 0.01)]
)
def test_mean_and_variance_are_those_of_the_beta_distribution(a: float, b: float) -> None:
    """mean a / (a + b), variance ab / ((a + b)^2 (a + b + 1)); 20,000 samples: four standard errors."""
    drawn = samples(a, b)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert drawn.mean() == pytest.approx(a / (a + b), abs=4 * math.sqrt(variance / len(drawn)))
    fourth = ((drawn - drawn.mean()) ** 4).mean()
    assert drawn.var() == pytest.approx(variance, abs=4 * math.sqrt((fourth - variance**2) / len(drawn)))
    assert ((drawn >= 0) & (drawn <= 1)).all()


def whole(a: int, b: int) -> Callable[[float], float]:
    """The distribution function of Beta(a, b) for whole a and b: a or more successes of a + b - 1 with chance x."""
    n = a + b - 1
    return lambda x: sum(math.comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(a, n + 1))


@pytest.mark.parametrize(
    ("a", "b", "below"),
    [
        pytest.param(1, 1, lambda x: x, id="uniform"),
        pytest.param(3, 1, lambda x: x**3, id="x^a where b is 1"),
        pytest.param(0.3, 1, lambda x: x**0.3, id="x^a, a below 1"),
        pytest.param(0.5, 0.5, lambda x: 2 / math.pi * math.asin(math.sqrt(x)), id="arcsine"),
        pytest.param(2, 5, whole(2, 5), id="binomial sum 2, 5"),
        pytest.param(9, 3, whole(9, 3), id="binomial sum 9, 3"),
    ],
)
def test_the_whole_distribution_is_right(a: float, b: float, below: Callable[[float], float]) -> None:
    """Kolmogorov and Smirnov: of 20,000 samples the largest gap is below 1.95 / sqrt(20,000) = 0.0138, 999 in 1,000."""
    drawn = np.sort(samples(a, b))
    expected = np.array([below(float(x)) for x in drawn])
    steps = np.arange(len(drawn) + 1) / len(drawn)
    gap = max(np.abs(expected - steps[:-1]).max(), np.abs(expected - steps[1:]).max())
    assert gap < 1.95 / math.sqrt(len(drawn))


def test_the_same_question_has_the_same_answer_and_another_pod_or_seed_another() -> None:
    first = samples(3, 2, decisions=2)
    assert np.array_equal(first, samples(3, 2, decisions=2))
    assert not np.isclose(first[:1000], first[1000:]).any()
    assert not np.isclose(first, samples(3, 2, decisions=2, seed=1)).any()


def test_a_nodes_sample_is_the_same_whoever_is_asked_about_with_it_and_in_whatever_order() -> None:
    rng = np.random.default_rng(7)
    mean, evidence = rng.random(1000), 0.1 + 20 * rng.random(1000)
    everybody = beta_samples(mean, evidence, NODES, decision=42)
    for _ in range(20):
        some = rng.permutation(1000)[: rng.integers(1, 1000)]
        drawn = beta_samples(mean[some], evidence[some], NODES[some], decision=42)
        assert drawn == pytest.approx(everybody[some], rel=1e-12)


def test_nodes_and_decisions_are_independent_of_each_other() -> None:
    """Correlation of 1,000 pairs: below 0.12 is four standard errors of 1 / sqrt(1,000)."""
    by_decision = samples(1, 1, decisions=20).reshape(20, 1000)
    between = np.corrcoef(by_decision) - np.eye(20)
    assert np.abs(between).max() < 0.12 * 1.2
    neighbours = np.corrcoef(by_decision[:, :-1].ravel(), by_decision[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 4 / math.sqrt(by_decision.size)


def test_more_evidence_moves_the_same_sample_towards_the_mean() -> None:
    spreads = [np.abs(samples(0.8 * e, 0.2 * e, decisions=1) - 0.8).mean() for e in (2, 20, 200, 2000)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.01


@pytest.mark.parametrize(("mean", "certain"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_mean_of_0_or_1_is_certain(mean: float, certain: float) -> None:
    drawn = beta_samples(np.full(1000, mean), np.full(1000, 3.0), NODES, decision=1)
    assert (drawn == certain).all()


def test_the_least_evidence_there_can_be_still_gives_a_sample_of_0_or_1() -> None:
    """Beta(1e-12, 1e-12) is a coin."""
    drawn = samples(1e-12, 1e-12)
    assert set(np.round(drawn, 6)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)


def test_no_nodes_have_no_samples() -> None:
    assert beta_samples(np.zeros(0), np.zeros(0), np.zeros(0, np.uint64), decision=1).shape == (0,)
