"""When etcd's last snapshot was written, as the CronJob that writes them tells it. Reads only."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.objects import Part
from kubesteer.clients.kubernetes.one_object import object_at
from kubesteer.model.errors import ClusterUnavailable

CRON_JOB = "kubesteer-etcd-maintenance"


class _Metadata(Part):
    creation_timestamp: datetime


class _Status(Part):
    last_successful_time: datetime | None = None


class _CronJob(Part):
    metadata: _Metadata
    status: _Status = msgspec.field(default_factory=_Status)


class Snapshots:
    """Looks once a round. `last` is None where there is no such CronJob, as with an etcd of somebody else's."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{CRON_JOB}"
        self.last: datetime | None = None
        """Before the first snapshot, when the CronJob was made: from then on there ought to be one."""

    async def step(self) -> StepResult:
        """Reads it."""
        try:
            job = await object_at(self._api, self._path, _CronJob, called="CronJob")
        except ClusterUnavailable as exc:
            return StepResult(fault=exc)
        self.last = None if job is None else job.status.last_successful_time or job.metadata.creation_timestamp
        return StepResult()
