"""Answers the agents' CertificateSigningRequests: denies with a reason, or makes the user, approves and signs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from kubesteer.certificates.issuing import Maker, issue
from kubesteer.certificates.pems import Pair, cert_pem
from kubesteer.certificates.requests import Denied, Granted, Request, judge
from kubesteer.certificates.values import Usage
from kubesteer.cli.keeping.steps import StepResult
from kubesteer.clients.kubernetes.api import CONFLICT, NOT_FOUND, ApiRefused
from kubesteer.clients.kubernetes.certificate_requests import Csr, RequestAnswers, Verdict
from kubesteer.model.errors import InvalidRecord, StoreUnavailable, Unavailable


class RequestKeeper:
    """Holds the requests that wait. `account` is the user name that agents have; `lasts` the life of a certificate.

    signer: gives the authority; it raises InvalidRecord while there is none. nodes: all Nodes' uids by name. admit:
    makes the user of a node, by name and uid.
    """

    def __init__(
        self,
        answers: RequestAnswers,
        *,
        account: str,
        lasts: timedelta,
        signer: Callable[[], Pair],
        nodes: Callable[[], Mapping[str, str]],
        admit: Callable[[str, str], Awaitable[None]],
        make: Maker,
        now: Callable[[], datetime],
    ) -> None:
        self.waiting: dict[str, Csr] = {}
        self.arrived = asyncio.Event()
        self.answered: Counter[str] = Counter()
        self._answers, self._account, self._lasts, self._make, self._now = answers, account, lasts, make, now
        self._signer, self._nodes, self._admit = signer, nodes, admit

    def put(self, csr: Csr) -> None:
        """A request as it now is."""
        if csr.status.certificate or csr.verdicts().keys() & {"Denied", "Failed"}:
            self.delete(csr.metadata.name)
            return
        self.waiting[csr.metadata.name] = csr
        self.arrived.set()

    def delete(self, name: str) -> None:
        """A request is gone."""
        self.waiting.pop(name, None)

    async def step(self) -> StepResult:
        """Answers what waits. One that cannot be answered yet keeps no other waiting."""
        done: list[str] = []
        faults: list[Unavailable] = []
        for name, csr in list(self.waiting.items()):
            try:
                told = await self._answer(csr)
            except ApiRefused as exc:
                if exc.status in {CONFLICT, NOT_FOUND}:
                    # Somebody else has answered, or nobody waits any more; the watch tells which.
                    self._done_with(name, csr)
                else:
                    faults.append(exc)
            except Unavailable as exc:
                faults.append(exc)
            else:
                if told is not None:
                    self._done_with(name, csr)
                    done.append(told)
        return StepResult(done, faults[0] if faults else None)

    def _done_with(self, name: str, csr: Csr) -> None:
        if self.waiting.get(name) is csr:
            del self.waiting[name]

    async def _answer(self, csr: Csr) -> str | None:
        name, spec, now = csr.metadata.name, csr.spec, self._now()
        request = Request(
            name, spec.signer_name, spec.username, spec.extra or {}, tuple(spec.usages or ()), spec.request
        )
        found = judge(request, account=self._account)
        if isinstance(found, Denied):
            verdict: Verdict = "Failed" if "Approved" in csr.verdicts() else "Denied"
            await self._answers.decide(csr, verdict, reason="NotForThisSigner", message=found.reason, now=now)
            self.answered["denied"] += 1
            return f"request {name} denied: {found.reason}"
        return await self._sign(csr, found, now)

    async def _sign(self, csr: Csr, granted: Granted, now: datetime) -> str | None:
        """None while its Node is not known: a token outlives a Node that was deleted, or made anew."""
        if self._nodes().get(granted.node) != granted.uid:
            return None
        try:
            signer = self._signer()
        except InvalidRecord as exc:
            raise StoreUnavailable(f"no authority signs for agents: {exc}") from exc
        await self._admit(granted.node, granted.uid)
        if "Approved" not in csr.verdicts():
            message = f"asked by the agent on {granted.node}, for itself"
            csr = await self._answers.decide(csr, "Approved", reason="OwnNode", message=message, now=now)
        certificate = issue(
            signer,
            granted.public_key,
            serial=self._make.serial(),
            common_name=granted.user,
            usages=[Usage.CLIENT],
            now=now,
            lasts=self._lasts,
        )
        await self._answers.hand_out(csr, cert_pem(certificate))
        self.answered["signed"] += 1
        return f"request {csr.metadata.name} signed: {granted.user}"
