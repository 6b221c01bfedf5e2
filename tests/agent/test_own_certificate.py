"""The agent's own certificate: asked for when it is due, kept where nobody else reads it, and asked for again."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509

from kubesteer.certificates.issuing import common_name_of, issue, issue_authority
from kubesteer.certificates.pems import Pair, cert_pem, read_pair
from kubesteer.certificates.requests import NODE_NAME, NODE_UID, Granted, Request, judge
from kubesteer.certificates.values import Usage
from kubesteer.clients.kubernetes.backoff import Backoff
from kubesteer.model.errors import ClusterUnavailable, InvalidSettings
from kubesteer.model.etcd_users import agent_user
from monitor_agent.certificate import CertificateFiles, OwnCertificate
from monitor_agent.logs import make_log
from monitor_agent.settings import Store
from tests.agent.builders import NODE
from tests.certificates_issued.world import DAY, MAKER, NOW

ACCOUNT = "system:serviceaccount:kubesteer:kubesteer-agent"


class Signer:
    """Stands for the API server with a keeper behind it, which answers after so many looks."""

    def __init__(self, *, looks: int = 2) -> None:
        self.authority = authority()
        self.asked: list[dict[str, Any]] = []
        self.looks = looks
        self.now = NOW
        self.denies = self.is_away = False
        self.uid = "u1"
        self.looks_at_node = 0
        self._looked = 0

    async def post(self, _path: str, body: bytes) -> bytes:
        if self.is_away:
            raise ClusterUnavailable("away")
        self.asked.append(json.loads(body))
        self._looked = 0
        return b'{"metadata": {"name": "kubesteer-agent-1"}}'

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        if path == "/api/v1/nodes":
            assert params == {"fieldSelector": f"metadata.name={NODE}", "resourceVersion": "0"}
            self.looks_at_node += 1
            return json.dumps({"items": [{"metadata": {"name": NODE, "uid": self.uid}}]}).encode()
        self._looked += 1
        status: dict[str, Any] = {}
        if self._looked > self.looks and self.denies:
            status = {"conditions": [{"type": "Denied", "message": "for a reason"}]}
        elif self._looked > self.looks:
            status = {"certificate": base64.b64encode(self._signed()).decode()}
        return json.dumps({"metadata": {"name": "kubesteer-agent-1"}, "status": status}).encode()

    def _signed(self) -> bytes:
        spec = self.asked[-1]["spec"]
        request = Request(
            "r",
            spec["signerName"],
            ACCOUNT,
            {NODE_NAME: [NODE], NODE_UID: [self.uid]},
            spec["usages"],
            base64.b64decode(spec["request"]),
        )
        granted = judge(request, account=ACCOUNT)
        assert isinstance(granted, Granted)
        return cert_pem(
            issue(
                self.authority,
                granted.public_key,
                serial=x509.random_serial_number(),
                common_name=granted.user,
                usages=[Usage.CLIENT],
                now=self.now,
                lasts=7 * DAY,
            )
        )


def authority() -> Pair:
    return issue_authority("a", MAKER, now=NOW - DAY, lasts=100 * DAY)


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def files(tmp_path: Path, signer: Signer) -> CertificateFiles:
    found = CertificateFiles(tmp_path / "ca.crt", tmp_path / "tls.crt", tmp_path / "tls.key")
    found.ca.write_bytes(cert_pem(signer.authority.certificate))
    return found


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def step(signer: Signer, files: CertificateFiles, log: io.StringIO) -> Callable[[], Any]:
    async def sleep(seconds: float) -> None:
        signer.now += timedelta(seconds=seconds)

    def unix_clock() -> float:
        return signer.now.timestamp()

    return OwnCertificate(
        signer,  # type: ignore[arg-type]
        NODE,
        files,
        backoff=Backoff(Random(0), sleep),
        unix_clock=unix_clock,
        sleep=sleep,
        log=make_log("info", log),
    ).step


async def test_without_one_it_is_asked_for_and_waited_for(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles
) -> None:
    await step()
    pair = read_pair(files.cert.read_bytes(), files.key.read_bytes())
    assert pair.certificate.not_valid_after_utc == signer.now.replace(microsecond=0) + 7 * DAY
    assert (files.key.stat().st_mode & 0o777, len(signer.asked)) == (0o600, 1)
    assert sorted(file.name for file in files.cert.parent.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]


@pytest.mark.parametrize(
    ("days", "asks"), [pytest.param(4.6, 1, id="7 days: not yet"), pytest.param(4.7, 2, id="two thirds: 4.67")]
)
async def test_it_is_renewed_at_two_thirds_of_its_life_with_a_new_key(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles, days: float, asks: int
) -> None:
    await step()
    key = files.key.read_bytes()
    signer.now += days * DAY
    await step()
    assert (len(signer.asked), files.key.read_bytes() != key) == (asks, asks == 2)


async def test_a_restarted_agent_goes_on_with_the_one_it_has(step: Callable[[], Any], signer: Signer) -> None:
    await step()
    await step()
    assert len(signer.asked) == 1


async def test_a_node_that_was_made_anew_is_a_reason_to_ask(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles
) -> None:
    """Looked at every 10 minutes: with the Node went what the certificate was worth."""
    await step()
    signer.uid = "u2"
    signer.now += timedelta(minutes=9)
    await step()
    assert (len(signer.asked), signer.looks_at_node) == (1, 1)
    signer.now += timedelta(minutes=1)
    await step()
    assert (len(signer.asked), signer.looks_at_node) == (2, 2)
    made = read_pair(files.cert.read_bytes(), files.key.read_bytes()).certificate
    assert common_name_of(made.subject) == agent_user(NODE, "u2")


async def test_an_authority_that_is_trusted_no_longer_is_a_reason_to_ask(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles
) -> None:
    """A bundle that still has it is none."""
    await step()
    before, signer.authority = signer.authority, authority()
    files.ca.write_bytes(cert_pem(signer.authority.certificate, before.certificate))
    await step()
    assert len(signer.asked) == 1
    files.ca.write_bytes(cert_pem(signer.authority.certificate))
    await step()
    assert len(signer.asked) == 2


@pytest.mark.parametrize("spoiled", ["cert", "key"])
async def test_files_that_cannot_be_used_are_a_reason_to_ask(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles, spoiled: str
) -> None:
    await step()
    getattr(files, spoiled).write_bytes(b"nonsense")
    await step()
    assert len(signer.asked) == 2


async def test_a_denied_request_tells_the_reason_and_leaves_what_is_there(
    step: Callable[[], Any], signer: Signer, files: CertificateFiles
) -> None:
    await step()
    before = files.cert.read_bytes()
    signer.denies, signer.now = True, signer.now + 5 * DAY
    with pytest.raises(ClusterUnavailable, match="denied: for a reason"):
        await step()
    assert files.cert.read_bytes() == before


async def test_without_an_answer_it_ends_with_a_hint(step: Callable[[], Any], signer: Signer) -> None:
    signer.looks = 1000
    with pytest.raises(ClusterUnavailable, match="no answer in 60 s; is the keeper there"):
        await step()


async def test_a_request_for_a_certificate_needs_places_for_the_files() -> None:
    from monitor_agent.app import _files

    with pytest.raises(InvalidSettings, match=r"store\.ca_file, store\.cert_file and store\.key_file"):
        _files(Store(certificate="request", cert_file="/run/x"))
