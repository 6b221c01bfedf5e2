"""Fixtures: an etcd that knows its clients by their certificates, one a module and one a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.etcd_access.secured import SecuredEtcd


def _started() -> Iterator[SecuredEtcd]:
    server = SecuredEtcd()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[SecuredEtcd]:
    yield from _started()


@pytest.fixture
def fresh() -> Iterator[SecuredEtcd]:
    yield from _started()
