"""The cluster in memory does what the real one does; tests/e2e/test_deploy.py holds kubectl to the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .cluster_behaviour import BEHAVIOUR, kinds_that_may_not_be_listed_are_told_beside_the_others
from .memory import MemoryCluster

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("behaviour", BEHAVIOUR, ids=lambda each: each.__name__)
def test_it_behaves_as_the_real_one(behaviour: Callable[[MemoryCluster, str], None]) -> None:
    behaviour(MemoryCluster(), "somewhere")


def test_it_tells_what_may_not_be_listed_as_the_real_one() -> None:
    kinds_that_may_not_be_listed_are_told_beside_the_others(MemoryCluster(unseen=["secrets"]))
