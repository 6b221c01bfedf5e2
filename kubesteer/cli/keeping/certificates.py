"""Keeps the Secrets as planned: reads what is there, takes each step, until nothing is left to be done now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from kubesteer.certificates.issuing import Maker
from kubesteer.certificates.pems import read_certificate
from kubesteer.certificates.planning import Plan, ReaderState, plan
from kubesteer.certificates.values import Lives, Wanted
from kubesteer.cli.keeping.done import Done
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.clients.kubernetes.workloads import Workloads
from kubesteer.model.errors import ClusterUnavailable, InvalidRecord
from kubesteer.model.secrets import SecretWrite, StoredSecret

_PASSES = 12
"""More than the steps from nothing to everything; another keeper may undo ours for ever."""


class CertificateKeeper:
    """`secrets` is what was seen last, by name."""

    def __init__(
        self,
        wanted: Wanted,
        lives: Lives,
        secrets: Secrets,
        workloads: Workloads,
        make: Maker,
        now: Callable[[], datetime],
    ) -> None:
        self.secrets: Mapping[str, StoredSecret] = {}
        self.last = Plan()
        self._wanted = wanted
        self._lives = lives
        self._api = secrets
        self._workloads = workloads
        self._make = make
        self._now = now
        self._names = [*(each.secret for each in wanted.authorities), *(each.secret for each in wanted.leaves)]

    async def step(self) -> Done:
        """One round."""
        done: list[str] = []
        try:
            await self._pass(done)
        except ClusterUnavailable as exc:
            return Done(done, exc)
        return Done(done)

    async def _pass(self, done: list[str]) -> None:
        """done: each step is put there once it is taken. Raises ClusterUnavailable."""
        for _ in range(_PASSES):
            self.secrets = await self._api.read(self._names)
            self.last = plan(
                self._wanted,
                self.secrets,
                await self._readers(),
                lives=self._lives,
                make=self._make,
                now=self._now(),
            )
            if not self.last.steps:
                return
            for step in self.last.steps:
                if isinstance(step, SecretWrite):
                    if await self._api.write(step):
                        done.append(f"Secret {step.name} {'made' if step.over is None else 'changed'}: {step.why}")
                else:
                    await self._workloads.annotate_pods(step.reader.kind, step.reader.name, step.marks)
                    done.append(f"{step.reader.kind} {step.reader.name} restarted: {step.why}")

    async def _readers(self) -> dict[str, ReaderState]:
        found = {each.name: await self._workloads.look(each.kind, each.name) for each in self._wanted.readers}
        return {name: ReaderState(has.annotations, has.is_settled) for name, has in found.items() if has is not None}


def ends(secrets: Mapping[str, StoredSecret]) -> dict[str, datetime]:
    """When the certificate in each Secret ends; those that cannot be read are left out."""
    found = {}
    for name, stored in secrets.items():
        try:
            found[name] = read_certificate(stored.data.get("tls.crt", b"")).not_valid_after_utc
        except InvalidRecord:
            continue
    return found
