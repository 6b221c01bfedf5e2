"""Scenarios 1 and 2 once more, on the API server and kube-scheduler of an older minor.

The tests are the same; only the fixture that says which minor runs is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .scenario import bed, running_bed, start_scheduler
from .test_scenario_1_upstream import (
    test_upstreams_pod_goes_to_machine3_without_kubesteer,
    test_upstreams_pod_goes_where_the_three_extenders_together_want_it,
    test_upstreams_pod_waits_where_kubesteer_refuses_what_the_others_allow,
)
from .test_scenario_2_slo_burst import (
    test_a_burst_of_a_thousand_slos_never_puts_a_node_above_its_nic,
    test_kubectl_describe_names_the_numbers_of_an_slo_that_does_not_fit,
    test_the_stock_scheduler_refuses_an_extended_resource_before_kubesteer_is_asked,
)

if TYPE_CHECKING:
    from tools.cluster.controlplane import ControlPlane

__all__ = [
    "bed",
    "running_bed",
    "start_scheduler",
    "test_a_burst_of_a_thousand_slos_never_puts_a_node_above_its_nic",
    "test_kubectl_describe_names_the_numbers_of_an_slo_that_does_not_fit",
    "test_the_stock_scheduler_refuses_an_extended_resource_before_kubesteer_is_asked",
    "test_upstreams_pod_goes_to_machine3_without_kubesteer",
    "test_upstreams_pod_goes_where_the_three_extenders_together_want_it",
    "test_upstreams_pod_waits_where_kubesteer_refuses_what_the_others_allow",
]

pytestmark = pytest.mark.older


@pytest.fixture(scope="module")
def older() -> bool:
    return True


def test_the_scenarios_of_this_module_run_on_1_34(bed: ControlPlane) -> None:
    assert bed.client.request("GET", "/version")["minor"] == "34"
