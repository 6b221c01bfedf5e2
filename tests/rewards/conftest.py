"""One etcd for the whole folder; each test has a prefix of its own in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rewards.etcd_server import EtcdServer
from tests.rewards.stores import Columns, InEtcd, InFile, InMemory, Store

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdServer]:
    with EtcdServer() as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return f"/test-{next(_numbers)}"


@pytest.fixture(params=["etcd", "etcd3"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["memory", "file", "etcd", "etcd3"])
def any_store(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Store:
    return _store(request, prefix, tmp_path)


@pytest.fixture(params=["memory", "etcd", "etcd3"])
def written_store(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Store:
    """A store that kubesteer itself writes."""
    return _store(request, prefix, tmp_path)


@pytest.fixture(params=["memory", "etcd"])
def columns(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Columns:
    return _store(request, prefix, tmp_path)


def _store(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Store:
    if request.param == "memory":
        return InMemory()
    if request.param == "file":
        return InFile(tmp_path)
    return InEtcd(request.param, request.getfixturevalue("etcd"), prefix)
