"""Keeps the Secrets as planned: reads them, writes each that is due, until none is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from kubesteer.certificates.issuing import Maker
from kubesteer.certificates.pems import read_certificate
from kubesteer.certificates.planning import plan
from kubesteer.certificates.values import Lives, Wanted
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.secrets import Secrets
from kubesteer.model.errors import ClusterUnavailable, InvalidRecord
from kubesteer.model.secrets import StoredSecret

_PASSES = 6
"""From nothing to everything takes three; another keeper may undo the work of this one for ever."""


class CertificateKeeper:
    """`secrets` is what was seen last, by name; `foreign` the names of those that somebody else made."""

    def __init__(
        self, wanted: Wanted, lives: Lives, secrets: Secrets, make: Maker, now: Callable[[], datetime]
    ) -> None:
        self.secrets: Mapping[str, StoredSecret] = {}
        self.foreign: tuple[str, ...] = ()
        self._wanted, self._lives, self._api, self._make, self._now = wanted, lives, secrets, make, now
        self._names = [*wanted.authorities, *(each.secret for each in wanted.leaves)]

    async def step(self) -> StepResult:
        """One round."""
        told: list[str] = []
        try:
            for _ in range(_PASSES):
                self.secrets = await self._api.read(self._names)
                found = plan(self._wanted, self.secrets, lives=self._lives, make=self._make, now=self._now())
                self.foreign = found.foreign
                if not found.writes:
                    break
                for write in found.writes:
                    what = "made" if write.over is None else "changed"
                    told += [f"Secret {write.name} {what}: {write.why}"] * await self._api.write(write)
        except ClusterUnavailable as exc:
            return StepResult(told, exc)
        return StepResult(told)

    def ends(self) -> dict[str, datetime]:
        """When the certificate in each Secret ends; those that cannot be read are left out."""
        found = {}
        for name, stored in self.secrets.items():
            try:
                found[name] = read_certificate(stored.data.get("tls.crt", b"")).not_valid_after_utc
            except InvalidRecord:
                continue
        return found
