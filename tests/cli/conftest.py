"""One etcd for the folder, and the command with a store to work on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesteer.cli.rewards_options import VARIABLES
from tests.cli.command import EtcdCase, FileCase, StoreCase
from tests.rewards.etcd_server import EtcdServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this shell has set must not steer the tests."""
    for name in (*VARIABLES.values(), "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["etcd", "yaml", "json"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> StoreCase:
    """Every store that the command works on."""
    if request.param == "etcd":
        return EtcdCase(request.getfixturevalue("etcd"), f"/cli-{next(_numbers)}")
    return FileCase(tmp_path / f"rewards.{request.param}")


@pytest.fixture
def in_etcd(etcd: EtcdServer) -> EtcdCase:
    return EtcdCase(etcd, f"/cli-{next(_numbers)}")


@pytest.fixture
def in_file(tmp_path: Path) -> FileCase:
    return FileCase(tmp_path / "rewards.yaml")
