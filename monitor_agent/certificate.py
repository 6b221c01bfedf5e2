"""The agent's own certificate for etcd: asked of the API server, renewed before it ends, kept in files of its own.

The key is made here and goes nowhere else. Imported only where the settings ask for it: it costs memory on every node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from kubesteer.certificates.issuing import common_name_of
from kubesteer.certificates.pems import key_pem, life, read_certificates, read_pair, signed_by
from kubesteer.certificates.requests import ask
from kubesteer.clients.kubernetes.api import ApiServer
from kubesteer.clients.kubernetes.backoff import Backoff, Sleep
from kubesteer.clients.kubernetes.certificate_requests import answer_to, ask_for_certificate
from kubesteer.clients.kubernetes.own_node import uid_of
from kubesteer.model.errors import ClusterUnavailable, InvalidRecord
from kubesteer.model.etcd_users import AGENT_SIGNER, agent_user
from monitor_agent.logs import Log

_LOOK_S = 30.0
_NODE_LOOK_S = 600.0
"""Between two looks at the Node's uid: it seldom is another, and all agents ask the same API server."""
_ANSWER_EVERY_S = 1.0
_ANSWERS = 60
_PREFIX = "kubesteer-agent-"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """ca: whom etcd's side trusts; others write it. cert, key: the agent's, in a folder that only it sees."""

    ca: Path
    cert: Path
    key: Path


class OwnCertificate:
    """Keeps a certificate for one node's agent. `unix_clock` is in seconds."""

    def __init__(
        self,
        api: ApiServer,
        node: str,
        files: CertificateFiles,
        *,
        backoff: Backoff,
        unix_clock: Callable[[], float],
        sleep: Sleep,
        log: Log,
    ) -> None:
        self._api = api
        self._node = node
        self._user: str | None = None
        self._node_seen_s = 0.0
        self._files = files
        self._backoff = backoff
        self._unix_clock = unix_clock
        self._sleep = sleep
        self._log = log
        self._fault: str | None = None

    async def run(self) -> None:
        """Looks now and then, until cancelled. A fault is told when it comes and when it is gone."""
        while True:
            try:
                await self.step()
            except ClusterUnavailable as exc:
                if self._fault is None:
                    self._log.warning("no certificate for now; asks again", why=str(exc))
                self._fault = str(exc)
                await self._backoff.pause()
            else:
                self._fault = None
                self._backoff.reset()
                await self._sleep(_LOOK_S)

    async def step(self) -> None:
        """Asks for a certificate where one is due. Raises ClusterUnavailable, also where the request is denied."""
        await self._see_node()
        why = self._why_due()
        if why is None:
            return
        key = ec.generate_private_key(ec.SECP256R1())
        name = await ask_for_certificate(self._api, ask(key), signer=AGENT_SIGNER, prefix=_PREFIX)
        certificate = await self._answer(name)
        self._write(self._files.key, key_pem(key))
        self._write(self._files.cert, certificate)
        self._log.info("certificate received", user=self._user, request=name, why=why)

    async def _see_node(self) -> None:
        """Whose certificate it must be: the Node may be another of the same name by now."""
        now_s = self._unix_clock()
        if self._user is None or now_s >= self._node_seen_s + _NODE_LOOK_S:
            uid = await uid_of(self._api, self._node)
            self._user = agent_user(self._node, uid)
            self._node_seen_s = now_s

    async def _answer(self, name: str) -> bytes:
        for _ in range(_ANSWERS):
            csr = await answer_to(self._api, name)
            if csr.status.certificate:
                return csr.status.certificate
            for verdict in ("Denied", "Failed"):
                if verdict in csr.verdicts():
                    raise ClusterUnavailable(f"request {name}: {verdict.lower()}: {csr.verdicts()[verdict]}")
            await self._sleep(_ANSWER_EVERY_S)
        raise ClusterUnavailable(
            f"request {name}: no answer in {_ANSWERS * _ANSWER_EVERY_S:.0f} s; is the keeper there?"
        )

    def _why_due(self) -> str | None:
        """Why a certificate is to be asked for; None where the one that is there will do."""
        try:
            pair = read_pair(self._files.cert.read_bytes(), self._files.key.read_bytes())
            trusted = read_certificates(self._files.ca.read_bytes())
        except OSError:
            return "there is none"
        except InvalidRecord as exc:
            return str(exc)
        certificate = pair.certificate
        if not any(signed_by(certificate, authority) for authority in trusted):
            return "its authority is gone"
        if common_name_of(certificate.subject) != self._user:
            return "it was made for another Node of this name"
        now = datetime.fromtimestamp(self._unix_clock(), UTC)
        if now >= certificate.not_valid_before_utc + life(certificate) * 2 / 3:
            return f"it ends at {certificate.not_valid_after_utc.isoformat()}"
        return None

    def _write(self, file: Path, content: bytes) -> None:
        """At once, and for nobody else to read."""
        new = file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.replace(file)
