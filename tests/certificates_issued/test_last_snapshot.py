"""The keeper tells when etcd's last snapshot was written: by the CronJob as the API server has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kubesteer.cli.keeping.loop import Keeper
from kubesteer.cli.keeping.settings import Pace
from kubesteer.cli.keeping.snapshots import Snapshots
from tests.certificates_issued.fake_server import FakeServer
from tests.certificates_issued.test_keeping_secrets import Log

PATH = "/apis/batch/v1/namespaces/kubesteer/cronjobs/kubesteer-etcd-maintenance"
MADE, WRITTEN = datetime(2026, 11, 1, 12, 0, 7, tzinfo=UTC), datetime(2026, 12, 1, 3, 17, 31, tzinfo=UTC)


def cron_job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "kubesteer-etcd-maintenance", "creationTimestamp": "2026-11-01T12:00:07Z"}, **status}


async def told(server: FakeServer) -> tuple[float | None, dict[str, str]]:
    """The metric after a round, and its faults."""
    snapshots = Snapshots(server, "kubesteer")  # type: ignore[arg-type]
    keeper = Keeper(None, None, None, snapshots, pace=Pace(), now=lambda: WRITTEN, log=Log())
    last = await keeper.round()
    value = keeper.metrics.registry.get_sample_value("kubesteer_etcd_snapshot_timestamp_seconds")
    return value, dict(last.faults)


async def test_the_last_success_of_the_nightly_job_is_the_last_snapshot() -> None:
    server = FakeServer()
    status = {"lastScheduleTime": "2026-12-01T03:17:00Z", "lastSuccessfulTime": "2026-12-01T03:17:31Z"}
    server.put(PATH, cron_job(status=status))
    assert await told(server) == (WRITTEN.timestamp(), {})


async def test_before_the_first_one_it_is_when_the_job_was_made() -> None:
    server = FakeServer()
    server.put(PATH, cron_job())
    assert await told(server) == (MADE.timestamp(), {})


async def test_where_there_is_no_nightly_job_nothing_is_told() -> None:
    assert await told(FakeServer()) == (None, {})


async def test_an_api_server_that_is_away_is_a_fault_of_this_part() -> None:
    server = FakeServer()
    server.is_away = True
    assert await told(server) == (None, {"snapshots": "the test says so"})
