"""API servers of both minors that know the kinds that operators bring, for what manifests/ and the chart write of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tools.cluster.client import ApiError
from tools.cluster.controlplane import CONTROLLER_MANAGER, ControlPlane
from tools.cluster.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.cluster.build import Binaries

OPERATORS = {
    "monitoring.coreos.com": ["ServiceMonitor", "PodMonitor", "PrometheusRule"],
    "cert-manager.io": ["Certificate", "Issuer"],
}
"""Kinds that operators bring; the definitions made here take any fields."""


@pytest.fixture(scope="module", params=["1.37", "1.34"])
def empty_bed(request: pytest.FixtureRequest, binaries: Binaries) -> Iterator[ControlPlane]:
    """An API server of each minor with the operators' definitions, and nothing else."""
    older = request.param == "1.34"
    found = request.getfixturevalue("older_binaries") if older else binaries
    with ControlPlane(found, controller_manager=not older, older=older) as running:
        for group, kinds in OPERATORS.items():
            for kind in kinds:
                running.client.create(_definition(group, kind))
        for group in OPERATORS:
            eventually(lambda group=group: _serves(running, group), within_s=20, what=group)  # type: ignore[misc]
        yield running


def is_older(bed: ControlPlane) -> bool:
    """It has the older minor's API server and scheduler, and no controller manager."""
    return CONTROLLER_MANAGER not in bed.parts


def _definition(group: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    name = kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": f"{name}s", "singular": name},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _serves(bed: ControlPlane, group: str) -> bool:
    try:
        kinds = {entry["kind"] for entry in bed.client.request("GET", f"/apis/{group}/v1")["resources"]}
    except ApiError:
        return False
    return kinds >= set(OPERATORS[group])
