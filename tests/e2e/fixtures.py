"""Pytest fixtures for a conftest to import.

They build no binary: the first build outlasts any test's time limit, so a missing one fails with the command to run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tools import image
from tools.cluster.build import Binaries, cache_folder, find
from tools.cluster.bundles import ALWAYS, NODES, OLDER
from tools.cluster.controlplane import ControlPlane
from tools.cluster.nodes.packages import why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The built control plane. `make e2e` builds it first."""
    found = find(cache_folder(os.environ))
    if missing := [bundle.name for bundle in ALWAYS if not found.has(bundle)]:
        pytest.fail(f"{', '.join(missing)}: not built; run `python -m tools.cluster build`", pytrace=False)
    return found


@pytest.fixture(scope="session")
def older_binaries(binaries: Binaries) -> Binaries:
    """The same, for tests that also need the older minor; they are skipped where nobody built it."""
    if not binaries.has(OLDER):
        pytest.skip("the older minor is not built: run `python -m tools.cluster build older`")
    return binaries


@pytest.fixture(scope="session")
def node_binaries(binaries: Binaries) -> Binaries:
    """The same, for tests on real nodes; they are skipped where the machine cannot run any.

    With KUBESTEER_REAL_NODES=required, as in CI, they fail there instead.
    """
    if reason := why_not():
        _skip(reason)
    if missing := [bundle.name for bundle in NODES if not binaries.has(bundle)]:
        pytest.fail(f"{', '.join(missing)}: not built; run `python -m tools.cluster nodes`", pytrace=False)
    return binaries


@pytest.fixture(scope="module")
def real_bed(node_binaries: Binaries) -> Iterator[ControlPlane]:
    """Two real nodes, real-0 and real-1, for the tests of one module."""
    with ControlPlane(node_binaries, scheduler_config={}, real_nodes=2) as running:
        yield running


@pytest.fixture(scope="session")
def kubesteer_image(node_binaries: Binaries) -> Path:
    """An OCI archive with localhost/kubesteer of this checkout. A change of the code takes about 10 s to build."""
    if not image.has_builder():
        _skip("the image needs buildah or podman: run `python -m tools.cluster nodes`")
    return image.archive(node_binaries.cache)


@pytest.fixture(scope="module")
def whole_bed(node_binaries: Binaries, kubesteer_image: Path) -> Iterator[ControlPlane]:
    """A whole cluster of three real nodes, real-0 to real-2, with all images that manifests/ name, for one module."""
    with ControlPlane(node_binaries, real_nodes=3, whole=True, images=[kubesteer_image]) as running:
        yield running


@pytest.fixture(scope="module")
def control_plane(binaries: Binaries) -> Iterator[ControlPlane]:
    """etcd and an API server for the tests of one module. Each test starts the scheduler it needs, and stops it."""
    with ControlPlane(binaries) as running:
        yield running


def _skip(reason: str) -> None:
    if os.environ.get("KUBESTEER_REAL_NODES") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
