"""The keeper's rounds on a fake API server: everything made, nothing made twice, and no other keeper's work undone."""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime
from typing import Any

import pytest

from kubesteer.certificates.pems import read_certificate, signed_by
from kubesteer.certificates.planning import ROTATE
from kubesteer.certificates.values import wanted
from kubesteer.cli.keeping.certificates import CertificateKeeper
from kubesteer.cli.keeping.loop import Keeper
from kubesteer.cli.keeping.settings import Pace
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.model.errors import StoreUnavailable
from tests.certificates_issued.fake_server import FakeServer
from tests.certificates_issued.world import LIVES, MAKER, NOW

WANTED = wanted("kubesteer")
SERVER = "kubesteer-extender-server"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def keeper(server: FakeServer, clock: Clock) -> CertificateKeeper:
    api: Any = server
    return CertificateKeeper(WANTED, LIVES, Secrets(api, "kubesteer"), MAKER, clock)


def certificate(server: FakeServer, name: str) -> Any:
    data = server.objects[f"/api/v1/namespaces/kubesteer/secrets/{name}"]["data"]
    return read_certificate(base64.b64decode(data["tls.crt"]))


async def test_one_round_makes_everything_and_the_next_one_writes_nothing(server: FakeServer, clock: Clock) -> None:
    own = keeper(server, clock)
    assert len((await own.step()).told) == len(server.writes) == len(WANTED.leaves) + 3
    assert await own.step() == StepResult([])
    for leaf in WANTED.leaves:
        assert signed_by(certificate(server, leaf.secret), certificate(server, leaf.authority))
    for stored in server.objects.values():
        assert stored["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubesteer-keeper"
        assert stored["type"] == "kubernetes.io/tls"


async def test_two_keepers_at_once_make_each_secret_once(server: FakeServer, clock: Clock) -> None:
    one, two = keeper(server, clock), keeper(server, clock)
    await asyncio.gather(one.step(), two.step())
    assert sorted(server.writes) == sorted(server.objects[path]["metadata"]["name"] for path in server.objects)
    for leaf in WANTED.leaves:
        assert signed_by(certificate(server, leaf.secret), certificate(server, leaf.authority))


async def test_two_keepers_at_once_renew_a_certificate_once(server: FakeServer, clock: Clock) -> None:
    one, two = keeper(server, clock), keeper(server, clock)
    await one.step()
    server.objects[f"/api/v1/namespaces/kubesteer/secrets/{SERVER}"]["metadata"]["annotations"][ROTATE] = "now"
    server.writes.clear()
    await asyncio.gather(one.step(), two.step())
    assert server.writes.count(SERVER) == 1


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))


async def test_a_fault_of_one_part_stops_no_other_and_is_told_once_and_when_it_is_gone(
    server: FakeServer, clock: Clock
) -> None:
    """Two rounds must agree, in both directions."""
    fault = True

    async def etcd() -> StepResult:
        return StepResult(fault=StoreUnavailable("no leader") if fault else None)

    log = Log()
    own = Keeper(keeper(server, clock), etcd, None, pace=Pace(), now=clock, log=log)
    rounds = [await own.round() for _ in range(4)]
    assert [set(each.faults) for each in rounds] == [{"etcd"}] * 4
    assert len(rounds[0].done["certificates"]) == len(server.objects)
    assert own.report()["ready"] is False
    fault = False
    for _ in range(4):
        await own.round()
    assert own.report()["ready"] is True
    told = [(kind, fields["part"]) for kind, event, fields in log.lines if event != "done"]
    assert told == [("warning", "etcd"), ("info", "etcd")]


async def test_what_was_done_before_a_fault_is_told(server: FakeServer, clock: Clock) -> None:
    """The server goes away after three writes."""
    server.goes_after_writes = 3
    log = Log()
    last = await Keeper(keeper(server, clock), None, None, pace=Pace(), now=clock, log=log).round()
    assert (len(last.done["certificates"]), set(last.faults)) == (3, {"certificates"})
    assert [fields["what"] for _, event, fields in log.lines if event == "done"] == last.done["certificates"]


async def test_while_the_api_server_is_away_nothing_is_lost(server: FakeServer, clock: Clock) -> None:
    own = Keeper(keeper(server, clock), None, None, pace=Pace(), now=clock, log=Log())
    await own.round()
    server.is_away = True
    last = await own.round()
    assert set(last.faults) == {"certificates"}
    assert len(last.ends) == len(server.objects)
    server.is_away = False
    assert (await own.round()).faults == {}
