"""A namespace's Secrets in memory, changed by the plan's own steps, with time that a test moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kubesteer.certificates.issuing import Maker
from kubesteer.certificates.planning import Plan, plan
from kubesteer.certificates.values import Lives, Wanted, wanted
from kubesteer.model.secrets import SecretWrite, StoredSecret

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAKER = Maker(lambda: ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number)
LIVES = Lives()
DAY = timedelta(days=1)


class World:
    """`history`: what was done, in order."""

    def __init__(self) -> None:
        self.wanted: Wanted = wanted("kubesteer")
        self.now = NOW
        self.secrets: dict[str, StoredSecret] = {}
        self.history: list[str] = []

    def plan(self) -> Plan:
        return plan(self.wanted, self.secrets, lives=LIVES, make=MAKER, now=self.now)

    def settle(self) -> list[str]:
        """Takes steps until none is left; what was done."""
        done: list[str] = []
        for _ in range(20):
            steps = self.plan().writes
            if not steps:
                self.history += done
                return done
            done += [self.take(step) for step in steps]
        raise AssertionError(f"no end: {done}")

    def take(self, step: SecretWrite) -> str:
        stored = self.secrets.get(step.name)
        assert stored == step.over
        data = {**(stored.data if stored else {}), **step.data}
        notes = {**(stored.notes if stored else {}), **step.notes}
        self.secrets[step.name] = StoredSecret(
            name=step.name,
            version=str(len(self.history)),
            is_ours=True,
            data={name: value for name, value in data.items() if value is not None},
            notes={name: value for name, value in notes.items() if value is not None},
        )
        return step.name

    def note(self, name: str, note: str) -> None:
        stored = self.secrets[name]
        self.secrets[name] = replace(stored, notes={**stored.notes, note: "now"})

    def change(self, name: str, **entries: bytes) -> None:
        stored = self.secrets[name]
        self.secrets[name] = replace(
            stored, data={**stored.data, **{k.replace("_", "."): v for k, v in entries.items()}}
        )

    def pass_time(self, time: timedelta) -> None:
        self.now += time
