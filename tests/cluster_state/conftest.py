"""A fake API server and a source that follows it, for the tests of this folder."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from kubesteer.clients.kubernetes.access import Access
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.reflector import Pace
from kubesteer.clients.kubernetes.source import KubernetesSource
from kubesteer.model.network import DEFAULT_NETWORK
from tests.cluster_state.fake_api import FakeApi
from tests.cluster_state.sink import RecordingSink
from tests.waiting import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as fake:
        yield fake


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


def access_to(api: FakeApi, token: Callable[[], str | None] = lambda: None) -> Access:
    async def authorization() -> str | None:
        given = token()
        return None if given is None else f"Bearer {given}"

    return Access(api.url, authorization)


@asynccontextmanager
async def connected(api: FakeApi) -> AsyncIterator[ApiServer]:
    async def load() -> Access:
        return access_to(api)

    async with ApiServer(load, timeout_s=WITHIN_S) as server:
        yield server


@asynccontextmanager
async def following(
    api: FakeApi,
    sink: Any,
    *,
    waits: list[float] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **pace: float,
) -> AsyncIterator[KubernetesSource]:
    """A source that runs. Its waits between attempts are noted in `waits` and take a hundredth of their time."""

    async def sleep(delay_s: float) -> None:
        if waits is not None:
            waits.append(delay_s)
        await asyncio.sleep(delay_s / 100)

    async with connected(api) as server:
        source = KubernetesSource(
            server, DEFAULT_NETWORK, random=Random(1), pace=Pace(**pace), clock=clock, sleep=sleep
        )
        task = asyncio.create_task(source.run(sink))
        try:
            yield source
            assert not task.done(), "the source ended by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
