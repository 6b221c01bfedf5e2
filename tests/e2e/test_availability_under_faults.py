"""Two replicas behind a real balancer, and everything around them fails in turn: the short form of `make availability`.

No pod is lost, every pod is bound soon after, no node is ever above its capacity by extended resource, and each replica
ends with the API server's record of pods and etcd's of rewards. Where nothing between scheduler and extender fails, no
call is lost.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.availability import balancer
from tests.availability.faults import FAULTS
from tests.availability.running import measure
from tests.availability.stand import Stand

from .fixtures import binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.availability.load import Load
    from tools.cluster.build import Binaries

__all__ = ["binaries"]

pytestmark = pytest.mark.availability

NODES, WAITING, FULL, DRAIN_S = 30, 60, 0.8, 3
QUIET_S, FAULT_S, KILLING_S = 3.0, 7.0, 15.0
SHORT = [name for name in FAULTS if name != "rolled-out"]
"""A rotation of certificates ends with a roll-out."""


@pytest.fixture(scope="module")
def loaded(binaries: Binaries) -> Iterator[tuple[Stand, Load]]:
    """One installation for all faults; the load rests between them."""
    if reason := balancer.why_not():
        if os.environ.get("KUBESTEER_REAL_NODES") == "required":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with (
        Stand(binaries, nodes=NODES, drain_s=DRAIN_S) as stand,
        stand.load(waiting=WAITING, full=FULL) as load,
    ):
        yield stand, load


@pytest.mark.parametrize("name", SHORT)
def test_no_pod_is_lost_and_no_node_is_above_its_capacity_when(
    name: str, loaded: tuple[Stand, Load], capsys: pytest.CaptureFixture[str]
) -> None:
    stand, load = loaded
    fault_s = KILLING_S if name == "replicas-killed" else FAULT_S
    outcome = measure(stand, load, FAULTS[name], quiet_s=QUIET_S, fault_s=fault_s)
    with capsys.disabled():
        print(f"\n{outcome.title}: {outcome.per_s:.0f} of {outcome.quiet_per_s:.0f} pods/s;", end=" ")
        print(f"{outcome.unfiltered} pods not filtered, {outcome.unscored} not scored; {outcome.told}")
    assert outcome.wrong == ()
